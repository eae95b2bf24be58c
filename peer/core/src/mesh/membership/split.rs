//! Splits: a full member with one link too many becomes a *host*. It asks a neighbour by SPLIT to
//! link to its guest in place of itself, offer and answer going through it, and loses that neighbour
//! once the new link is up: the edge is split, every degree stays what it was, the guest has two
//! links more (insertion into a random regular graph: Law and Siu, INFOCOM 2003). What fails is tried
//! with another neighbour; a guest that has links elsewhere is let go if none can be had.

use std::time::Duration;

use easypeers_proto::wire::frame::{Purpose, Split};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::exchange::Path;
use super::{Mesh, Now, OPEN};
use crate::mesh::{LinkId, Reason};

/// Neighbours asked to take a guest over.
const PARTNERS: u8 = 3;

/// Splits that one peer may cause here.
const SPLITS_EACH: u8 = 3;

/// A link is not split before it is so old, if there are older ones.
const SETTLED: Duration = Duration::from_secs(60);

/// Time for the other side to propose a flip.
const PROPOSAL: Duration = Duration::from_secs(3);

/// Time for the partner to fail and to say so.
const PARTNER: Duration = OPEN.saturating_add(Duration::from_secs(2));

/// What is done for a link that is one too many.
#[derive(Debug)]
pub(super) enum Extra {
    /// A neighbour is asked to link to the target, which lies behind this link, in place of us.
    Host {
        id: MessageId,
        target: PeerId,
        tries: u8,
        partner: Option<LinkId>,
        deadline: Now,
    },
    /// We offered a neighbour of ours for a flip; it leaves us when its new link is up.
    Proposed {
        id: MessageId,
        partner: LinkId,
        deadline: Now,
    },
    /// The other side is to offer one.
    Awaiting { deadline: Now },
}

impl Extra {
    pub(super) fn awaiting(now: Now) -> Self {
        Self::Awaiting {
            deadline: now + PROPOSAL,
        }
    }

    pub(super) const fn proposed(id: MessageId, partner: LinkId, now: Now) -> Self {
        Self::Proposed {
            id,
            partner,
            deadline: now.saturating_add(PARTNER.saturating_mul(2)),
        }
    }

    /// The neighbour that is to leave.
    const fn partner(&self) -> Option<LinkId> {
        match self {
            Self::Host { partner, .. } => *partner,
            Self::Proposed { partner, .. } => Some(*partner),
            Self::Awaiting { .. } => None,
        }
    }

    /// Something is under way that ends with a link less.
    const fn is_running(&self) -> bool {
        !matches!(self, Self::Host { partner: None, .. })
    }

    pub(super) fn gives_up(&self, link: LinkId) -> bool {
        self.partner() == Some(link)
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        match self {
            Self::Host { partner: None, .. } => None,
            Self::Host { deadline, .. }
            | Self::Proposed { deadline, .. }
            | Self::Awaiting { deadline } => Some(*deadline),
        }
    }
}

impl Mesh {
    fn running(&self) -> usize {
        let extras = self.membership.extras.values();
        extras.filter(|extra| extra.is_running()).count()
    }

    /// Whether a guest could be taken in, beside those that are.
    pub(super) fn may_host(&self) -> bool {
        self.guest_room() > self.running() && self.mesh_links().count() > 1
    }

    pub(in crate::mesh) fn on_split(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        peer: PeerId,
    ) {
        let Some(host) = self.up_peer(link) else {
            return;
        };
        let busy = self
            .membership
            .extras
            .values()
            .any(|extra| extra.gives_up(link));
        if busy || !self.is_stranger(peer) || self.membership.invites.contains_key(&id) {
            return self.refuse(link, id, host);
        }
        self.membership.paths.insert(now, id, Path::of_walk(link));
        self.invite(now, id, peer, Purpose::Links, Some(link));
    }

    pub(super) fn on_split_refused(&mut self, link: LinkId, id: MessageId) {
        let mut ended = None;
        for (extra_link, extra) in self.membership.extras.iter_mut() {
            match extra {
                Extra::Host {
                    id: ours, partner, ..
                } if *ours == id && *partner == Some(link) => *partner = None,
                Extra::Proposed { id: ours, .. } if *ours == id && *extra_link == link => {
                    ended = Some(*extra_link);
                }
                _ => {}
            }
        }
        if let Some(ended) = ended {
            self.membership.extras.remove(&ended);
        }
    }

    /// Splits edges for guests, and lets links go that are too many.
    pub(super) fn tend_extras(&mut self, now: Now) {
        let extras = &mut self.membership.extras;
        extras.retain(|_, extra| match extra {
            Extra::Host {
                partner, deadline, ..
            } => {
                if *deadline <= now {
                    *partner = None;
                }
                true
            }
            Extra::Proposed { deadline, .. } | Extra::Awaiting { deadline } => *deadline > now,
        });
        loop {
            let most = self.settings.max_peers + self.running();
            let up = self.counted_up();
            if up <= most {
                if up <= self.settings.max_peers {
                    // Nothing is one too many any more, since a neighbour left.
                    let extras = &mut self.membership.extras;
                    extras.retain(|_, extra| extra.is_running());
                }
                return;
            }
            if !self.host(now) {
                return self.shed(now, most);
            }
        }
    }

