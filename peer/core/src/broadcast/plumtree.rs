//! The tree of larger broadcasts: Plumtree (Leitão, Pereira and Rodrigues, "Epidemic Broadcast Trees",
//! SRDS 2007).
//!
//! Whole messages travel along *eager* links. Along *lazy* links, IHAVE names them. When a second copy comes
//! along the tree, PRUNE makes its link lazy. A member that hears of a message that does not come asks for it
//! with PULL. This changes nothing in the tree, since the message may be on its way, and a tree that is grafted for
//! every late message loses its shape. Only when a message does not come along the tree at all, twice, GRAFT makes
//! the link eager along which it was pulled. When a link of the tree is lost, the link in its place becomes
//! eager at once, or another one if there is no such link. New links are lazy, because they may be gone the next
//! moment.
//!
//! For a while after a link was lost that nothing replaced, and when the tree had to be mended too often, messages
//! go to all neighbours. These copies say nothing about the tree, and neither do the copies that they cause.
//! From time to time the tree grows anew.
//!
//! The list of missing messages also serves the comparison of [digests](super::digests): what is pulled is
//! asked for at once, and from the next neighbour that has it when it does not come.

use std::collections::VecDeque;
use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::wire::frame::{Graft, IHave, MAX_MESSAGES, Prune, Pull};

use super::{Output, send};
use crate::map::Map;
use crate::message::{LinkId, Signed};
use crate::neighbors::Neighbors;
use crate::time::Now;

/// Ids for one neighbour are gathered for this long.
const GATHER: Duration = Duration::from_millis(20);

/// Time for an announced message to come along the tree, on top of two round trips. With less, messages
/// that are on their way are pulled. With more, what a broken tree keeps back comes late.
const GRACE: Duration = Duration::from_millis(200);

/// Assumed round trip of a neighbour that was not probed yet.
const ROUND_TRIP: Duration = Duration::from_millis(150);

/// Messages that are missing at once.
const MISSING: usize = 1024;

/// Neighbours remembered for each of them.
const SOURCES: usize = 8;

/// How long we remember who announced a message, after the last of them was asked.
const ASKED: Duration = Duration::from_secs(5);

/// How long everything is flooded after a change.
const FLOOD: Duration = Duration::from_secs(10);

/// Between two messages with which the tree grows anew. Repairs keep it whole, not short.
const RENEWAL: Duration = Duration::from_secs(100);

/// Among this many messages, at most a tenth may show a broken tree before everything is flooded again.
const SAMPLE: u32 = 20;

/// Time for a message that was asked for to come along the tree after all. Then the tree is whole, and only
/// longer this way.
const REPAIR: Duration = Duration::from_secs(1);

/// One message alone may have come late by chance. The second within this time mends the tree.
const TWICE: Duration = Duration::from_secs(10);

/// Repairs under way.
const REPAIRS: usize = 64;

/// A message that neighbours have and we do not.
#[derive(Debug)]
struct Missing {
    /// The neighbours that have it, in the order of being asked.
    sources: Vec<LinkId>,
    /// How many of them were asked.
    asked: usize,
    /// It is asked for at once, with PULL.
    pull: bool,
    next: Now,
}

impl Missing {
    const fn all_asked(&self) -> bool {
        self.asked >= self.sources.len()
    }

    fn forget(&mut self, link: LinkId) {
        if let Some(at) = self.sources.iter().position(|source| *source == link) {
            self.sources.remove(at);
            self.asked -= usize::from(at < self.asked);
        }
    }
}

/// A message came because it was asked for.
#[derive(Debug)]
struct Repair {
    id: MessageId,
    /// From here.
    link: LinkId,
    due: Now,
}

/// A link's place in the tree.
#[derive(Debug)]
struct TreeLink {
    /// Larger broadcasts go along it in whole.
    eager: bool,
    /// Ids that wait to be announced along it, and those that the neighbour is to pull at once.
    ids: Vec<MessageId>,
    pulls: Vec<MessageId>,
    /// When they are announced.
    due: Option<Now>,
}

/// The tree as this member sees it.
#[derive(Debug)]
pub(super) struct Plumtree {
    links: Map<LinkId, TreeLink>,
    /// No announcement is due before this. May be too early, never too late.
    links_due: Now,
    missing: Map<MessageId, Missing>,
    /// In the order of being due.
    repairs: VecDeque<Repair>,
    /// When one was last needed.
    late: Option<Now>,
    flood_until: Now,
    renewed: Option<Now>,
    /// Large messages of the current sample, and how often the tree was mended meanwhile.
    arrived: u32,
    grafted: u32,
}

