//! All peers of a run, living and dead, and random choices among the living.

use std::ops::{Index, IndexMut};

use easypeers_proto::PeerId;
use easypeers_proto::crypto::PublicKeys;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::index::index;
use crate::node::Node;
use crate::time::Time;

/// A peer, living or dead.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) keys: PublicKeys,
    /// `None` during the peer's turn and after its death.
    pub(crate) node: Option<Box<Node>>,
    pub(crate) born: Time,
    pub(crate) alive: bool,
    /// The peer relays nothing for others.
    pub(crate) dropper: bool,
    /// Its timers fire on the next multiple of this span. 0 for timers that fire on time.
    pub(crate) timer_grid: Time,
    /// Links that its mesh counts.
    pub(crate) degree: u32,
    /// Since when it has fewer than two links.
    pub(crate) low_since: Option<Time>,
    pub(crate) first_link: Option<Time>,
    /// When it first had two links.
    pub(crate) second_link: Option<Time>,
    /// Its place among the living.
    live_at: usize,
}

impl Peer {
    /// A new peer without a node.
    pub(crate) const fn new(keys: PublicKeys, id: PeerId, born: Time, timer_grid: Time) -> Self {
        Self {
            id,
            keys,
            node: None,
            born,
            alive: true,
            dropper: false,
            timer_grid,
            degree: 0,
            low_since: Some(born),
            first_link: None,
            second_link: None,
            live_at: 0,
        }
    }

    /// The number of links is this now.
    pub(crate) fn note_degree(&mut self, degree: u32, now: Time) {
        self.degree = degree;
        self.low_since = (degree < 2).then(|| self.low_since.unwrap_or(now));
        if degree >= 1 {
            self.first_link.get_or_insert(now);
        }
        if degree >= 2 {
            self.second_link.get_or_insert(now);
        }
    }

    /// A time as the timers of this peer keep it.
    pub(crate) fn fires_at(&self, due: Time) -> Time {
        if self.timer_grid > 0 {
            let fires = due.checked_next_multiple_of(self.timer_grid);
            fires.unwrap_or(Time::MAX)
        } else {
            due
        }
    }
}

/// All peers of a run, by number.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    all: Vec<Peer>,
    live: Vec<u32>,
}

impl Index<u32> for Peers {
    type Output = Peer;

    fn index(&self, p: u32) -> &Peer {
        &self.all[p as usize]
    }
}

impl IndexMut<u32> for Peers {
    fn index_mut(&mut self, p: u32) -> &mut Peer {
        &mut self.all[p as usize]
    }
}

impl Peers {
    /// Returns the new peer's number.
    pub(crate) fn add(&mut self, mut peer: Peer) -> u32 {
        let p = index(self.all.len());
        peer.live_at = self.live.len();
        self.all.push(peer);
        self.live.push(p);
        p
    }

    /// A peer dies. Returns what was its node, or `None` if it was dead.
    pub(crate) fn remove(&mut self, p: u32) -> Option<Box<Node>> {
        let peer = &mut self[p];
        let node = peer.node.take()?;
        peer.alive = false;
        peer.degree = 0;
        let at = peer.live_at;
        self.live.swap_remove(at);
        if let Some(moved) = self.live.get(at) {
            self.all[*moved as usize].live_at = at;
        }
        Some(node)
    }

    pub(crate) fn get(&self, p: u32) -> Option<&Peer> {
        self.all.get(p as usize)
    }

    /// The living peers, in no particular order.
    pub(crate) fn live(&self) -> &[u32] {
        &self.live
    }

    /// A peer's place in [`Peers::live`], while it lives.
    pub(crate) fn live_at(&self, p: u32) -> Option<usize> {
        let peer = &self[p];
        peer.alive.then_some(peer.live_at)
    }

    /// A random living peer.
    pub(crate) fn random(&self, rng: &mut StdRng) -> Option<u32> {
        let count = self.live.len();
        (count > 0).then(|| self.live[rng.random_range(0..count)])
    }

    /// A random living peer that has a link.
    pub(crate) fn random_member(&self, rng: &mut StdRng) -> Option<u32> {
        // So many tries find one unless nearly all peers are alone.
        (0..100).find_map(|_| {
            let at = rng.random_range(0..self.live.len().max(1));
            let p = *self.live.get(at)?;
            (self[p].degree > 0).then_some(p)
        })
    }

    /// A random part of the living peers.
    pub(crate) fn random_part(&self, share: f64, rng: &mut StdRng) -> Vec<u32> {
        let count = (self.live.len() as f64 * share).round() as usize;
        let mut all = self.live.clone();
        let (some, _) = all.partial_shuffle(rng, count);
        some.to_vec()
    }

    /// Drops the nodes of all living peers and returns how many bytes their cores took.
    pub(crate) fn weigh(&mut self, heap: fn() -> usize) -> usize {
        let nodes = self.all.iter_mut().filter_map(|peer| peer.node.take());
        nodes.map(|node| node.weigh(heap)).sum()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn random_members_have_a_link_and_a_part_has_its_size() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut peers = Peers::default();
        assert_eq!(peers.random(&mut rng), None);
        assert_eq!(peers.random_member(&mut rng), None);
        for number in 0..10 {
            let keys = PublicKeys::new([number; 64]);
            peers.add(Peer::new(keys, keys.address(), 0, 0));
        }
        peers[7].note_degree(1, 3);
        assert_eq!(peers.random_member(&mut rng), Some(7));
        assert_eq!(peers.random_part(0.4, &mut rng).len(), 4);
        assert_eq!(peers.live_at(7), Some(7));
    }

    #[test]
    fn a_peer_remembers_its_first_links_and_how_long_it_has_too_few() {
        let keys = PublicKeys::new([1; 64]);
        let mut peer = Peer::new(keys, keys.address(), 10, 60);
        for (degree, now) in [(1, 20), (2, 30), (1, 40), (0, 50)] {
            peer.note_degree(degree, now);
        }
        assert_eq!((peer.first_link, peer.second_link), (Some(20), Some(30)));
        assert_eq!(peer.low_since, Some(40));
        assert_eq!([61, 120].map(|due| peer.fires_at(due)), [120, 120]);
    }
}
