//! Surplus links: a full member with one link too many exchanges neighbours for it.
//!
//! With a *split* it becomes a host. It asks a neighbour with SPLIT to link to its guest in place of
//! itself, with offer and answer going through it, and loses that neighbour once the new link is up. The edge is
//! split, every degree stays the same, and the guest has gained two links (insertion into a random
//! regular graph: Law and Siu, INFOCOM 2003). What fails is tried with another neighbour. A guest that has
//! links elsewhere is let go if no neighbour can be found.

use std::time::Duration;

use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::Context;
use super::bulk_link::BulkLinks;
use super::exchange::OPEN;
use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use crate::message::LinkId;
use crate::neighbors::{Link, Neighbors};
use crate::time::Now;

/// Neighbours that are asked to take a guest over.
const PARTNERS: u8 = 3;

/// Splits that one peer may cause here.
const SPLITS_EACH: u8 = 3;

/// Peers whose splits are counted, and for how long.
const GUESTS: u32 = 1024;
const GUEST_AGE: Duration = Duration::from_secs(600);

/// Links that are at least this old are split first.
const SETTLED: Duration = Duration::from_secs(60);

/// Time for the other side to propose a flip.
const PROPOSAL: Duration = Duration::from_secs(3);

/// Time for the partner to fail and to say so.
const PARTNER: Duration = OPEN.saturating_add(Duration::from_secs(2));

/// What is done about a link that is one too many.
#[derive(Debug)]
enum SurplusLink {
    /// A neighbour is asked to link in place of us to the target, which is behind this link.
    Host {
        id: MessageId,
        target: PeerId,
        tries: u8,
        partner: Option<LinkId>,
        deadline: Now,
    },
    /// We offered one of our neighbours for a flip. It leaves us when its new link is up.
    Proposed {
        id: MessageId,
        partner: LinkId,
        deadline: Now,
    },
    /// The other side is to offer one.
    Awaiting { deadline: Now },
}

impl SurplusLink {
    /// The neighbour that is to leave.
    const fn partner(&self) -> Option<LinkId> {
        match self {
            Self::Host { partner, .. } => *partner,
            Self::Proposed { partner, .. } => Some(*partner),
            Self::Awaiting { .. } => None,
        }
    }

    /// Whether something is under way that ends with one link fewer.
    const fn is_running(&self) -> bool {
        !matches!(self, Self::Host { partner: None, .. })
    }

    fn gives_up(&self, link: LinkId) -> bool {
        self.partner() == Some(link)
    }

    const fn deadline(&self) -> Option<Now> {
        match self {
            Self::Host { partner: None, .. } => None,
            Self::Host { deadline, .. }
            | Self::Proposed { deadline, .. }
            | Self::Awaiting { deadline } => Some(*deadline),
        }
    }
}

/// A guest that a partner was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hosting {
    /// The guest's link.
    pub(super) link: LinkId,
    pub(super) id: MessageId,
    pub(super) target: PeerId,
    /// The neighbour to be asked.
    pub(super) partner: LinkId,
}

/// A flip that is refused because its link is let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EndedFlip {
    pub(super) id: MessageId,
    pub(super) target: PeerId,
}

/// Links that are one too many, and what is done about each.
#[derive(Debug)]
pub(super) struct Surplus {
    links: Map<LinkId, SurplusLink>,
    /// Splits that each peer has caused.
    guests: ExpiringMap<PeerId, u8>,
}