impl Plumtree {
    pub(super) fn new() -> Self {
        Self {
            links: Map::default(),
            links_due: Now::MAX,
            missing: Map::default(),
            repairs: VecDeque::new(),
            late: None,
            flood_until: Now::ZERO,
            renewed: None,
            arrived: 0,
            grafted: 0,
        }
    }

    /// When a missing message is asked for or a repair is due.
    pub(super) fn deadline(&self) -> Option<Now> {
        let missing = self.missing.values().map(|missing| missing.next);
        let repair = self.repairs.front().map(|repair| repair.due);
        missing.chain(repair).min()
    }

    /// When ids are to be announced, at the earliest.
    pub(super) const fn links_due(&self) -> Now {
        self.links_due
    }

    pub(super) fn next_link_due(&self) -> Now {
        let due = self.links.values().filter_map(|link| link.due);
        due.fold(Now::MAX, Now::min)
    }

    pub(super) fn plan(&mut self) {
        self.links_due = self.next_link_due();
    }

    /// A message that should have come along the tree and had to be asked for is here.
    pub(super) fn on_late(&mut self, now: Now, id: MessageId, link: LinkId) {
        if self.repairs.len() < REPAIRS {
            let due = now + REPAIR;
            self.repairs.push_back(Repair { id, link, due });
        }
    }

    /// It came along the tree too.
    pub(super) fn is_whole(&mut self, id: &MessageId) {
        self.repairs.retain(|repair| repair.id != *id);
    }

    pub(super) fn is_missing(&self, id: &MessageId) -> bool {
        self.missing.contains_key(id)
    }

    /// Whether a message was announced to come along the tree.
    pub(super) fn is_awaited(&self, id: &MessageId) -> bool {
        self.missing.get(id).is_some_and(|missing| !missing.pull)
    }

    /// Links are missing and none has their place yet: the tree has to be found again.
    pub(super) fn flood_for_a_while(&mut self, now: Now) {
        self.flood_until = now + FLOOD;
    }

    pub(super) fn is_flooding(&self, now: Now) -> bool {
        now < self.flood_until
    }

    /// Whether the tree is old enough to grow anew, which it then does. A member that passes a message on does
    /// not know exactly when others began.
    pub(super) fn renew(&mut self, now: Now, ours: bool) -> bool {
        let age = if ours { RENEWAL } else { RENEWAL / 2 };
        let due = self.renewed.is_none_or(|last| now >= last + age);
        if due {
            self.renewed = Some(now);
        }
        due
    }

    /// Links are eager until they are up.
    pub(super) fn is_eager(&self, link: LinkId) -> bool {
        self.links.get(&link).is_none_or(|link| link.eager)
    }

    pub(super) fn set_eager(&mut self, link: LinkId, eager: bool) {
        if let Some(link) = self.links.get_mut(&link) {
            link.eager = eager;
        }
    }

    /// A link is up. It is not part of the tree, which it may leave again at once, unless it is the only one.
    pub(super) fn add_link(&mut self, neighbors: &Neighbors, id: LinkId, out: &mut Vec<Output>) {
        let link = TreeLink {
            eager: true,
            ids: Vec::new(),
            pulls: Vec::new(),
            due: None,
        };
        self.links.insert(id, link);
        if neighbors.mesh_links().count() <= 1 {
            self.graft(neighbors, id, out);
        } else {
            self.set_eager(id, false);
        }
    }

    /// A link is about to be lost. If it is part of the tree, another one takes its place at both ends: its heir, or
    /// the nearest lazy link. For one of the ends that is one too many, and pruned.
    pub(super) fn leave_link(
        &mut self,
        neighbors: &Neighbors,
        id: LinkId,
        heir: Option<LinkId>,
        out: &mut Vec<Output>,
    ) {
        let nearest = || {
            let links = neighbors.mesh_links();
            let lazy = links.filter(|(id, _)| !self.is_eager(*id));
            let near = lazy.min_by_key(|(_, link)| link.rtt.unwrap_or(ROUND_TRIP));
            near.map(|(near, _)| near)
        };
        if let Some(next) = heir.or_else(nearest) {
            self.replace(neighbors, id, next, out);
        }
    }

    /// A link takes the place of another one: in the tree too, at both its ends.
    pub(super) fn replace(
        &mut self,
        neighbors: &Neighbors,
        old: LinkId,
        new: LinkId,
        out: &mut Vec<Output>,
    ) {
        if neighbors.is_up(old) && self.is_eager(old) && neighbors.is_up(new) {
            self.set_eager(old, false);
            self.graft(neighbors, new, out);
        }
    }

