//! Which offers stay on this node and which go to which other: drawn over the whole population, as
//! if all peers were in one place. Pure.
//!
//! Drawing without putting back from an urn with a ball per peer, a colour per node, and then drawing
//! a peer on the node of that colour is the same as drawing peers, as long as the counts are right.

use rand::{Rng, RngExt};

/// A place in a list of weights.
type Colour = usize;

/// Balls by colour.
#[derive(Debug, Clone)]
pub(crate) struct Urn {
    balls: Vec<u32>,
    total: u64,
}

impl Urn {
    pub(crate) fn new(balls: impl IntoIterator<Item = u32>) -> Self {
        let balls: Vec<_> = balls.into_iter().collect();
        let total = balls.iter().map(|&count| u64::from(count)).sum();
        Self { balls, total }
    }

    /// Draws a ball and keeps it out.
    pub(crate) fn draw(&mut self, rng: &mut impl Rng) -> Option<Colour> {
        if self.total == 0 {
            return None;
        }
        let mut place = rng.random_range(0..self.total);
        for (colour, count) in self.balls.iter_mut().enumerate() {
            match place.checked_sub(u64::from(*count)) {
                Some(rest) => place = rest,
                None => {
                    *count -= 1;
                    self.total -= 1;
                    return Some(colour);
                }
            }
        }
        None
    }
}

/// Places of an announce's offers: which stay here, which leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    local: u128,
    used: usize,
}

impl Places {
    /// Draws `wanted` peers out of `here` and `elsewhere`.
    pub(crate) fn draw(here: usize, elsewhere: u64, wanted: usize, rng: &mut impl Rng) -> Self {
        let mut local = 0;
        let (mut here, mut elsewhere) = (here as u64, elsewhere);
        let mut used = 0;
        while used < wanted.min(128) && here + elsewhere > 0 {
            if rng.random_range(0..here + elsewhere) < here {
                local |= 1 << used;
                here -= 1;
            } else {
                elsewhere -= 1;
            }
            used += 1;
        }
        Self { local, used }
    }

    pub(crate) fn local(&self) -> usize {
        self.local.count_ones() as usize
    }

    pub(crate) fn is_local(&self, place: usize) -> bool {
        place < 128 && self.local & (1 << place) != 0
    }

    pub(crate) fn is_remote(&self, place: usize) -> bool {
        place < self.used && !self.is_local(place)
    }

    /// Places that have a peer, here or elsewhere.
    pub(crate) fn used(&self) -> usize {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::members::{Presence, Swarm};
    use easypeers_proto::PeerId;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn an_urn_gives_what_is_in_it() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut urn = Urn::new([2, 0, 3]);
        assert_eq!(urn.total, 5);
        let mut drawn = [0; 3];
        while let Some(colour) = urn.draw(&mut rng) {
            drawn[colour] += 1;
        }
        assert_eq!(drawn, [2, 0, 3]);
    }

    #[test]
    fn places_are_never_more_than_peers() {
        let mut rng = StdRng::seed_from_u64(2);
        for (here, elsewhere, wanted, used) in [
            (0, 0, 5, 0),
            (2, 0, 5, 2),
            (0, 3, 5, 3),
            (9, 9, 5, 5),
            (1, 1, 2, 2),
        ] {
            let places = Places::draw(here, elsewhere, wanted, &mut rng);
            assert_eq!(places.used(), used);
            assert!(places.local() <= here);
            let remote = (0..wanted).filter(|&place| places.is_remote(place)).count();
            assert!(remote as u64 <= elsewhere);
            assert_eq!(places.local() + remote, used);
        }
    }

    /// 1,000 peers, unevenly on four nodes, each node choosing among its own as it does in earnest.
    /// The 99.9999 % quantile of chi-square for 998 degrees of freedom is 1225.
    #[test]
    fn a_hundred_thousand_picks_over_four_nodes_are_fair() {
        const NODES: [u32; 4] = [700, 200, 90, 10];
        let seed: u64 = rand::random();
        let mut rng = StdRng::seed_from_u64(seed);
        let id = |number: u32| {
            let mut bytes = [0; 20];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            PeerId::new(bytes)
        };
        let mut first = 0;
        let swarms = NODES.map(|count| {
            let mut swarm = Swarm::default();
            for number in first..first + count {
                let presence = Presence {
                    complete: false,
                    just_completed: false,
                };
                swarm.announce(id(number), &number, presence, 0);
            }
            first += count;
            swarm
        });
        let (me, home) = (id(750), 1);
        let mut hits = vec![0_u32; 1000];
        let (mut picks, mut chosen) = (0, Vec::new());
        while picks < 100_000 {
            chosen.clear();
            let here = swarms[home].len() - 1;
            let others = [0, 2, 3];
            let elsewhere = others.map(|node| NODES[node]);
            let total = elsewhere.iter().map(|&count| u64::from(count)).sum();
            let places = Places::draw(here, total, 5, &mut rng);
            swarms[home].choose(&me, false, places.local(), &mut rng, &mut chosen);
            let mut urn = Urn::new(elsewhere);
            let mut batches = [0; 4];
            for _ in places.local()..places.used() {
                batches[others[urn.draw(&mut rng).unwrap()]] += 1;
            }
            for (swarm, count) in swarms.iter().zip(batches) {
                swarm.choose(&me, false, count, &mut rng, &mut chosen);
            }
            assert_eq!(chosen.len(), 5);
            picks += chosen.len();
            for (_, peer) in &chosen {
                hits[*peer as usize] += 1;
            }
        }
        assert_eq!(hits[750], 0);
        let expected = picks as f64 / 999.0;
        let squares = hits.iter().enumerate().filter(|(peer, _)| *peer != 750);
        let chi: f64 = squares
            .map(|(_, &n)| (f64::from(n) - expected).powi(2) / expected)
            .sum();
        assert!(chi < 1225.0, "seed {seed}: chi-square {chi}");
    }
}
