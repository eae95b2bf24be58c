//! How many offers an announce is worth. Browsers allow few connections in the life of a page, so
//! nothing is offered that nobody can need.
//!
//! A peer with all its links still makes an offer now and then, a probe: where two meshes of one topic
//! use the same tracker, a probe of one reaches the other and the two merge.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use crate::map::Map;
use crate::time::Now;
use crate::tracker::TrackerId;

/// Mean time between two probes of all members of a swarm together. Two meshes on one tracker find each
/// other within seconds, however large they are.
const SWARM_PROBE_SPACING: Duration = Duration::from_millis(7500);

/// Shortest mean time between two probes of one member. It matters in small swarms only.
const MIN_PROBE_SPACING: Duration = Duration::from_secs(300);

/// Each probe that reaches a member of the own mesh doubles the spacing, up to this: browsers allow a
/// page some 500 connections.
const MAX_PROBE_SPACING: Duration = Duration::from_secs(4 * 3600);

/// How long probes are more frequent after another tracker appeared or one came back, because meshes
/// may have parted meanwhile.
const EAGER_TIME: Duration = Duration::from_secs(60);

/// How much more frequent they are.
const EAGER_FACTOR: u32 = 8;

/// A member that misses a single link looks for it in the mesh. It asks the trackers only this often.
const LAST_LINK_SPACING: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(super) struct OfferPolicy {
    /// Peers in the swarm, as each tracker counts them.
    sizes: Map<TrackerId, usize>,
    /// Whether any tracker ever told the size.
    has_met_tracker: bool,
    /// Whether, at the last announce, no link was missing and the swarm had peers that were not
    /// neighbours. Only such a peer probes.
    is_full: bool,
    /// Mean time between two probes in a small swarm, if not the shortest.
    spacing: Option<Duration>,
    next_probe: Option<Now>,
    eager_until: Now,
    /// When the trackers were last asked for a single missing link.
    last_link: Option<Now>,
}

impl OfferPolicy {
    /// A tracker has said how many peers are in the swarm.
    pub(super) fn note_size(
        &mut self,
        now: Now,
        tracker: TrackerId,
        size: usize,
        rng: &mut StdRng,
    ) {
        // A peer that meets its first tracker has no mesh yet that could have parted from another.
        if self.sizes.insert(tracker, size).is_none() && self.has_met_tracker {
            self.eager_until = now + EAGER_TIME;
            self.spacing = None;
        }
        self.has_met_tracker = true;
        self.plan_probe(now, rng);
    }

    /// A tracker cannot be reached any more.
    pub(super) fn note_lost(&mut self, tracker: TrackerId) {
        self.sizes.remove(&tracker);
    }

    /// A full member met another one through a tracker, and both are in the same mesh.
    pub(super) fn note_same_mesh(&mut self) {
        self.spacing = Some((self.spacing() * 2).min(MAX_PROBE_SPACING));
    }

    fn spacing(&self) -> Duration {
        self.spacing.unwrap_or(MIN_PROBE_SPACING)
    }

    /// Draws the time of the next probe. The times between probes are exponentially distributed, so they
    /// may be drawn anew whenever the size changes.
    fn plan_probe(&mut self, now: Now, rng: &mut StdRng) {
        let size = self.sizes.values().max().copied().unwrap_or(1);
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let mean = (SWARM_PROBE_SPACING * size).max(self.spacing());
        let factor = if now < self.eager_until {
            EAGER_FACTOR
        } else {
            1
        };
        let mean = mean / factor;
        let wait = mean.mul_f64(-rng.random_range(f64::EPSILON..1.0).ln());
        self.next_probe = Some(now + wait);
    }

    /// When a probe is due.
    pub(super) const fn next_probe(&self) -> Option<Now> {
        self.next_probe
    }

    /// The tracker through which to make one offer, if a probe is due.
    pub(super) fn probe(&mut self, now: Now, rng: &mut StdRng) -> Option<TrackerId> {
        if self.next_probe.is_none_or(|next| next > now) {
            return None;
        }
        self.plan_probe(now, rng);
        let trackers = self.sizes.keys().copied().filter(|_| self.is_full);
        trackers.choose(rng)
    }

    /// How many offers an announce is worth to a peer that has `open_links` links and wants `wanted`
    /// more.
    pub(super) fn offers(&mut self, now: Now, wanted: usize, open_links: usize) -> usize {
        let size = self.sizes.values().max();
        // A peer that is a neighbour already needs no offer.
        let others = size.map_or(usize::MAX, |size| size.saturating_sub(1 + open_links));
        self.is_full = wanted == 0 && others > 0;
        if wanted > 1 {
            // Several links were lost at once, so the mesh may have parted.
            self.spacing = None;
        }
        match wanted.min(others) {
            1 if open_links > 1 => {
                let due = (self.last_link).is_none_or(|last| now >= last + LAST_LINK_SPACING);
                if due {
                    self.last_link = Some(now);
                }
                due.into()
            }
            offers => offers,
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
        let mut policy = OfferPolicy::default();
        let offers = |policy: &mut OfferPolicy, at, wanted, open_links| {
            policy.offers(Duration::from_secs(at), wanted, open_links)
        };
        assert_eq!(offers(&mut policy, 0, 6, 0), 6, "nothing is known");
        policy.note_size(Now::ZERO, TrackerId::new(0), 3, &mut rng);
        assert_eq!(offers(&mut policy, 15, 5, 1), 1, "one is left");
        assert_eq!(offers(&mut policy, 30, 4, 2), 0, "all are neighbours");
        policy.note_size(Now::ZERO, TrackerId::new(1), 4, &mut rng);
        assert_eq!(
            offers(&mut policy, 45, 4, 2),
            1,
            "another tracker knows one"
        );
        assert_eq!(offers(&mut policy, 60, 4, 2), 0, "it was offered a link");
    }

    #[test]
    fn a_full_swarm_probes_eight_times_a_minute_in_all() {
        let seed = 7;
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (members, minutes) = (1000, 60);
        let mut probes = 0;
        for _ in 0..members {
            let mut policy = OfferPolicy::default();
            policy.note_size(Now::ZERO, TrackerId::new(0), members, &mut rng);
            policy.note_size(EAGER_TIME, TrackerId::new(0), members, &mut rng);
            policy.offers(Now::ZERO, 0, 6);
            while let Some(next) = policy.next_probe()
                && next < EAGER_TIME + Duration::from_secs(60 * minutes)
            {
                probes += u64::from(policy.probe(next, &mut rng).is_some());
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
