//! The tree of larger broadcasts: Plumtree (Leitão, Pereira and Rodrigues, "Epidemic Broadcast
//! Trees", SRDS 2007).
//!
//! Messages go along *eager* links in whole, along *lazy* ones only their ids, by IHAVE. A second copy that
//! comes along the tree makes its link lazy, by PRUNE. Whoever hears of a message that does not come asks
//! for it by PULL. That alone changes nothing, for it may be on its way, and a tree that is grafted for every
//! late message loses its shape; but when it does not come along the tree at all, twice, the link that it was
//! pulled along becomes eager, by GRAFT. Where a link of the tree is lost, the one in its place becomes
//! eager at once, or if there is none another one. New links are lazy: they may be gone the next moment.
//!
//! For a while after a link was lost that nothing replaced, and when the tree had to be mended too often,
//! messages go to all neighbours; these copies say nothing of the tree, nor do those that they bring
//! about. Now and then the tree grows anew.
//!
//! The same list of missed messages serves the comparison of [digests](super::digest): what is pulled
//! is asked for at once, and of the next who has it when it does not come.

use std::collections::VecDeque;
use std::time::Duration;

use easypeers_proto::MessageId;
use easypeers_proto::wire::frame::{Graft, IHave, MAX_MESSAGES, Prune, Pull};

use super::message::Signed;
use super::{LinkId, Mesh, Now};
use crate::map::Map;

/// Ids for one neighbour are gathered for so long.
const GATHER: Duration = Duration::from_millis(20);

/// Time for an announced message to come along the tree, on top of two round trips. Shorter, and messages
/// that are on their way are pulled; longer, and what a broken tree keeps back comes late.
const GRACE: Duration = Duration::from_millis(200);

/// Round trip of a neighbour that was not probed yet.
const ROUND_TRIP: Duration = Duration::from_millis(150);

/// Messages that are missed at once.
const MISSING: usize = 1024;

/// Neighbours remembered for one.
const SOURCES: usize = 8;

/// Who announced a message is remembered for so long after the last of them was asked.
const ASKED: Duration = Duration::from_secs(5);

/// How long everything is flooded after a change.
const UNSETTLED: Duration = Duration::from_secs(10);

/// Between two messages with which the tree grows anew: repairs keep it whole, not short.
const RENEWAL: Duration = Duration::from_secs(100);

/// Of so many messages, at most a tenth may show a broken tree before everything is flooded again.
const SAMPLE: u32 = 20;

/// Time for a message that was asked for to come along the tree after all: then the tree is whole, only
/// longer this way.
const REPAIR: Duration = Duration::from_secs(1);

/// One message alone may have come late by chance: the second within so long mends the tree.
const TWICE: Duration = Duration::from_secs(10);

/// Repairs under way.
const REPAIRS: usize = 64;

#[derive(Debug)]
struct Missing {
    /// Who has it, in the order of being asked.
    sources: Vec<LinkId>,
    /// How many of them were asked.
    asked: usize,
    /// Asked for at once, by PULL.
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

#[derive(Debug, Default)]
pub(super) struct Tree {
    missing: Map<MessageId, Missing>,
    /// In the order of being due.
    repairs: VecDeque<Repair>,
    /// When one was last found to be needed.
    late: Option<Now>,
    flood_until: Now,
    renewed: Option<Now>,
    /// Large messages of late, and how often the tree was mended meanwhile.
    arrived: u32,
    grafted: u32,
}

/// Ids that wait to be announced to a neighbour.
#[derive(Debug, Default)]
pub(super) struct Lazy {
    ids: Vec<MessageId>,
    pulls: Vec<MessageId>,
    due: Option<Now>,
}

impl Lazy {
    pub(super) const fn due(&self) -> Option<Now> {
        self.due
    }
}

impl Tree {
    pub(super) fn deadline(&self) -> Option<Now> {
        let missing = self.missing.values().map(|missing| missing.next);
        let repair = self.repairs.front().map(|repair| repair.due);
        missing.chain(repair).min()
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

    pub(super) fn forget_link(&mut self, link: LinkId) {
        for missing in self.missing.values_mut() {
            missing.forget(link);
        }
    }
}

impl Mesh {
    /// A link was lost and none has its place yet: the tree is to be found again.
    pub(super) fn unsettle(&mut self, now: Now) {
        self.tree.flood_until = now + UNSETTLED;
    }

