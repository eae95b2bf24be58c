//! How many offers an announce is worth. Browsers allow few connections in a page's life, so nothing
//! is offered that nobody can need.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use crate::map::Map;
use crate::time::Now;
use crate::tracker::TrackerId;

/// Between two offers of the full members of a swarm, all together: where two meshes of one topic use
/// one tracker, each finds the other within seconds, however large they are.
const PROBES: Duration = Duration::from_millis(7500);

/// In a small swarm, between two of one member, on average. Each that met a member of the own mesh
/// doubles it, up to the second: browsers allow a page some 500 connections.
const PROBE_SPACING: (Duration, Duration) =
    (Duration::from_secs(300), Duration::from_secs(4 * 3600));

/// For so long after another tracker came, or one came back, they come so much more often: meshes may
/// have parted meanwhile.
const RETURNED: Duration = Duration::from_secs(60);
const EAGER: u32 = 8;

/// A member that misses a single link looks for it in the mesh; trackers are asked so often.
const LAST_LINK: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct Economy {
    /// Peers in the swarm, as each tracker counts them.
    sizes: Map<TrackerId, usize>,
    /// Whether there ever was a tracker.
    met: bool,
    /// At the last announce no link was missed, and there were others than the neighbours.
    full: bool,
    /// Between two probes in a small swarm.
    spacing: Option<Duration>,
    next_probe: Option<Now>,
    eager_until: Now,
    last_link: Option<Now>,
}

impl Economy {
    pub(super) fn note_size(
        &mut self,
        now: Now,
        tracker: TrackerId,
        size: usize,
        rng: &mut StdRng,
    ) {
        // Who meets its first tracker has no mesh yet that could be one of two.
        if self.sizes.insert(tracker, size).is_none() && self.met {
            self.eager_until = now + RETURNED;
            self.spacing = None;
        }
        self.met = true;
        self.plan_probe(now, rng);
    }

    pub(super) fn note_lost(&mut self, tracker: TrackerId) {
        self.sizes.remove(&tracker);
    }

    /// A full member met another one through a tracker, and both are of one mesh.
    pub(super) fn note_same_mesh(&mut self) {
        self.spacing = Some((self.spacing() * 2).min(PROBE_SPACING.1));
    }

    fn spacing(&self) -> Duration {
        self.spacing.unwrap_or(PROBE_SPACING.0)
    }

    /// The times between probes are exponential, and so may be drawn anew whenever the size changes.
    fn plan_probe(&mut self, now: Now, rng: &mut StdRng) {
        let size = self.sizes.values().max().copied().unwrap_or(1);
        let mean = (PROBES * u32::try_from(size).unwrap_or(u32::MAX)).max(self.spacing());
        let eager = if now < self.eager_until { EAGER } else { 1 };
        let mean = mean / eager;
        let wait = mean.mul_f64(-rng.random_range(f64::EPSILON..1.0).ln());
        self.next_probe = Some(now + wait);
    }

    /// When a probe is due.
    pub(super) const fn next_probe(&self) -> Option<Now> {
        self.next_probe
    }

    /// The tracker to make one offer through, if it is time for that.
    pub(super) fn probe(&mut self, now: Now, rng: &mut StdRng) -> Option<TrackerId> {
        if self.next_probe.is_none_or(|next| next > now) {
            return None;
        }
        self.plan_probe(now, rng);
        let trackers = self.sizes.keys().copied().filter(|_| self.full);
        trackers.choose(rng)
    }

    /// Offers worth making in an announce, for so many missing links beside those that there are.
    pub(super) fn offers(&mut self, now: Now, want: usize, links: usize) -> usize {
        // Who is a neighbour already needs no offer.
        let size = self.sizes.values().max();
        let others = size.map_or(usize::MAX, |size| size.saturating_sub(1 + links));
        self.full = want == 0 && others > 0;
        if want > 1 {
            // Where so many links were lost, more may have broken.
            self.spacing = None;
        }
        match want.min(others) {
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
        let offers = |economy: &mut Economy, at, want, links| {
            economy.offers(Duration::from_secs(at), want, links)
        };
        assert_eq!(offers(&mut economy, 0, 6, 0), 6, "nothing is known");
        economy.note_size(Now::ZERO, TrackerId::new(0), 3, &mut rng);
        assert_eq!(offers(&mut economy, 15, 5, 1), 1, "one is left");
        assert_eq!(offers(&mut economy, 30, 4, 2), 0, "all are neighbours");
        economy.note_size(Now::ZERO, TrackerId::new(1), 4, &mut rng);
        assert_eq!(
            offers(&mut economy, 45, 4, 2),
            1,
            "another tracker knows one"
        );
        assert_eq!(offers(&mut economy, 60, 4, 2), 0, "it was offered a link");
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
            economy.note_size(Now::ZERO, TrackerId::new(0), members, &mut rng);
            economy.note_size(RETURNED, TrackerId::new(0), members, &mut rng);
            economy.offers(Now::ZERO, 0, 6);
            while let Some(next) = economy.next_probe()
                && next < RETURNED + Duration::from_secs(60 * minutes)
            {
                probes += u64::from(economy.probe(next, &mut rng).is_some());
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
