//! Flips: two full members A and C that were linked exchange a neighbour each: A-b and C-d become
//! A-C and b-d, every degree stays. C proposes d to A and prepares d; A asks b by SPLIT to link to d,
//! the descriptions going b, A, C, d; when b-d is up, b leaves A and d leaves C.
//!
//! A member starts one now and then, at the end of a long random walk, so that the mesh stays a
//! random graph whatever happened to it. A full member whose probe offer a tracker hands to another
//! full member gets one too. And when two meshes touch, members on both sides start some across.

use std::time::Duration;

use easypeers_proto::wire::frame::{Flip, FlipStep, LinkRequest, Purpose, WalkTarget};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;

use super::exchange::Path;
use super::split::Extra;
use super::{Mesh, Now, PATH_AGE, SLACK};
use crate::expiring_map::ExpiringMap;
use crate::mesh::{LinkId, Output, Reason};

/// Flips that neighbours prepared and that may still come.
const PREPARED: u32 = 64;

/// Walks that each side of a touch sends out for flips across: with those of the touch itself, and
/// with some that fail, at least sixteen edges.
const MERGES: usize = 6;

/// One merge at a time.
const MERGE_PAUSE: Duration = Duration::from_secs(60);

/// Pauses between exchanges because neighbours kept messages from us: the first, each further one twice as
/// long, the longest. After a time without that, the first again.
const DEPRIVED: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// Flips that others may have with us.
const SPACING: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Flips {
    prepared: ExpiringMap<MessageId, LinkId>,
    next: Option<Now>,
    last: Option<Now>,
    last_merge: Option<Now>,
    /// When neighbours that keep messages from us may be exchanged again, and the pause after that.
    deprived: (Now, Duration),
}

impl Flips {
    pub(super) fn new() -> Self {
        Self {
            prepared: ExpiringMap::new(PREPARED, PATH_AGE),
            next: None,
            last: None,
            last_merge: None,
            deprived: (Now::ZERO, DEPRIVED.0),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.prepared.expire(now);
    }

    /// The neighbour that prepared this exchange and gives us up for it.
    pub(super) fn prepared(&self, id: &MessageId, link: LinkId) -> Option<LinkId> {
        self.prepared.get(id).copied().filter(|by| *by == link)
    }
}

impl Mesh {
    pub(super) const fn next_flip(&self) -> Option<Now> {
        self.membership.flips.next
    }

    /// Now and then, at random times.
    pub(super) fn tend_flips(&mut self, now: Now) {
        let due = self.membership.flips.next;
        if due.is_some_and(|due| due > now) {
            return;
        }
        let mean = self.settings.flip_interval;
        let wait = mean.mul_f64(-self.rng.random_range(f64::EPSILON..1.0).ln());
        self.membership.flips.next = Some(now + wait.clamp(mean / 10, mean * 4));
        if due.is_some() {
            self.start_flip(now);
        }
    }

    fn start_flip(&mut self, now: Now) {
        let settled = self.room() == 0 && self.membership.extras.is_empty();
        if settled && self.guest_room() > 0 {
            self.start_walk(now, Purpose::Flip, WalkTarget::Random, 0, 0);
        }
    }

    /// Neighbours had messages and did not pass them on, whether they would not or could not: others may. If
    /// all of them are so, nothing else would bring in one that is not.
    pub(in crate::mesh) fn on_deprived(&mut self, now: Now) {
        let state = &mut self.membership.flips;
        let (after, pause) = state.deprived;
        if now < after {
            return;
        }
        let pause = if now < after + DEPRIVED.1 {
            pause
        } else {
            DEPRIVED.0
        };
        state.deprived = (now + pause, (pause * 2).min(DEPRIVED.1));
        for _ in 0..SLACK {
            self.start_flip(now);
        }
    }

    /// Offers a neighbour to the other side of a link that neither needs.
    pub(super) fn propose_flip(&mut self, now: Now, link: LinkId) {
        let Some(other) = self.up_peer(link) else {
            return;
        };
        let Some(partner) = self.partner(now, link, other) else {
            self.membership.extras.remove(&link);
            return;
        };
        let Some(peer) = self.up_peer(partner) else {
            return;
        };
        let id = MessageId::new(self.rng.random());
        let path = Path {
            seeker: Some(partner),
            inviter: Some(link),
            relays: 0,
        };
        self.membership.paths.insert(now, id, path);
        let extra = Extra::proposed(id, partner, now);
        self.membership.extras.insert(link, extra);
        for (to, step, peer) in [
            (partner, FlipStep::Prepare, other),
            (link, FlipStep::Propose, peer),
        ] {
            self.send_control(to, Flip { id, step, peer });
        }
    }

    pub(in crate::mesh) fn on_flip(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        step: FlipStep,
        peer: PeerId,
    ) {
        match step {
            FlipStep::Prepare => {
                self.membership.flips.prepared.insert(now, id, link);
            }
            FlipStep::Propose => {
                let awaited = self.membership.extras.get(&link);
                let rested = (self.membership.flips.last).is_none_or(|last| now >= last + SPACING);
                if matches!(awaited, Some(Extra::Awaiting { .. }))
                    && rested
                    && peer != self.settings.me
                {
                    self.membership.flips.last = Some(now);
                    self.host_flip(now, link, id, peer);
                } else if let Some(other) = self.up_peer(link) {
                    self.refuse(link, id, other);
                }
            }
        }
    }

    /// A link that neither side needs, made through a tracker, joins nothing: who made the offer closes it.
    pub(in crate::mesh) fn on_same_mesh(&mut self, now: Now, link: LinkId) {
        if self.is_unneeded(link) {
            self.out.push_back(Output::SameMesh);
            if self.links.get(&link).is_some_and(|link| link.offered) {
                self.close_link(now, link, Some(Reason::Full));
            }
        }
    }

    /// The same, but it may join two meshes: who made the offer proposes a flip.
    pub(in crate::mesh) fn on_other_mesh(&mut self, now: Now, link: LinkId) {
        let offered = self.links.get(&link).is_some_and(|link| link.offered);
        if offered && self.is_unneeded(link) {
            self.propose_flip(now, link);
        }
    }

    fn is_unneeded(&self, link: LinkId) -> bool {
        let extra = self.membership.extras.get(&link);
        matches!(extra, Some(Extra::Awaiting { .. }))
    }

    /// Two meshes touch along this link: random members on our side start flips across it.
    pub(in crate::mesh) fn merge(&mut self, now: Now, link: LinkId) {
        let last = self.membership.flips.last_merge;
        if last.is_some_and(|last| now < last + MERGE_PAUSE) {
            return;
        }
        self.membership.flips.last_merge = Some(now);
        self.counters.merges += 1;
        for _ in 0..MERGES {
            let me = self.settings.me;
            let next = self.next_hop(now, WalkTarget::Random, Some(link), me);
            let Some(next) = next.filter(|next| *next != link) else {
                return;
            };
            let id = MessageId::new(self.rng.random());
            // Who follows this walk back goes across.
            self.membership.paths.insert(now, id, Path::of_walk(link));
            let need = LinkRequest {
                id,
                from: me,
                hops: 0,
                purpose: Purpose::Merge,
                missing: 0,
                target: WalkTarget::Random,
            };
            self.send_control(next, need);
        }
    }

    /// Starts a flip with a member on the other side of where a walk came from.
    pub(super) fn flip_along(&mut self, now: Now, walk: MessageId) {
        if self.guest_room() > 0 {
            self.start_walk(now, Purpose::Flip, WalkTarget::Along(walk), 0, 0);
        }
    }
}
