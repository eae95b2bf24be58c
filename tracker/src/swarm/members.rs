//! One swarm: who is in it, over which connection, and who gets an offer. Pure: generic over the
//! connection, time and randomness are handed in.
//!
//! Seeders and leechers are kept apart, each as a map with positions, so that a random choice
//! among either takes as long in a swarm of five thousand as in one of five.

use easypeers_proto::PeerId;
use indexmap::IndexMap;
use rand::{Rng, RngExt};

use crate::metrics::Role;

/// A peer and the connection it belongs to.
#[derive(Debug, Clone)]
pub(crate) struct Peer<C> {
    pub(crate) connection: C,
    pub(crate) announced_ms: u64,
}

/// See the module. A peer id is in at most one of the two maps.
#[derive(Debug)]
pub(crate) struct Swarm<C> {
    complete: IndexMap<PeerId, Peer<C>>,
    incomplete: IndexMap<PeerId, Peer<C>>,
    downloaded: u32,
}

impl<C> Default for Swarm<C> {
    fn default() -> Self {
        Self {
            complete: IndexMap::new(),
            incomplete: IndexMap::new(),
            downloaded: 0,
        }
    }
}

/// What an announce says about its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) complete: bool,
    /// `event: completed`.
    pub(crate) just_completed: bool,
}

/// How an announce changed the swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// The role before, if the peer was there.
    pub(crate) from: Option<Role>,
    pub(crate) to: Role,
}

impl<C: Clone + PartialEq> Swarm<C> {
    pub(crate) fn is_empty(&self) -> bool {
        self.complete.is_empty() && self.incomplete.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.complete.len() + self.incomplete.len()
    }

    /// Peers that have everything, and the others.
    pub(crate) fn counts(&self) -> (u32, u32) {
        (self.complete.len() as u32, self.incomplete.len() as u32)
    }

    pub(crate) fn downloaded(&self) -> u32 {
        self.downloaded
    }

    /// The connection that a peer id belongs to.
    pub(crate) fn owner(&self, peer_id: &PeerId) -> Option<&C> {
        let peer = self
            .incomplete
            .get(peer_id)
            .or_else(|| self.complete.get(peer_id));
        peer.map(|peer| &peer.connection)
    }

    /// Adds or refreshes a peer. Who may do that is decided before, by [`owner`](Self::owner).
    pub(crate) fn announce(
        &mut self,
        peer_id: PeerId,
        connection: &C,
        presence: Presence,
        now_ms: u64,
    ) -> Change {
        let complete = presence.complete || presence.just_completed;
        let (to, map, other) = if complete {
            (Role::Complete, &mut self.complete, &mut self.incomplete)
        } else {
            (Role::Incomplete, &mut self.incomplete, &mut self.complete)
        };
        let was_other = other.swap_remove(&peer_id).is_some();
        let from = if let Some(peer) = map.get_mut(&peer_id) {
            peer.announced_ms = now_ms;
            if peer.connection != *connection {
                peer.connection = connection.clone();
            }
            Some(to)
        } else {
            let peer = Peer {
                connection: connection.clone(),
                announced_ms: now_ms,
            };
            map.insert(peer_id, peer);
            was_other.then_some(match to {
                Role::Complete => Role::Incomplete,
                Role::Incomplete => Role::Complete,
            })
        };
        if presence.just_completed && from != Some(Role::Complete) {
            self.downloaded = self.downloaded.saturating_add(1);
        }
        Change { from, to }
    }

    /// Removes a peer, if it belongs to `connection`. Returns its role.
    pub(crate) fn remove(&mut self, peer_id: &PeerId, connection: &C) -> Option<Role> {
        if self.owner(peer_id)? != connection {
            return None;
        }
        let removed = if self.incomplete.swap_remove(peer_id).is_some() {
            Role::Incomplete
        } else {
            self.complete.swap_remove(peer_id)?;
            Role::Complete
        };
        self.shrink();
        Some(removed)
    }

