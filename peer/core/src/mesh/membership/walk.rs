//! LINK_REQUEST: a walk through the mesh that looks for a member. Each member on its way remembers where it
//! came from first, so that what is found can be sent back, in no circles.
//!
//! A member that misses links is found by another that misses some within [`PAIRING`] links; beyond,
//! by any that can take a guest in. A flip ends at whoever stands where the walk ends.

use std::time::Duration;

use easypeers_proto::wire::frame::{LinkRequest, Purpose, WalkTarget};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::seq::IndexedRandom;

use super::exchange::{Path, Seek};
use super::{Mesh, Now, PAUSE};
use crate::mesh::LinkId;

/// Links of a walk on which only members that miss links invite.
const PAIRING: u8 = 6;

/// Links of a walk in all: enough to reach any part of a mesh of a million.
pub(super) const WALK: u8 = 16;

/// Links of the walk to a member that starts a flip for a merge.
const SPREAD: u8 = 8;

/// Walks of ours at once.
const SEEKS: usize = 3;

/// Time for a walk to bring an offer.
const SEEK: Duration = Duration::from_secs(3);

/// Invitations under way at once.
const INVITES: usize = 8;

/// Walks that brought nothing before a member that we have heard of is asked.
const FRUITLESS: Duration = Duration::from_secs(4);

/// After a link came up, so long for its host to bring another.
const SPLITTING: Duration = Duration::from_secs(2);

impl Mesh {
    pub(super) fn may_seek(&self) -> bool {
        self.room() > 0 && self.membership.seeks.len() < SEEKS && self.mesh_links().next().is_some()
    }

    pub(super) fn seek_links(&mut self, now: Now) {
        while now >= self.membership.next_seek && self.may_seek() {
            let missing = self.room();
            let known = self.membership.passive.any(&mut self.rng);
            let course = match known {
                Some(peer) if self.membership.pause >= FRUITLESS => WalkTarget::To(peer),
                _ => WalkTarget::Random,
            };
            if !self.start_walk(now, Purpose::Links, course, missing.min(2), missing) {
                return;
            }
        }
    }

    pub(super) fn end_seeks(&mut self, now: Now) {
        let before = self.membership.seeks.len();
        self.membership.seeks.retain(|_, seek| seek.deadline > now);
        if self.membership.seeks.len() < before {
            self.rest(now);
        }
    }

    /// A walk brought nothing: a pause before the next, each longer than the one before.
    pub(super) fn rest(&mut self, now: Now) {
        let pause = self.membership.pause;
        let part = self.rng.random_range(0.75..=1.0);
        self.membership.next_seek = now + pause.mul_f64(part);
        self.membership.pause = (pause * 2).min(PAUSE.1);
    }

    /// Links were lost: look at once.
    pub(in crate::mesh) fn seek_soon(&mut self, now: Now) {
        self.membership.pause = PAUSE.0;
        self.membership.next_seek = self.membership.next_seek.min(now);
    }

    /// A link came up: its host may bring another.
    pub(super) fn seek_later(&mut self, now: Now) {
        self.membership.pause = PAUSE.0;
        self.membership.next_seek = now + SPLITTING;
    }

    /// Sends a walk of ours out, for so many links; whether there is a way.
    pub(super) fn start_walk(
        &mut self,
        now: Now,
        purpose: Purpose,
        course: WalkTarget,
        links: usize,
        missing: usize,
    ) -> bool {
        let Some(link) = self.next_hop(now, course, None, self.settings.me) else {
            return false;
        };
        let id = MessageId::new(self.rng.random());
        let seek = Seek {
            purpose,
            links,
            peer: None,
            host: None,
            deadline: now + SEEK,
        };
        self.membership.seeks.insert(id, seek);
        let need = LinkRequest {
            id,
            from: self.settings.me,
            hops: 0,
            purpose,
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
            target: course,
        };
        self.send_control(link, need);
        true
    }

    /// Where a walk goes next: never back, unless there is no other way.
    pub(super) fn next_hop(
        &mut self,
        now: Now,
        course: WalkTarget,
        from: Option<LinkId>,
        walker: PeerId,
    ) -> Option<LinkId> {
        let directed = match course {
            WalkTarget::Random => None,
            WalkTarget::To(peer) => self.way(now, peer, from),
            WalkTarget::Along(walk) => (self.membership.paths.get(&walk))
                .and_then(|path| path.seeker)
                .filter(|link| Some(*link) != from && self.is_up(*link)),
        };
        let others: Vec<LinkId> = (self.mesh_links())
            .filter(|(id, link)| Some(*id) != from && link.peer != walker)
            .map(|(id, _)| id)
            .collect();
        directed
            .or_else(|| others.choose(&mut self.rng).copied())
            .or(from)
    }

    pub(in crate::mesh) fn on_need(&mut self, now: Now, link: LinkId, need: LinkRequest) {
        let LinkRequest { id, from, .. } = need;
        let ours = from == self.settings.me || self.membership.seeks.contains_key(&id);
        if !ours && !self.membership.paths.contains(&id) {
            self.membership.paths.insert(now, id, Path::of_walk(link));
        }
        let hops = need.hops.saturating_add(1);
        if !ours && self.ends_here(from, hops, &need) {
            return self.end_walk(now, link, need);
        }
        if hops < WALK {
            let course = match need.target {
                // Arrived where the other walk came from, or nobody knows it.
                WalkTarget::Along(walk) if !self.membership.paths.contains(&walk) => {
                    WalkTarget::Random
                }
                course => course,
            };
            if let Some(next) = self.next_hop(now, course, Some(link), from) {
                let need = LinkRequest {
                    hops,
                    target: course,
                    ..need
                };
                self.send_control(next, need);
            }
        }
    }

    fn ends_here(&self, from: PeerId, hops: u8, need: &LinkRequest) -> bool {
        let free = self.membership.invites.len() < INVITES && self.is_stranger(from);
        let last = hops == WALK;
        match need.purpose {
            Purpose::Merge => hops >= SPREAD,
            Purpose::Direct => need.target == WalkTarget::To(self.settings.me) && free,
            Purpose::Flip => free && last && self.guest_room() > 0,
            Purpose::Links => {
                let asked = hops > PAIRING || need.target == WalkTarget::To(self.settings.me);
                free && (self.room() > 0 || (asked && need.missing > 1 && self.may_host()))
            }
        }
    }

    fn end_walk(&mut self, now: Now, link: LinkId, need: LinkRequest) {
        match need.purpose {
            Purpose::Merge => self.flip_along(now, need.id),
            Purpose::Direct if !self.may_go_direct() => self.refuse(link, need.id, need.from),
            purpose => self.invite(now, need.id, need.from, purpose, None),
        }
    }
}