    /// Finds a partner for a guest, one that has failed first; whether it was asked.
    fn host(&mut self, now: Now) -> bool {
        let waiting = self
            .membership
            .extras
            .iter()
            .find_map(|(link, extra)| match extra {
                Extra::Host {
                    partner: None,
                    tries,
                    id,
                    target,
                    ..
                } if *tries < PARTNERS => Some((*link, *id, *target, *tries)),
                _ => None,
            });
        let (link, id, target, tries) = match waiting {
            Some(waiting) => waiting,
            None => {
                // The newest that can use another link.
                let hungry = |link: &&(LinkId, &crate::mesh::links::Link)| {
                    let neighbor = link.1.neighbor();
                    let splits = self.membership.guests.get(&link.1.peer);
                    neighbor.links < neighbor.max_links
                        && !self.membership.extras.contains_key(&link.0)
                        && splits.is_none_or(|splits| *splits < SPLITS_EACH)
                };
                let links: Vec<_> = self.mesh_links().collect();
                let Some((link, state)) = links.iter().filter(hungry).max_by_key(|(id, _)| *id)
                else {
                    return false;
                };
                let (link, target) = (*link, state.peer);
                let splits = self.membership.guests.get(&target).copied().unwrap_or(0);
                self.membership.guests.insert(now, target, splits + 1);
                (link, MessageId::new(self.rng.random()), target, 0)
            }
        };
        let partner = self.partner(now, link, target);
        // Without a partner its tries are used up.
        let tries = if partner.is_some() {
            tries + 1
        } else {
            PARTNERS
        };
        let extra = Extra::Host {
            id,
            target,
            tries,
            partner,
            deadline: now + PARTNER,
        };
        self.membership.extras.insert(link, extra);
        if let Some(partner) = partner {
            let path = Path {
                seeker: Some(link),
                inviter: Some(partner),
                relays: 0,
            };
            self.membership.paths.insert(now, id, path);
            self.send_control(partner, Split { id, peer: target });
        }
        partner.is_some()
    }

    /// Takes part in a flip: a neighbour of ours is to link to this neighbour of the other side's.
    pub(super) fn host_flip(&mut self, now: Now, link: LinkId, id: MessageId, target: PeerId) {
        let extra = Extra::Host {
            id,
            target,
            tries: 0,
            partner: None,
            deadline: now,
        };
        self.membership.extras.insert(link, extra);
    }

    /// A neighbour that could link to the target in place of us: one that has other links, an old
    /// one if there is one.
    pub(super) fn partner(&mut self, now: Now, guest: LinkId, target: PeerId) -> Option<LinkId> {
        let extras = &self.membership.extras;
        let leaving = self.membership.leaving();
        let free: Vec<(LinkId, bool)> = (self.mesh_links())
            .filter(|(id, link)| {
                *id != guest
                    && link.peer != target
                    && self.membership.counts(*id)
                    && link.neighbor().links > 1
                    && !extras.contains_key(id)
                    && !extras.values().any(|extra| extra.gives_up(*id))
                    && !leaving.contains(id)
            })
            .map(|(id, link)| (id, link.up_since.is_some_and(|at| now >= at + SETTLED)))
            .collect();
        let old: Vec<LinkId> = free
            .iter()
            .filter(|(_, old)| *old)
            .map(|(id, _)| *id)
            .collect();
        let any: Vec<LinkId> = free.iter().map(|(id, _)| *id).collect();
        let chosen = if old.is_empty() { &any } else { &old };
        chosen.choose(&mut self.rng).copied()
    }

    /// Links of the mesh that are up.
    fn counted_up(&self) -> usize {
        let counts = |(id, _): &(LinkId, _)| self.membership.counts(*id);
        self.up_links().filter(counts).count()
    }

    /// Lets links go that are too many: first those that nothing could be exchanged for, then those
    /// of neighbours with the most links, and of these the newest, since what has lasted is likely to
    /// last. A neighbour without another link is kept until it says that it has one.
    fn shed(&mut self, now: Now, most: usize) {
        while self.counted_up() > most {
            let extras = &self.membership.extras;
            let least_needed = (self.up_links())
                .filter(|(id, link)| {
                    let runs = extras.get(id).is_some_and(Extra::is_running);
                    // It may just have taken the place of one that was closed for it.
                    let new = link.up_since == Some(now);
                    self.membership.counts(*id) && link.spare() && !runs && !new
                })
                .max_by_key(|(id, link)| (extras.contains_key(id), link.neighbor().links, *id))
                .map(|(id, _)| id);
            let Some(id) = least_needed else { break };
            if let Some(Extra::Host {
                id: flip, target, ..
            }) = self.membership.extras.get(&id)
            {
                let (flip, target) = (*flip, *target);
                if self.up_peer(id) != Some(target) {
                    self.refuse(id, flip, target);
                }
            }
            self.close_link(now, id, Some(Reason::Full));
        }
    }
}
