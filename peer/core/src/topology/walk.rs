//! Walks: LINK_REQUEST travels through the mesh until it finds a member. Each member on its way
//! remembers where it came from first, and what is found is sent back that way, never in a circle.
//!
//! A member below its target is found by another one below its target within [`PAIRING`] links, and
//! beyond that by any member that can host a guest. A walk for a flip ends wherever its last link leads.

use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::wire::frame::WalkTarget;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::Context;
use super::exchange::Exchanges;
use crate::message::LinkId;
use crate::time::Now;

/// Links of a walk on which only members below their target invite.
pub(super) const PAIRING: u8 = 6;

/// Links of a walk in all: enough to reach any part of a mesh of a million members.
pub(super) const WALK: u8 = 16;

/// Links of the walk to a member that starts a flip for a merge.
pub(super) const SPREAD: u8 = 8;

/// Walks that we have under way at once.
pub(super) const REQUESTS: usize = 3;

/// Invitations under way at once.
pub(super) const INVITATIONS: usize = 8;

/// First and longest pause after walks that brought nothing.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// The pause from which on a member that we have heard of is asked, because random walks find nobody.
const FRUITLESS: Duration = Duration::from_secs(4);

/// After a link came up, this long for its host to bring another one.
const SPLITTING: Duration = Duration::from_secs(2);

/// When our next walk starts.
#[derive(Debug)]
pub(super) struct Search {
    next: Now,
    pause: Duration,
}

impl Search {
    pub(super) const fn new() -> Self {
        Self {
            next: Now::ZERO,
            pause: PAUSE.0,
        }
    }

    pub(super) const fn next(&self) -> Now {
        self.next
    }

    /// Whether random walks have found nobody for a while.
    pub(super) fn is_fruitless(&self) -> bool {
        self.pause >= FRUITLESS
    }

    /// A walk brought nothing. The pause before the next one grows each time.
    pub(super) fn back_off(&mut self, now: Now, rng: &mut StdRng) {
        let part = rng.random_range(0.75..=1.0);
        self.next = now + self.pause.mul_f64(part);
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// A link was lost: look at once.
    pub(super) fn hurry(&mut self, now: Now) {
        self.pause = PAUSE.0;
        self.next = self.next.min(now);
    }

    /// A link came up: its host may bring another one.
    pub(super) fn wait_for_host(&mut self, now: Now) {
        self.pause = PAUSE.0;
        self.next = now + SPLITTING;
    }
}

/// Where a walk goes next. Never back, unless there is no other way.
pub(super) fn next_hop(
    now: Now,
    cx: &mut Context<'_>,
    exchanges: &Exchanges,
    target: WalkTarget,
    from: Option<LinkId>,
    walker: PeerId,
) -> Option<LinkId> {
    let directed = match target {
        WalkTarget::Random => None,
        WalkTarget::To(peer) => cx.routes.way(now, cx.neighbors, peer, from),
        WalkTarget::Along(walk) => exchanges
            .seeker(walk)
            .filter(|link| Some(*link) != from && cx.neighbors.is_up(*link)),
    };
    let others: Vec<LinkId> = (cx.neighbors.mesh_links())
        .filter(|(id, link)| Some(*id) != from && link.peer != walker)
        .map(|(id, _)| id)
        .collect();
    directed.or_else(|| others.choose(cx.rng).copied()).or(from)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn pauses_grow_until_a_link_is_lost() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut search = Search::new();
        let mut pauses = Vec::new();
        let mut now = Now::ZERO;
        for _ in 0..8 {
            search.back_off(now, &mut rng);
            pauses.push((search.next() - now).as_secs_f64());
            now = search.next();
        }
        assert!(pauses.windows(2).take(5).all(|two| two[0] < two[1]));
        assert!(pauses[7] > 45.0 && pauses[7] <= 60.0, "{pauses:?}");
        assert!(search.is_fruitless());
        search.back_off(now, &mut rng);
        search.hurry(now);
        assert_eq!(search.next(), now);
        assert!(!search.is_fruitless());
    }
}
