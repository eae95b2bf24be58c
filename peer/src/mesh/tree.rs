//! The tree of larger broadcasts: Plumtree (Leitão, Pereira and Rodrigues, "Epidemic Broadcast
//! Trees", SRDS 2007).
//!
//! Links are *eager* at first: messages go along them in whole. A copy that comes along the tree
//! makes its link *lazy* by PRUNE: only ids go along it, by IHAVE. Whoever hears of a message that
//! does not come asks for it by GRAFT, which makes the link eager again. For a while after a link
//! was lost, and when too many messages had to be asked for, messages go to all neighbours.
//!
//! The same list of missed messages serves the comparison of [digests](super::digest): what is pulled
//! is asked for at once, and of the next who has it when it does not come.

use std::time::Duration;

use shared::MessageId;
use shared::wire::frame::{MAX_MESSAGES, Pushed};

use super::message::{Packet, Signed};
use super::{LinkId, Mesh, Now};
use crate::map::Map;

/// Ids for one neighbour are gathered for so long.
const GATHER: Duration = Duration::from_millis(20);

/// Time for an announced message to come along the tree, on top of two round trips.
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

/// Of so many messages, at most a tenth may be asked for before everything is flooded again.
const SAMPLE: u32 = 20;

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

#[derive(Debug, Default)]
pub(super) struct Tree {
    missing: Map<MessageId, Missing>,
    flood_until: Now,
    /// Large messages of late, and how many of them were asked for.
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
        self.missing.values().map(|missing| missing.next).min()
    }

    pub(super) fn is_missing(&self, id: &MessageId) -> bool {
        self.missing.contains_key(id)
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

    pub(super) fn set_eager(&mut self, link: LinkId, eager: bool) {
        if let Some(link) = self.links.get_mut(&link) {
            link.eager = eager;
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

    /// A copy came along the tree: the next time its id will do.
    pub(super) fn prune(&mut self, link: LinkId, id: &MessageId) {
        let large = (self.gossip.cache.get(id)).is_some_and(|(_, m)| m.is_large());
        if large && self.is_up(link) {
            self.set_eager(link, false);
            self.send_control(link, Packet::Prune);
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
                self.send_control(link, Packet::IHave { ids, pull });
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
            self.send_control(link, Packet::Pull(ids.to_vec()));
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

    pub(super) fn on_graft(&mut self, link: LinkId, id: &MessageId) {
        self.set_eager(link, true);
        self.resend(link, id, Pushed::Tree);
    }

    pub(super) fn on_pull(&mut self, link: LinkId, ids: &[MessageId]) {
        for id in ids {
            self.resend(link, id, Pushed::Pulled);
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
        let pull = missing.pull;
        let wait = self.patience(link) + rest;
        if let Some(missing) = self.tree.missing.get_mut(&id) {
            missing.next = now + wait;
        }
        if pull {
            return self.send_control(link, Packet::Pull(vec![id]));
        }
        self.set_eager(link, true);
        self.send_control(link, Packet::Graft(id));
        self.tree.grafted += 1;
        if self.tree.grafted * 10 > SAMPLE {
            self.tree.grafted = 0;
            self.tree.arrived = 0;
            self.unsettle(now);
        }
    }
}