    /// Removes the peers that `dead` says are; returns how many of each role.
    pub(crate) fn expire(&mut self, dead: impl Fn(&Peer<C>) -> bool) -> (usize, usize) {
        let before = self.counts();
        self.complete.retain(|_, peer| !dead(peer));
        self.incomplete.retain(|_, peer| !dead(peer));
        let after = self.counts();
        if before != after {
            self.shrink();
        }
        ((before.0 - after.0) as usize, (before.1 - after.1) as usize)
    }

    /// A crowd that left gives its memory back.
    fn shrink(&mut self) {
        for map in [&mut self.complete, &mut self.incomplete] {
            if map.capacity() > 32 && map.len() < map.capacity() / 4 {
                map.shrink_to(map.len() * 2);
            }
        }
    }

    /// How many peers [`choose`](Self::choose) has to choose from.
    pub(crate) fn eligible(&self, except: &PeerId, incomplete_only: bool) -> usize {
        let among =
            |map: &IndexMap<PeerId, Peer<C>>| map.len() - usize::from(map.contains_key(except));
        match incomplete_only {
            true => among(&self.incomplete),
            false => among(&self.incomplete) + among(&self.complete),
        }
    }

    /// Puts up to `count` distinct random peers other than `except` into `chosen`, every one of
    /// them equally likely at every place. With `incomplete_only`, seeders are passed over. Takes
    /// time in the order of `count`, whatever the size of the swarm.
    pub(crate) fn choose(
        &self,
        except: &PeerId,
        incomplete_only: bool,
        count: usize,
        rng: &mut impl Rng,
        chosen: &mut Vec<(PeerId, C)>,
    ) {
        let first = self.incomplete.len();
        let total = if incomplete_only { first } else { self.len() };
        let except = match self.incomplete.get_index_of(except) {
            Some(index) => Some(index),
            None if incomplete_only => None,
            None => self
                .complete
                .get_index_of(except)
                .map(|index| first + index),
        };
        let others = total - usize::from(except.is_some());
        let count = count.min(others);
        let start = chosen.len();
        let mut places = [0_usize; MAX_CHOICE];
        let places = &mut places[..count.min(MAX_CHOICE)];
        // Floyd's sampling: `count` distinct numbers below `others`.
        for (taken, top) in (others - places.len()..others).enumerate() {
            let place = rng.random_range(0..=top);
            let fresh = !places[..taken].contains(&place);
            places[taken] = if fresh { place } else { top };
        }
        for &place in &*places {
            let place = place + usize::from(except.is_some_and(|except| place >= except));
            let entry = match place.checked_sub(first) {
                None => self.incomplete.get_index(place),
                Some(place) => self.complete.get_index(place),
            };
            if let Some((peer_id, peer)) = entry {
                chosen.push((*peer_id, peer.connection.clone()));
            }
        }
        // Floyd's numbers are a fair set in an unfair order.
        let chosen = &mut chosen[start..];
        for index in (1..chosen.len()).rev() {
            chosen.swap(index, rng.random_range(0..=index));
        }
    }
}

