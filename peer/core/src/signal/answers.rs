//! Answers to offers of other peers: how often one peer and all peers are answered, and how long a
//! peer that failed is not answered.
//!
//! Each map is bounded, because other peers choose the ids in it.

use std::collections::VecDeque;
use std::time::Duration;

use easypeers_proto::{OfferId, PeerId};

use super::{OFFER_AGE, Via};
use crate::expiring_map::ExpiringMap;
use crate::time::Now;

/// Answers a minute to offers that arrive through trackers, to all peers together.
const ANSWERS: usize = 10;

/// Answers a minute to one peer.
const ANSWERS_TO_ONE: usize = 4;

const MINUTE: Duration = Duration::from_secs(60);

/// How long a peer is not answered after its first, its second and each further failure.
const SHUNNED: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// How many peers' failures are remembered.
const FAILURES: u32 = 1024;

/// How long they are remembered.
const FAILURE_AGE: Duration = Duration::from_secs(600);

/// How many answered offers are remembered. An offer that arrives twice is answered once. One that was
/// not answered may be answered the next time.
const ANSWERED_OFFERS: u32 = 1024;

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: usize,
    shunned_until: Now,
}

#[derive(Debug)]
pub(super) struct Answers {
    /// Answers of the last minute, oldest first. At most [`ANSWERS`].
    recent: VecDeque<(Now, PeerId)>,
    answered_offers: ExpiringMap<(PeerId, OfferId), ()>,
    failures: ExpiringMap<PeerId, Failures>,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            recent: VecDeque::new(),
            answered_offers: ExpiringMap::new(ANSWERED_OFFERS, OFFER_AGE + MINUTE),
            failures: ExpiringMap::new(FAILURES, FAILURE_AGE),
        }
    }
}

impl Answers {
    /// Whether this offer may be answered.
    pub(super) fn allow(&mut self, now: Now, via: Via, peer: PeerId, offer_id: OfferId) -> bool {
        while let Some((at, _)) = self.recent.front()
            && now.saturating_sub(*at) >= MINUTE
        {
            self.recent.pop_front();
        }
        let is_answered = self.answered_offers.contains(&(peer, offer_id));
        !is_answered && !self.is_shunned(now, peer) && self.rate_allows(via, peer)
    }

    fn is_shunned(&self, now: Now, peer: PeerId) -> bool {
        let failures = self.failures.get(&peer);
        failures.is_some_and(|failures| now < failures.shunned_until)
    }

    fn rate_allows(&self, via: Via, peer: PeerId) -> bool {
        match via {
            // Only members can send these, and the mesh has asked for them.
            Via::Mesh => true,
            Via::Tracker(_) => {
                let to_peer = self.recent.iter().filter(|(_, other)| *other == peer);
                self.recent.len() < ANSWERS && to_peer.count() < ANSWERS_TO_ONE
            }
        }
    }

    /// An offer is being answered.
    pub(super) fn note_answered(&mut self, now: Now, via: Via, peer: PeerId, offer_id: OfferId) {
        self.answered_offers.insert(now, (peer, offer_id), ());
        if matches!(via, Via::Tracker(_)) {
            self.recent.push_back((now, peer));
        }
    }

    /// An attempt with this peer failed.
    pub(super) fn note_failure(&mut self, now: Now, peer: PeerId) {
        let failures = self.failures.get(&peer);
        let count = failures.map_or(0, |failures| failures.count);
        let failures = Failures {
            count: count + 1,
            shunned_until: now + SHUNNED[count.min(SHUNNED.len() - 1)],
        };
        self.failures.insert(now, peer, failures);
    }

    /// A link with this peer is up: its failures are forgiven.
    pub(super) fn note_success(&mut self, now: Now, peer: PeerId) {
        if let Some(failures) = self.failures.get_mut(&peer) {
            failures.count = 0;
            failures.shunned_until = now;
        }
    }

    /// Frees the memory of what is too old to matter.
    pub(super) fn expire(&mut self, now: Now) {
        self.answered_offers.expire(now);
        self.failures.expire(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::TrackerId;

    const TRACKER: Via = Via::Tracker(TrackerId::new(0));

    const fn peer(number: u8) -> PeerId {
        PeerId::new([number; 20])
    }

    const fn offer(number: u8) -> OfferId {
        OfferId::new([number; 20])
    }

    fn answer(answers: &mut Answers, now: Now, via: Via, by: u8, number: u8) -> bool {
        let allowed = answers.allow(now, via, peer(by), offer(number));
        if allowed {
            answers.note_answered(now, via, peer(by), offer(number));
        }
        allowed
    }

    #[test]
    fn answers_through_trackers_have_a_rate_and_those_over_the_mesh_have_none() {
        let mut answers = Answers::default();
        let now = Now::ZERO;
        let to_one = (0..20).filter(|n| answer(&mut answers, now, TRACKER, 1, *n));
        assert_eq!(to_one.count(), ANSWERS_TO_ONE);
        let to_others = (30..50).filter(|n| answer(&mut answers, now, TRACKER, *n, *n));
        assert_eq!(to_others.count(), ANSWERS - ANSWERS_TO_ONE);
        let mesh = (50..70).filter(|n| answer(&mut answers, now, Via::Mesh, 1, *n));
        assert_eq!(mesh.count(), 20);
        assert!(answer(&mut answers, MINUTE, TRACKER, 1, 80));
    }

    #[test]
    fn an_offer_is_answered_once() {
        let mut answers = Answers::default();
        assert!(answer(&mut answers, Now::ZERO, Via::Mesh, 1, 1));
        assert!(!answer(&mut answers, Now::ZERO, Via::Mesh, 1, 1));
        assert!(
            answer(&mut answers, Now::ZERO, Via::Mesh, 2, 1),
            "of another peer"
        );
    }

    #[test]
    fn a_peer_is_shunned_longer_with_each_failure_until_a_link_is_up() {
        let mut answers = Answers::default();
        let mut now = Now::ZERO;
        for shunned in [SHUNNED[0], SHUNNED[1], SHUNNED[2], SHUNNED[2]] {
            answers.note_failure(now, peer(1));
            let end = now + shunned;
            assert!(answers.is_shunned(end - Duration::from_nanos(1), peer(1)));
            assert!(!answers.is_shunned(end, peer(1)));
            now = end;
        }
        answers.note_success(now, peer(1));
        answers.note_failure(now, peer(1));
        assert!(!answers.is_shunned(now + SHUNNED[0], peer(1)));
    }
}
