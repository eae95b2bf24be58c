//! Shuffles: a member exchanges a few addresses with a random one now and then, and has heard of members
//! that are not its neighbours (the passive view of HyParView: Leitão, Pereira and Rodrigues, DSN 2007).
//!
//! These are hints. A member whose walks find nobody asks one of them, and being named proves nothing. An
//! invented address costs one walk.

use std::time::Duration;

use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, IteratorRandom};

use crate::neighbors::Neighbors;
use crate::time::Now;

/// Members remembered.
const REMEMBERED: usize = 48;

/// Members named in one shuffle: neighbours, and others.
const NAMED: (usize, usize) = (3, 5);

/// Links that a shuffle travels along.
pub(super) const SHUFFLE_HOPS: u8 = 6;

/// Between two shuffles that we start, on average.
const INTERVAL: Duration = Duration::from_secs(120);

/// Members that we have heard of, and when we ask for more.
#[derive(Debug, Default)]
pub(super) struct PassiveView {
    peers: Vec<PeerId>,
    next: Option<Now>,
    /// Our shuffle that may be answered.
    sent: Option<MessageId>,
}

impl PassiveView {
    /// When the next shuffle is due.
    pub(super) fn due(&self) -> Now {
        self.next.unwrap_or(Now::ZERO)
    }

    /// Plans the next shuffle if one is due. Whether to start one now: not the first time.
    pub(super) fn is_time(&mut self, now: Now, rng: &mut StdRng) -> bool {
        let due = self.next;
        if due.is_some_and(|due| due > now) {
            return false;
        }
        let part = rng.random_range(0.5..1.5);
        self.next = Some(now + INTERVAL.mul_f64(part));
        due.is_some()
    }

    /// Our shuffle starts.
    pub(super) fn start(&mut self, id: MessageId) {
        self.sent = Some(id);
    }

    /// Whether this is the answer to our last shuffle. It is taken once.
    pub(super) fn take_answer(&mut self, id: MessageId) -> bool {
        let ours = self.sent == Some(id);
        if ours {
            self.sent = None;
        }
        ours
    }

    /// Any of the members.
    pub(super) fn any(&self, rng: &mut StdRng) -> Option<PeerId> {
        self.peers.choose(rng).copied()
    }

    /// Some neighbours and some members that we have heard of.
    pub(super) fn sample(&self, neighbors: &Neighbors, rng: &mut StdRng) -> Vec<PeerId> {
        let active: Vec<PeerId> = neighbors.mesh_links().map(|(_, link)| link.peer).collect();
        let mut peers = active.into_iter().sample(rng, NAMED.0);
        let others = self.peers.iter().copied();
        peers.extend(others.sample(rng, NAMED.1));
        peers
    }

    /// Remembers members that were named. When there is no room, they replace random ones.
    pub(super) fn remember(
        &mut self,
        me: PeerId,
        rng: &mut StdRng,
        peers: impl IntoIterator<Item = PeerId>,
    ) {
        for peer in peers {
            if peer == me || self.peers.contains(&peer) {
                continue;
            }
            if self.peers.len() < REMEMBERED {
                self.peers.push(peer);
            } else {
                let at = rng.random_range(0..REMEMBERED);
                self.peers[at] = peer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn as_many_members_are_remembered_as_there_is_room_for() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut view = PassiveView::default();
        let me = PeerId::new([0; 20]);
        let peers = (0..=255u8).map(|at| PeerId::new([at; 20]));
        view.remember(me, &mut rng, peers);
        assert_eq!(view.peers.len(), REMEMBERED);
        assert!(!view.peers.contains(&me));
    }

    #[test]
    fn an_answer_is_taken_once() {
        let mut view = PassiveView::default();
        let id = MessageId::new([1; 20]);
        assert!(!view.take_answer(id));
        view.start(id);
        assert!(view.take_answer(id) && !view.take_answer(id));
    }
}