    pub(super) fn forget_link(&mut self, link: LinkId) {
        self.links.remove(&link);
        for missing in self.missing.values_mut() {
            missing.forget(link);
        }
    }

    /// Makes a link part of the tree, at both its ends. Peers of Easypeers 1 are never part of it.
    fn graft(&mut self, neighbors: &Neighbors, link: LinkId, out: &mut Vec<Output>) {
        if neighbors.mesh_links().any(|(id, _)| id == link) {
            self.set_eager(link, true);
            out.push(send(link, Graft));
        }
    }

    /// A second copy came along the tree: the next time its id will do.
    pub(super) fn prune(&mut self, link: LinkId, out: &mut Vec<Output>) {
        self.set_eager(link, false);
        out.push(send(link, Prune));
    }

    /// A message is here. The neighbours that have announced it.
    pub(super) fn on_arrived(&mut self, message: &Signed) -> Vec<LinkId> {
        if message.is_large() {
            self.arrived += 1;
            if self.arrived >= SAMPLE {
                self.arrived = 0;
                self.grafted = 0;
            }
        }
        let missing = self.missing.remove(&message.id);
        missing.map_or_else(Vec::new, |missing| missing.sources)
    }

    /// Announces a message to neighbours, together with others of the next moment.
    pub(super) fn announce(
        &mut self,
        now: Now,
        links: &[LinkId],
        id: MessageId,
        pull: bool,
        out: &mut Vec<Output>,
    ) {
        for link in links {
            let Some(state) = self.links.get_mut(link) else {
                continue;
            };
            let list = if pull {
                &mut state.pulls
            } else {
                &mut state.ids
            };
            list.push(id);
            let full = list.len() >= MAX_MESSAGES;
            state.due = Some(state.due.unwrap_or(now + GATHER));
            if full {
                state.flush(*link, out);
            }
            if let Some(due) = state.due {
                self.links_due = self.links_due.min(due);
            }
        }
    }

    /// A neighbour has these messages, and sends those that we miss along the tree. How many there is no
    /// room for.
    pub(super) fn on_announced(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        link: LinkId,
        unknown: Vec<MessageId>,
    ) -> u64 {
        let next = now + patience(neighbors, link);
        let noted = unknown
            .into_iter()
            .map(|id| self.miss(id, link, false, next));
        noted.filter(Option::is_none).count() as u64
    }

    /// Asks for messages that nobody will send unasked. How many there is no room for.
    pub(super) fn pull(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        link: LinkId,
        ids: Vec<MessageId>,
        out: &mut Vec<Output>,
    ) -> u64 {
        let next = now + patience(neighbors, link);
        let mut asked = Vec::new();
        let mut refused = 0;
        for id in ids {
            match self.miss(id, link, true, next) {
                Some(true) => asked.push(id),
                Some(false) => {}
                None => refused += 1,
            }
        }
        for ids in asked.chunks(MAX_MESSAGES) {
            out.push(send(link, Pull { ids: ids.to_vec() }));
        }
        refused
    }

    /// Notes that a neighbour has what we miss. Whether it is to be pulled from there now; `None` if there is no
    /// room for another missing message.
    fn miss(&mut self, id: MessageId, link: LinkId, pull: bool, next: Now) -> Option<bool> {
        let room = self.missing.len() < MISSING;
        match self.missing.get_mut(&id) {
            Some(missing) => {
                let idle = missing.all_asked();
                if missing.sources.len() < SOURCES && !missing.sources.contains(&link) {
                    missing.sources.push(link);
                }
                if idle && pull {
                    missing.asked = missing.sources.len();
                    missing.next = next + ASKED;
                } else if idle && !missing.all_asked() {
                    missing.next = missing.next.min(next);
                }
                Some(idle && pull)
            }
            None if room => {
                let missing = Missing {
                    sources: vec![link],
                    asked: usize::from(pull),
                    pull,
                    next,
                };
                self.missing.insert(id, missing);
                Some(true)
            }
            None => None,
        }
    }

    /// Announces what has waited, asks for what has not come, and mends the tree.
    pub(super) fn on_timeout(&mut self, now: Now, neighbors: &Neighbors, out: &mut Vec<Output>) {
        for (link, state) in self.links.iter_mut() {
            if state.due.is_some_and(|due| due <= now) {
                state.flush(*link, out);
            }
        }
        let late: Vec<MessageId> = (self.missing.iter())
            .filter(|(_, missing)| missing.next <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.ask_for(now, neighbors, id, out);
        }
        let due = (self.repairs).partition_point(|repair| repair.due <= now);
        let due: Vec<LinkId> = (self.repairs.drain(..due))
            .map(|repair| repair.link)
            .collect();
        for link in due {
            self.repair(now, neighbors, link, out);
        }
    }