    pub(super) fn is_flooding(&self, now: Now) -> bool {
        now < self.tree.flood_until
    }

    /// Whether the tree is old enough to grow anew, which it then does. Who passes it on does not know
    /// when exactly others began.
    pub(super) fn renew(&mut self, now: Now, ours: bool) -> bool {
        let age = if ours { RENEWAL } else { RENEWAL / 2 };
        let due = (self.tree.renewed).is_none_or(|last| now >= last + age);
        if due {
            self.tree.renewed = Some(now);
        }
        due
    }

    pub(super) fn set_eager(&mut self, link: LinkId, eager: bool) {
        if let Some(link) = self.links.get_mut(&link) {
            link.eager = eager;
        }
    }

    /// A link is up. It is none of the tree, which it may leave again at once, unless it is the first.
    pub(super) fn join_tree(&mut self, id: LinkId) {
        if self.mesh_links().count() <= 1 {
            self.graft(id);
        } else {
            self.set_eager(id, false);
        }
    }

    /// A link is about to be lost: if it was of the tree, another one is in its place, at both ends. For one
    /// of them that is one too many, and pruned.
    pub(super) fn leave_tree(&mut self, id: LinkId) {
        if let Some(heir) = self.membership.heir(id) {
            self.inherit(id, heir);
        } else {
            let lazy = self.mesh_links().filter(|(_, link)| !link.eager);
            let near = lazy.min_by_key(|(_, link)| link.rtt.unwrap_or(ROUND_TRIP));
            if let Some((near, _)) = near {
                self.inherit(id, near);
            }
        }
    }

    /// A link takes the place of another one: in the tree too, for both its ends.
    pub(super) fn inherit(&mut self, old: LinkId, new: LinkId) {
        let old_link = self.links.get(&old);
        let eager = old_link.is_some_and(|link| link.eager && link.up_since.is_some());
        if eager && self.is_up(new) {
            self.set_eager(old, false);
            self.graft(new);
        }
    }

    /// Makes a link part of the tree, for both its ends. Peers of Easypeers 1 are at no end of one.
    fn graft(&mut self, link: LinkId) {
        if self.mesh_links().any(|(id, _)| id == link) {
            self.set_eager(link, true);
            self.send_control(link, Graft);
        }
    }

    /// A message is here; who else has announced it.
    pub(super) fn arrived(&mut self, message: &Signed) -> Vec<LinkId> {
        if message.is_large() {
            self.tree.arrived += 1;
            if self.tree.arrived >= SAMPLE {
                self.tree.arrived = 0;
                self.tree.grafted = 0;
            }
        }
        let missing = self.tree.missing.remove(&message.id);
        missing.map_or_else(Vec::new, |missing| missing.sources)
    }

    /// A second copy came along the tree: the next time its id will do. Not if the first was flooded, which
    /// says nothing about the tree.
    pub(super) fn prune(&mut self, link: LinkId, id: &MessageId) {
        if self.gossip.cache.is_of_tree(id) && self.is_up(link) {
            self.set_eager(link, false);
            self.send_control(link, Prune);
        }
    }

    /// Announces a message to neighbours, with others of the next moment.
    pub(super) fn announce(&mut self, now: Now, links: &[LinkId], id: MessageId, pull: bool) {
        for link in links {
            let Some(state) = self.links.get_mut(link) else {
                continue;
            };
            let lazy = &mut state.lazy;
            let list = if pull { &mut lazy.pulls } else { &mut lazy.ids };
            list.push(id);
            let full = list.len() >= MAX_MESSAGES;
            lazy.due = Some(if full {
                now
            } else {
                lazy.due.unwrap_or(now + GATHER)
            });
            if full {
                self.flush_lazy(*link);
            }
            self.wake_for(*link);
        }
    }

