//! How many offers an announce is worth. Browsers allow few connections in a page's life, so nothing
//! is offered that nobody can need.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::mesh::Now;
use crate::tracker::TrackerId;

/// Offers a minute that the full members of a swarm make together: where two meshes of one topic use
/// one tracker, each finds the other within seconds, however large they are.
const PROBES: f64 = 8.0;

/// In a small swarm, one member does not make them more often than this.
const PROBE_SPACING: Duration = Duration::from_secs(600);

/// Time for which one announce may make up.
const PROBE_SPAN: Duration = Duration::from_secs(120);

/// A member that misses a single link looks for it in the mesh; trackers are asked so often.
const LAST_LINK: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Economy {
    /// Peers in the swarm, as each tracker counts them.
    sizes: BTreeMap<TrackerId, usize>,
    probed: Option<Now>,
    last_link: Option<Now>,
}

impl Economy {
    pub(super) fn note_size(&mut self, tracker: TrackerId, size: usize) {
        self.sizes.insert(tracker, size);
    }

    /// Offers worth making, for so many missing links beside those that there are.
    pub(super) fn offers(
        &mut self,
        now: Now,
        want: usize,
        links: usize,
        rng: &mut StdRng,
    ) -> usize {
        let size = self.sizes.values().max().copied();
        // Who is a neighbour already needs no offer.
        let others = size.map_or(usize::MAX, |size| size.saturating_sub(1 + links));
        match want.min(others) {
            0 if others > 0 => usize::from(size.is_some_and(|size| self.probes(now, size, rng))),
            1 if links > 1 => {
                let due = self.last_link.is_none_or(|last| now >= last + LAST_LINK);
                if due {
                    self.last_link = Some(now);
                }
                due.into()
            }
            want => want,
        }
    }

    fn probes(&mut self, now: Now, size: usize, rng: &mut StdRng) -> bool {
        let last = self.probed.replace(now);
        let Some(last) = last else {
            return false;
        };
        let passed = now.saturating_sub(last).min(PROBE_SPAN).as_secs_f64();
        let minutes = passed / 60.0;
        let share = PROBES * minutes / size.max(1) as f64;
        rng.random::<f64>() < share.min(passed / PROBE_SPACING.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::tracker::TrackerId;

    #[test]
    fn nothing_is_offered_that_nobody_can_need() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut economy = Economy::default();
        let offers = |economy: &mut Economy, at, want, links, rng: &mut StdRng| {
            economy.offers(Duration::from_secs(at), want, links, rng)
        };
        assert_eq!(
            offers(&mut economy, 0, 6, 0, &mut rng),
            6,
            "nothing is known"
        );
        economy.note_size(TrackerId::new(0), 3);
        assert_eq!(offers(&mut economy, 15, 5, 1, &mut rng), 1, "one is left");
        assert_eq!(
            offers(&mut economy, 30, 4, 2, &mut rng),
            0,
            "all are neighbours"
        );
        economy.note_size(TrackerId::new(1), 4);
        assert_eq!(
            offers(&mut economy, 45, 4, 2, &mut rng),
            1,
            "another tracker knows one"
        );
        assert_eq!(
            offers(&mut economy, 60, 4, 2, &mut rng),
            0,
            "it was offered a link"
        );
    }

    #[test]
    fn a_full_swarm_probes_eight_times_a_minute_in_all() {
        let seed = 7;
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (members, minutes) = (1000, 60);
        let mut probes = 0;
        for _ in 0..members {
            let mut economy = Economy::default();
            economy.note_size(TrackerId::new(0), members);
            for half in 0..=2 * minutes {
                probes += economy.offers(Duration::from_secs(30 * half), 0, 6, &mut rng);
            }
        }
        let expected = 8.0 * minutes as f64;
        // Six standard deviations of a Poisson count.
        assert!(
            (probes as f64 - expected).abs() < 6.0 * expected.sqrt(),
            "{probes}"
        );
    }
}