    fn ask_for(&mut self, now: Now, neighbors: &Neighbors, id: MessageId, out: &mut Vec<Output>) {
        let Some(missing) = self.missing.get_mut(&id) else {
            return;
        };
        let Some(link) = missing.sources.get(missing.asked).copied() else {
            self.missing.remove(&id);
            return;
        };
        missing.asked += 1;
        let rest = if missing.all_asked() {
            ASKED
        } else {
            Duration::ZERO
        };
        missing.next = now + patience(neighbors, link) + rest;
        out.push(send(link, Pull { ids: vec![id] }));
    }

    /// The tree does not reach us any more. It is mended where the message came from.
    fn repair(&mut self, now: Now, neighbors: &Neighbors, link: LinkId, out: &mut Vec<Output>) {
        let last = self.late.replace(now);
        let again = last.is_some_and(|last| now < last + TWICE);
        if !again || !neighbors.is_up(link) {
            return;
        }
        self.graft(neighbors, link, out);
        self.grafted += 1;
        if self.grafted * 10 > SAMPLE {
            self.grafted = 0;
            self.arrived = 0;
            self.flood_for_a_while(now);
        }
    }
}

impl TreeLink {
    fn flush(&mut self, link: LinkId, out: &mut Vec<Output>) {
        self.due = None;
        let lists = [
            (std::mem::take(&mut self.ids), false),
            (std::mem::take(&mut self.pulls), true),
        ];
        for (ids, pull) in lists {
            if !ids.is_empty() {
                out.push(send(link, IHave { ids, pull }));
            }
        }
    }
}

/// Time for a message to come from a neighbour.
fn patience(neighbors: &Neighbors, link: LinkId) -> Duration {
    let link = neighbors.get(link);
    let round_trip = link.and_then(|link| link.rtt).unwrap_or(ROUND_TRIP);
    round_trip * 2 + GRACE
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::testing::{link_up, message, neighbors};

    fn frames(out: &mut Vec<Output>) -> Vec<u8> {
        let kinds = out.drain(..).map(|output| match output {
            Output::Send { frame, .. } => frame.kind(),
            other => panic!("{other:?}"),
        });
        kinds.collect()
    }

    #[test]
    fn only_the_first_link_joins_the_tree() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut neighbors, mut out) = (neighbors(6), Vec::new());
        let mut tree = Plumtree::new();
        for at in 1..4 {
            let link = link_up(&mut neighbors, &mut rng, at, 2);
            tree.add_link(&neighbors, link, &mut out);
        }
        assert_eq!(
            [1, 2, 3].map(|at| tree.is_eager(LinkId(at))),
            [true, false, false]
        );
        assert_eq!(frames(&mut out), [0x22], "one GRAFT");
        tree.leave_link(&neighbors, LinkId(1), None, &mut out);
        assert_eq!(frames(&mut out), [0x22]);
        let eager = [1, 2, 3].map(|at| tree.is_eager(LinkId(at)));
        assert_eq!(
            eager.iter().filter(|eager| **eager).count(),
            1,
            "another one"
        );
        assert!(!eager[0]);
    }

    #[test]
    fn what_does_not_come_is_asked_for_at_each_neighbour_that_has_it() {
        let mut rng = StdRng::seed_from_u64(2);
        let (mut neighbors, mut out) = (neighbors(6), Vec::new());
        let mut tree = Plumtree::new();
        let id = message(1, 10).id;
        for at in 1..4 {
            let link = link_up(&mut neighbors, &mut rng, at, 2);
            tree.add_link(&neighbors, link, &mut out);
            assert_eq!(tree.on_announced(Now::ZERO, &neighbors, link, vec![id]), 0);
        }
        out.clear();
        assert!(tree.is_missing(&id) && tree.is_awaited(&id));
        let mut asked = Vec::new();
        while let Some(due) = tree.deadline() {
            tree.on_timeout(due, &neighbors, &mut out);
            asked.extend(frames(&mut out));
        }
        assert_eq!(asked, [0x25; 3], "three PULLs");
        assert!(!tree.is_missing(&id), "given up");
    }

    #[test]
    fn only_so_many_messages_are_missing() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut neighbors = neighbors(6);
        let link = link_up(&mut neighbors, &mut rng, 1, 2);
        let ids = (0..MISSING as u64 + 5)
            .map(|at| message(at, 10).id)
            .collect();
        let mut tree = Plumtree::new();
        assert_eq!(tree.on_announced(Now::ZERO, &neighbors, link, ids), 5);
    }
}
