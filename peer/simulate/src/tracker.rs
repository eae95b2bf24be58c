//! The tracker. It hands the i-th offer of an announce to the i-th of some distinct random members,
//! as the tracker of this project does.
//!
//! In: announces, peers that leave, whether the tracker runs. Out: which member gets which offer.

use std::collections::HashMap;

use rand::RngExt;
use rand::rngs::StdRng;
use slab::Slab;

use crate::index::index;

/// Offers of one announce that are handed on.
const MAX_OFFERS: usize = 10;

/// An offer that the tracker hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handout {
    pub(crate) offer: u32,
    pub(crate) to: u32,
}

/// The one tracker of a run.
#[derive(Debug)]
pub(crate) struct Tracker {
    up: bool,
    members: Vec<u32>,
    /// The place of each member in `members`.
    places: HashMap<u32, usize>,
    /// The offers of announces that have not reached the tracker yet.
    under_way: Slab<Vec<u32>>,
}

impl Tracker {
    pub(crate) fn new() -> Self {
        Self {
            up: true,
            members: Vec::new(),
            places: HashMap::new(),
            under_way: Slab::new(),
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        self.up
    }

    /// Members of the swarm.
    pub(crate) const fn size(&self) -> usize {
        self.members.len()
    }

    /// A peer sends an announce with these offers. Returns the announce's number.
    pub(crate) fn send(&mut self, offers: Vec<u32>) -> u32 {
        index(self.under_way.insert(offers))
    }

    /// An announce reaches the tracker. Returns nothing if the tracker is down or the peer is dead.
    /// `reaches` says whether a partition lets the peer talk to a member.
    pub(crate) fn receive(
        &mut self,
        announce: u32,
        peer: u32,
        alive: bool,
        reaches: impl Fn(u32) -> bool,
        rng: &mut StdRng,
    ) -> Option<Vec<Handout>> {
        let offers = self.under_way.try_remove(announce as usize);
        let offers = offers.unwrap_or_default();
        if !self.up || !alive {
            return None;
        }
        let members = &mut self.members;
        self.places.entry(peer).or_insert_with(|| {
            members.push(peer);
            members.len() - 1
        });
        let receivers = self.receivers(peer, offers.len().min(MAX_OFFERS), reaches, rng);
        let handouts = offers.into_iter().zip(receivers);
        Some(handouts.map(|(offer, to)| Handout { offer, to }).collect())
    }

    /// Distinct random members in reach, without the peer itself.
    fn receivers(
        &self,
        peer: u32,
        count: usize,
        reaches: impl Fn(u32) -> bool,
        rng: &mut StdRng,
    ) -> Vec<u32> {
        let mut chosen = Vec::with_capacity(count);
        // So many tries find enough members unless the swarm is split very unevenly.
        for _ in 0..count * 8 {
            if chosen.len() == count {
                break;
            }
            let other = self.members[rng.random_range(0..self.members.len())];
            if other != peer && !chosen.contains(&other) && reaches(other) {
                chosen.push(other);
            }
        }
        chosen
    }

    /// A peer's connection to the tracker is gone.
    pub(crate) fn leave(&mut self, peer: u32) {
        if let Some(at) = self.places.remove(&peer) {
            self.members.swap_remove(at);
            if let Some(moved) = self.members.get(at) {
                self.places.insert(*moved, at);
            }
        }
    }

    /// The tracker stops and forgets its members, or starts again.
    pub(crate) fn set_up(&mut self, up: bool) {
        self.up = up;
        if !up {
            self.members.clear();
            self.places.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn announce(tracker: &mut Tracker, peer: u32, offers: Vec<u32>) -> Option<Vec<Handout>> {
        let mut rng = StdRng::seed_from_u64(u64::from(peer));
        let number = tracker.send(offers);
        tracker.receive(number, peer, true, |to| to != 13, &mut rng)
    }

    #[test]
    fn offers_reach_distinct_members_other_than_the_sender() {
        let mut tracker = Tracker::new();
        for peer in 0..50 {
            assert!(announce(&mut tracker, peer, Vec::new()).is_some());
        }
        for peer in 0..50 {
            let handouts = announce(&mut tracker, peer, (100..120).collect()).unwrap();
            assert_eq!(handouts.len(), MAX_OFFERS);
            for (at, Handout { offer, to }) in handouts.iter().enumerate() {
                assert_eq!(*offer, 100 + at as u32);
                assert!(*to != peer && *to != 13);
                assert!(handouts[..at].iter().all(|other| other.to != *to));
            }
        }
        assert_eq!(tracker.size(), 50);
    }

    #[test]
    fn peers_leave_and_a_stopped_tracker_forgets_them() {
        let mut tracker = Tracker::new();
        for peer in 0..3 {
            announce(&mut tracker, peer, Vec::new());
        }
        tracker.leave(0);
        tracker.leave(0);
        let to_one = vec![Handout { offer: 7, to: 1 }];
        assert_eq!(announce(&mut tracker, 2, vec![7]), Some(to_one));
        tracker.leave(1);
        assert_eq!(announce(&mut tracker, 2, vec![7]), Some(Vec::new()));
        tracker.set_up(false);
        assert_eq!(
            (tracker.size(), announce(&mut tracker, 2, vec![7])),
            (0, None)
        );
    }

    #[test]
    fn the_announce_of_a_dead_peer_is_ignored() {
        let mut tracker = Tracker::new();
        let mut rng = StdRng::seed_from_u64(1);
        let number = tracker.send(vec![1]);
        let handouts = tracker.receive(number, 5, false, |_| true, &mut rng);
        assert_eq!((handouts, tracker.size()), (None, 0));
    }
}