    fn flush_lazy(&mut self, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        let lazy = std::mem::take(&mut state.lazy);
        for (ids, pull) in [(lazy.ids, false), (lazy.pulls, true)] {
            if !ids.is_empty() {
                self.send_control(link, IHave { ids, pull });
            }
        }
    }

    pub(super) fn on_i_have(&mut self, now: Now, link: LinkId, ids: Vec<MessageId>, pull: bool) {
        let unknown: Vec<MessageId> = ids.into_iter().filter(|id| !self.knows(id)).collect();
        if pull {
            return self.pull(now, link, unknown);
        }
        let wait = self.patience(link);
        for id in unknown {
            self.miss(id, link, false, now + wait);
        }
    }

    /// Asks for messages that nobody will send unasked.
    pub(super) fn pull(&mut self, now: Now, link: LinkId, ids: Vec<MessageId>) {
        let next = now + self.patience(link);
        let mut asked = Vec::new();
        for id in ids {
            if self.miss(id, link, true, next) {
                asked.push(id);
            }
        }
        for ids in asked.chunks(MAX_MESSAGES) {
            self.send_control(link, Pull { ids: ids.to_vec() });
        }
    }

    /// Notes that a neighbour has what we miss; whether it is to be asked for a pull now.
    fn miss(&mut self, id: MessageId, link: LinkId, pull: bool, next: Now) -> bool {
        let room = self.tree.missing.len() < MISSING;
        match self.tree.missing.get_mut(&id) {
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
                idle && pull
            }
            None if room => {
                let missing = Missing {
                    sources: vec![link],
                    asked: usize::from(pull),
                    pull,
                    next,
                };
                self.tree.missing.insert(id, missing);
                true
            }
            None => {
                self.counters.rejected += 1;
                false
            }
        }
    }

    fn patience(&self, link: LinkId) -> Duration {
        let link = self.links.get(&link);
        let round_trip = link.and_then(|link| link.rtt).unwrap_or(ROUND_TRIP);
        round_trip * 2 + GRACE
    }

    pub(super) fn on_pull(&mut self, link: LinkId, ids: &[MessageId]) {
        for id in ids {
            self.resend(link, id);
        }
    }

    /// Announces what has waited, asks for what has not come.
    pub(super) fn tend_tree(&mut self, now: Now) {
        let due = |link: &super::links::Link| link.lazy.due.is_some_and(|due| due <= now);
        let links: Vec<LinkId> = (self.links.iter())
            .filter(|(_, link)| due(link))
            .map(|(id, _)| *id)
            .collect();
        for link in links {
            self.flush_lazy(link);
        }
        let late: Vec<MessageId> = (self.tree.missing.iter())
            .filter(|(_, missing)| missing.next <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.ask_for(now, id);
        }
        let repairs = &mut self.tree.repairs;
        let due = repairs.partition_point(|repair| repair.due <= now);
        let due: Vec<LinkId> = repairs.drain(..due).map(|repair| repair.link).collect();
        for link in due {
            self.repair(now, link);
        }
    }

    fn ask_for(&mut self, now: Now, id: MessageId) {
        let Some(missing) = self.tree.missing.get_mut(&id) else {
            return;
        };
        let Some(link) = missing.sources.get(missing.asked).copied() else {
            self.tree.missing.remove(&id);
            return;
        };
        missing.asked += 1;
        let rest = if missing.all_asked() {
            ASKED
        } else {
            Duration::ZERO
        };
        let wait = self.patience(link) + rest;
        if let Some(missing) = self.tree.missing.get_mut(&id) {
            missing.next = now + wait;
        }
        self.send_control(link, Pull { ids: vec![id] });
    }

    /// The tree does not reach us any more: it is mended where the message came from.
    fn repair(&mut self, now: Now, link: LinkId) {
        let last = self.tree.late.replace(now);
        let again = last.is_some_and(|last| now < last + TWICE);
        if !again || !self.is_up(link) {
            return;
        }
        self.graft(link);
        self.tree.grafted += 1;
        if self.tree.grafted * 10 > SAMPLE {
            self.tree.grafted = 0;
            self.tree.arrived = 0;
            self.unsettle(now);
        }
    }
}