impl Surplus {
    pub(super) fn new() -> Self {
        Self {
            links: Map::default(),
            guests: ExpiringMap::new(GUESTS, GUEST_AGE),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.guests.expire(now);
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = Now> {
        self.links.values().filter_map(SurplusLink::deadline)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Links for which something is under way that ends with one link fewer.
    pub(super) fn running(&self) -> usize {
        let links = self.links.values();
        links.filter(|surplus| surplus.is_running()).count()
    }

    /// Whether this neighbour is to leave.
    pub(super) fn gives_up(&self, link: LinkId) -> bool {
        self.heir(link).is_some()
    }

    /// The link that takes this one's place.
    pub(super) fn heir(&self, link: LinkId) -> Option<LinkId> {
        let mut links = self.links.iter();
        let heir = links.find(|(_, surplus)| surplus.gives_up(link));
        heir.map(|(heir, _)| *heir)
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.links.remove(&link);
        // Its place is taken, or it is lost. Either way there is one link fewer.
        self.links.retain(|_, surplus| !surplus.gives_up(link));
    }

    pub(super) fn remove(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Neither side of this link needs it: the other side is to propose a flip.
    pub(super) fn await_proposal(&mut self, now: Now, link: LinkId) {
        let deadline = now + PROPOSAL;
        self.links.insert(link, SurplusLink::Awaiting { deadline });
    }

    pub(super) fn is_awaiting(&self, link: LinkId) -> bool {
        matches!(self.links.get(&link), Some(SurplusLink::Awaiting { .. }))
    }

    /// We propose a flip along this link, for which the partner leaves us.
    pub(super) fn propose(&mut self, now: Now, link: LinkId, id: MessageId, partner: LinkId) {
        let proposed = SurplusLink::Proposed {
            id,
            partner,
            deadline: now + PARTNER * 2,
        };
        self.links.insert(link, proposed);
    }

    /// We take part in a flip: one of our neighbours is to link to this neighbour of the other side.
    pub(super) fn host_flip(&mut self, now: Now, link: LinkId, id: MessageId, target: PeerId) {
        let host = SurplusLink::Host {
            id,
            target,
            tries: 0,
            partner: None,
            deadline: now,
        };
        self.links.insert(link, host);
    }

    /// A neighbour refuses a split or a flip.
    pub(super) fn on_refused(&mut self, link: LinkId, id: MessageId) {
        let mut ended = None;
        for (surplus_link, surplus) in self.links.iter_mut() {
            match surplus {
                SurplusLink::Host {
                    id: ours, partner, ..
                } if *ours == id && *partner == Some(link) => *partner = None,
                SurplusLink::Proposed { id: ours, .. } if *ours == id && *surplus_link == link => {
                    ended = Some(*surplus_link);
                }
                _ => {}
            }
        }
        if let Some(ended) = ended {
            self.links.remove(&ended);
        }
    }

    /// Ends what took too long.
    pub(super) fn end_late(&mut self, now: Now) {
        self.links.retain(|_, surplus| match surplus {
            SurplusLink::Host {
                partner, deadline, ..
            } => {
                if *deadline <= now {
                    *partner = None;
                }
                true
            }
            SurplusLink::Proposed { deadline, .. } | SurplusLink::Awaiting { deadline } => {
                *deadline > now
            }
        });
    }

    /// No link is one too many any more, because a neighbour left.
    pub(super) fn end_idle(&mut self) {
        self.links.retain(|_, surplus| surplus.is_running());
    }

    /// Finds a partner for a guest, first for one whose partner failed. `None` if there is no guest, or no partner
    /// for it.
    pub(super) fn host(
        &mut self,
        now: Now,
        cx: &mut Context<'_>,
        bulk: &BulkLinks,
        leaving: &[LinkId],
    ) -> Option<Hosting> {
        let (link, id, target, tries) = self.waiting().or_else(|| self.new_guest(now, cx))?;
        let partner = self.partner(now, cx, link, target, bulk, leaving);
        let host = SurplusLink::Host {
            id,
            target,
            // Without a partner its tries are used up.
            tries: partner.map_or(PARTNERS, |_| tries + 1),
            partner,
            deadline: now + PARTNER,
        };
        self.links.insert(link, host);
        Some(Hosting {
            link,
            id,
            target,
            partner: partner?,
        })
    }

    /// A guest whose partner failed.
    fn waiting(&self) -> Option<(LinkId, MessageId, PeerId, u8)> {
        self.links.iter().find_map(|(link, surplus)| match surplus {
            SurplusLink::Host {
                partner: None,
                tries,
                id,
                target,
                ..
            } if *tries < PARTNERS => Some((*link, *id, *target, *tries)),
            _ => None,
        })
    }

    /// The newest neighbour that can use another link.
    fn new_guest(
        &mut self,
        now: Now,
        cx: &mut Context<'_>,
    ) -> Option<(LinkId, MessageId, PeerId, u8)> {
        let can_use = |(id, link): &(LinkId, &Link)| {
            let said = link.said();
            let splits = self.guests.get(&link.peer);
            said.links < said.max_links
                && !self.links.contains_key(id)
                && splits.is_none_or(|splits| *splits < SPLITS_EACH)
        };
        let guests = cx.neighbors.mesh_links().filter(can_use);
        let (link, state) = guests.max_by_key(|(id, _)| *id)?;
        let target = state.peer;
        let splits = self.guests.get(&target).copied().unwrap_or(0);
        self.guests.insert(now, target, splits + 1);
        Some((link, MessageId::new(cx.rng.random()), target, 0))
    }

    /// A neighbour that could link to the target in place of us: one that has other links, an old one if there
    /// is one.
    pub(super) fn partner(
        &self,
        now: Now,
        cx: &mut Context<'_>,
        guest: LinkId,
        target: PeerId,
        bulk: &BulkLinks,
        leaving: &[LinkId],
    ) -> Option<LinkId> {
        let free: Vec<(LinkId, bool)> = (cx.neighbors.mesh_links())
            .filter(|(id, link)| {
                *id != guest
                    && link.peer != target
                    && !bulk.contains(*id)
                    && link.said().links > 1
                    && !self.links.contains_key(id)
                    && !self.gives_up(*id)
                    && !leaving.contains(id)
            })
            .map(|(id, link)| (id, link.up_since.is_some_and(|at| now >= at + SETTLED)))
            .collect();
        let old: Vec<LinkId> = (free.iter())
            .filter(|(_, old)| *old)
            .map(|(id, _)| *id)
            .collect();
        let any: Vec<LinkId> = free.iter().map(|(id, _)| *id).collect();
        let chosen = if old.is_empty() { &any } else { &old };
        chosen.choose(cx.rng).copied()
    }

    /// The link to let go when there are more than `most`, and a flip that ends with it. Links for which
    /// nothing could be exchanged go first, then those of the neighbours with the most links, and of these the
    /// newest: a link that has lasted is likely to last. A neighbour without another link is kept until it says
    /// that it has one.
    pub(super) fn least_needed(
        &self,
        now: Now,
        neighbors: &Neighbors,
        bulk: &BulkLinks,
        most: usize,
    ) -> Option<(LinkId, Option<EndedFlip>)> {
        if counted_up(neighbors, bulk) <= most {
            return None;
        }
        let (id, _) = (neighbors.up_links())
            .filter(|(id, link)| {
                let runs = self.links.get(id).is_some_and(SurplusLink::is_running);
                // It may just have taken the place of one that was closed for it.
                let new = link.up_since == Some(now);
                !bulk.contains(*id) && link.is_spare() && !runs && !new
            })
            .max_by_key(|(id, link)| (self.links.contains_key(id), link.said().links, *id))?;
        let ended = match self.links.get(&id) {
            Some(SurplusLink::Host {
                id: flip, target, ..
            }) if neighbors.up_peer(id) != Some(*target) => Some(EndedFlip {
                id: *flip,
                target: *target,
            }),
            _ => None,
        };
        Some((id, ended))
    }
}

/// Links that are up, bulk links aside.
pub(super) fn counted_up(neighbors: &Neighbors, bulk: &BulkLinks) -> usize {
    let links = neighbors.up_links();
    links.filter(|(id, _)| !bulk.contains(*id)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: MessageId = MessageId::new([1; 20]);

    #[test]
    fn a_refused_flip_ends_and_a_refused_split_looks_for_another_partner() {
        let mut surplus = Surplus::new();
        surplus.propose(Now::ZERO, LinkId(1), ID, LinkId(2));
        assert_eq!(surplus.heir(LinkId(2)), Some(LinkId(1)));
        surplus.on_refused(LinkId(9), ID);
        assert_eq!(surplus.running(), 1, "another neighbour cannot refuse it");
        surplus.on_refused(LinkId(1), ID);
        assert!(surplus.is_empty());
        surplus.host_flip(Now::ZERO, LinkId(1), ID, PeerId::new([5; 20]));
        assert_eq!(surplus.running(), 0, "it has no partner yet");
        assert!(surplus.waiting().is_some());
    }

    #[test]
    fn a_proposal_is_awaited_for_some_seconds() {
        let mut surplus = Surplus::new();
        surplus.await_proposal(Now::ZERO, LinkId(1));
        surplus.end_late(PROPOSAL / 2);
        assert!(surplus.is_awaiting(LinkId(1)));
        surplus.end_late(PROPOSAL);
        assert!(surplus.is_empty());
    }

    #[test]
    fn what_a_lost_link_was_for_is_forgotten() {
        let mut surplus = Surplus::new();
        surplus.propose(Now::ZERO, LinkId(1), ID, LinkId(2));
        surplus.forget(LinkId(2));
        assert!(surplus.is_empty());
    }
}