/// Most peers chosen at once.
pub(crate) const MAX_CHOICE: usize = easypeers_proto::limits::MAX_OFFERS;

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn id(number: usize) -> PeerId {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&(number as u64).to_le_bytes());
        PeerId::new(bytes)
    }

    const LEECH: Presence = Presence {
        complete: false,
        just_completed: false,
    };
    const SEED: Presence = Presence {
        complete: true,
        just_completed: false,
    };

    fn swarm(leechers: usize, seeders: usize) -> Swarm<usize> {
        let mut swarm = Swarm::default();
        for number in 0..leechers + seeders {
            let presence = if number < leechers { LEECH } else { SEED };
            swarm.announce(id(number), &number, presence, 0);
        }
        swarm
    }

    fn choose(
        swarm: &Swarm<usize>,
        me: usize,
        only: bool,
        n: usize,
        rng: &mut StdRng,
    ) -> Vec<usize> {
        let mut chosen = Vec::new();
        swarm.choose(&id(me), only, n, rng, &mut chosen);
        chosen
            .into_iter()
            .map(|(_, connection)| connection)
            .collect()
    }

    #[test]
    fn choices_are_distinct_and_never_the_sender() {
        let mut rng = StdRng::seed_from_u64(1);
        for (leechers, seeders) in [(0, 1), (1, 0), (1, 1), (2, 0), (3, 4), (30, 5), (5, 300)] {
            let swarm = swarm(leechers, seeders);
            for _ in 0..200 {
                let me = rng.random_range(0..leechers + seeders + 1);
                let is_member = me < leechers + seeders;
                let chosen = choose(&swarm, me, false, 10, &mut rng);
                let mut sorted = chosen.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), chosen.len());
                assert!(!chosen.contains(&me));
                assert_eq!(
                    chosen.len(),
                    (leechers + seeders - usize::from(is_member)).min(10)
                );
                let chosen = choose(&swarm, me, true, 10, &mut rng);
                assert!(chosen.iter().all(|&peer| peer < leechers && peer != me));
                assert_eq!(
                    chosen.len(),
                    (leechers - usize::from(me < leechers)).min(10)
                );
            }
        }
    }

    /// Chi-square of how often each of 49 others was chosen at each of 5 places; the 99.9 %
    /// quantile for 48 degrees of freedom is 84.
    #[test]
    fn every_other_peer_is_equally_likely_at_every_place() {
        let seed = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        let swarm = swarm(30, 20);
        let mut hits = [[0_u32; 50]; 5];
        let rounds = 100_000;
        for _ in 0..rounds {
            for (place, peer) in choose(&swarm, 7, false, 5, &mut rng)
                .into_iter()
                .enumerate()
            {
                hits[place][peer] += 1;
            }
        }
        for hits in hits {
            assert_eq!(hits[7], 0);
            let expected = f64::from(rounds) / 49.0;
            let square = |(peer, &n): (usize, &u32)| {
                if peer == 7 {
                    0.0
                } else {
                    (f64::from(n) - expected).powi(2) / expected
                }
            };
            let chi: f64 = hits.iter().enumerate().map(square).sum();
            // 5 places, so that a fair die fails one run in 10^6: quantile at 2e-7.
            assert!(chi < 115.0, "seed {seed}: chi-square {chi}");
        }
    }

    #[test]
    fn roles_change_and_counts_follow() {
        let mut swarm = Swarm::default();
        let change = swarm.announce(id(1), &1, LEECH, 0);
        assert_eq!(
            change,
            Change {
                from: None,
                to: Role::Incomplete
            }
        );
        let done = Presence {
            complete: false,
            just_completed: true,
        };
        let change = swarm.announce(id(1), &1, done, 1);
        assert_eq!(
            change,
            Change {
                from: Some(Role::Incomplete),
                to: Role::Complete
            }
        );
        assert_eq!((swarm.counts(), swarm.downloaded()), ((1, 0), 1));
        swarm.announce(id(1), &1, done, 2);
        assert_eq!(swarm.downloaded(), 1);
        let change = swarm.announce(id(1), &1, LEECH, 3);
        assert_eq!(
            change,
            Change {
                from: Some(Role::Complete),
                to: Role::Incomplete
            }
        );
        assert_eq!(swarm.counts(), (0, 1));
    }

    #[test]
    fn only_the_owner_removes_a_peer() {
        let mut swarm = swarm(2, 0);
        assert_eq!(swarm.remove(&id(0), &1), None);
        assert_eq!(swarm.remove(&id(9), &1), None);
        assert_eq!(swarm.remove(&id(0), &0), Some(Role::Incomplete));
        assert_eq!(swarm.counts(), (0, 1));
    }

    #[test]
    fn silent_peers_expire() {
        let mut swarm = swarm(3, 3);
        swarm.announce(id(1), &1, LEECH, 50);
        assert_eq!(swarm.expire(|peer| peer.announced_ms < 10), (3, 2));
        assert_eq!(swarm.owner(&id(1)), Some(&1));
        assert_eq!(swarm.len(), 1);
    }

    #[test]
    fn a_crowd_that_left_gives_its_memory_back() {
        let mut swarm = swarm(5_000, 0);
        for number in 1..5_000 {
            swarm.remove(&id(number), &number);
        }
        assert!(swarm.incomplete.capacity() < 100);
    }
}
