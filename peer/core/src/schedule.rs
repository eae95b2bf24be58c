//! When to announce to a tracker, and when to try to connect to it again. Time and random numbers are
//! inputs.

use std::time::Duration;

use crate::time::Now;

/// Shortest announce interval. A tracker that asks for a shorter one gets this.
const MIN_INTERVAL: Duration = Duration::from_secs(15);

/// Longest announce interval. A tracker that asks for a longer one gets this.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// Time between the last announce and the next one of a peer that has just lost most of its links.
const URGENT_INTERVAL: Duration = Duration::from_secs(5);

/// First pause between attempts to connect, and between announces of a peer that is alone.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Longest pause between attempts to connect of a peer with few links or none, because it needs the
/// tracker most.
const LONGEST_PAUSE_IN_NEED: Duration = Duration::from_secs(20);

/// First pause between announces of a peer that has no link although there are other peers. Its offers
/// may have reached peers that can accept no more links. Others can.
const ISOLATED_FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest such pause.
const ISOLATED_LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How many announces an isolated peer makes after the first pause, before the pause doubles with each.
const ISOLATED_FIRST_PAUSES: u32 = 6;

/// After this many announces an isolated peer makes the pauses of a peer that is alone.
const ISOLATED_ANNOUNCES: u32 = 60;

/// How long to wait for the offers of an announce before asking for them again.
const OFFERS_TIMEOUT: Duration = Duration::from_secs(8);

/// How many links a peer lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deficit {
    /// It has no link, and no other peer is known.
    Alone,
    /// It has no link although there are other peers.
    Isolated,
    /// It has fewer than half of its links, and there are peers that are not its neighbours.
    Most,
    /// It has some of its links.
    Some,
    /// It has all its links.
    None,
}

impl Deficit {
    /// The deficit of a peer that has `links` of `max_peers` links, in a swarm of `swarm` peers (itself
    /// included) by the tracker's count.
    #[must_use]
    pub const fn new(links: usize, max_peers: usize, swarm: usize) -> Self {
        if links == 0 {
            if swarm > 1 {
                Self::Isolated
            } else {
                Self::Alone
            }
        } else if links >= max_peers {
            Self::None
        } else if links * 2 < max_peers && swarm > links + 1 {
            Self::Most
        } else {
            Self::Some
        }
    }

    /// Whether the peer has no link at all.
    const fn is_total(self) -> bool {
        matches!(self, Self::Alone | Self::Isolated)
    }
}

/// Pauses between attempts: 1, 2, 4 ... 30 s. Each is shortened by up to a quarter at random, which
/// keeps the peers that lost the same tracker from returning all at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next pause. `random` is uniform in [0, 1).
    pub fn next(&mut self, deficit: Deficit, random: f64) -> Duration {
        let longest = match deficit {
            Deficit::Alone | Deficit::Isolated | Deficit::Most => LONGEST_PAUSE_IN_NEED,
            Deficit::Some | Deficit::None => LONGEST_PAUSE,
        };
        let pause = FIRST_PAUSE.saturating_mul(1 << self.attempts.min(6));
        self.attempts = self.attempts.saturating_add(1);
        pause.min(longest).mul_f64(1.0 - random / 4.0)
    }

    /// Starts again with the first pause.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// When the next announce to one tracker is due.
#[derive(Debug)]
pub struct Schedule {
    /// The interval that the user wants.
    own_interval: Duration,
    /// The interval that the tracker asks for.
    tracker_interval: Option<Duration>,
    deficit: Deficit,
    due: Now,
    /// When the last announce on this connection was sent.
    last: Option<Now>,
    alone_backoff: Backoff,
    /// Announces since the peer has been isolated.
    isolated_announces: u32,
}

impl Schedule {
    /// A schedule whose first announce is due at once. `own_interval` is the interval that the user
    /// wants.
    #[must_use]
    pub fn new(own_interval: Duration, deficit: Deficit) -> Self {
        Self {
            own_interval,
            tracker_interval: None,
            deficit,
            due: Now::ZERO,
            last: None,
            alone_backoff: Backoff::default(),
            isolated_announces: 0,
        }
    }

    /// How many links the peer lacks, as last set.
    #[must_use]
    pub const fn deficit(&self) -> Deficit {
        self.deficit
    }

    /// When the next announce is due.
    #[must_use]
    pub const fn due(&self) -> Now {
        self.due
    }

    /// There is a new connection to the tracker. An announce is due at once.
    pub fn connected(&mut self, now: Now) {
        self.last = None;
        self.due = now;
    }

    /// The offers of an announce were requested. If no announce follows, they are due again later.
    pub fn asked(&mut self, now: Now) {
        self.due = now + OFFERS_TIMEOUT;
    }

    /// An announce was sent. `random` is uniform in [0, 1).
    pub fn announced(&mut self, now: Now, random: f64) {
        self.last = Some(now);
        self.plan(now, random);
    }

    /// The tracker asks for this interval. Only a peer with all its links keeps to it.
    pub fn interval(&mut self, interval: Duration) {
        self.tracker_interval = Some(interval.clamp(MIN_INTERVAL, MAX_INTERVAL));
        if self.deficit == Deficit::None
            && let Some(last) = self.last
        {
            self.due = last + self.pause();
        }
    }

    /// The user wants this interval. `random` is uniform in [0, 1).
    pub fn set_own_interval(&mut self, interval: Duration, now: Now, random: f64) {
        self.own_interval = interval;
        if self.last.is_some() {
            self.plan(now, random);
        }
    }

    /// The peer has gained or lost links. `random` is uniform in [0, 1).
    pub fn set_deficit(&mut self, deficit: Deficit, now: Now, random: f64) {
        if deficit == self.deficit {
            return;
        }
        let before = std::mem::replace(&mut self.deficit, deficit);
        self.alone_backoff.reset();
        self.isolated_announces = 0;
        match self.last {
            // The last link is lost.
            Some(_) if deficit.is_total() && !before.is_total() => self.due = now,
            Some(last) if deficit == Deficit::Most => self.due = now.max(last + URGENT_INTERVAL),
            Some(_) => self.plan(now, random),
            None => {}
        }
    }

    fn plan(&mut self, now: Now, random: f64) {
        let last = self.last.unwrap_or(now);
        self.due = match self.deficit {
            Deficit::Isolated if self.isolated_announces < ISOLATED_ANNOUNCES => {
                self.isolated_announces += 1;
                let doublings = self
                    .isolated_announces
                    .saturating_sub(ISOLATED_FIRST_PAUSES)
                    .min(8);
                let pause = ISOLATED_FIRST_PAUSE
                    .saturating_mul(1 << doublings)
                    .min(ISOLATED_LONGEST_PAUSE);
                now + pause.mul_f64(1.0 - random / 4.0)
            }
            // Pauses between announces may be longer than those between attempts to connect.
            Deficit::Alone | Deficit::Isolated => {
                now + self.alone_backoff.next(Deficit::None, random)
            }
            Deficit::Most | Deficit::Some | Deficit::None => (last + self.pause()).max(now),
        };
    }

    fn pause(&self) -> Duration {
        match (self.deficit, self.tracker_interval) {
            // A peer with all its links announces only to stay in the tracker's swarm.
            (Deficit::None, Some(interval)) => interval,
            (Deficit::Most, _) => MIN_INTERVAL.min(self.own_interval),
            _ => self.own_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_deficit_counts_links_and_other_peers() {
        assert_eq!(Deficit::new(0, 6, 1), Deficit::Alone);
        assert_eq!(Deficit::new(0, 6, 2), Deficit::Isolated);
        assert_eq!(Deficit::new(2, 6, 4), Deficit::Most);
        assert_eq!(Deficit::new(2, 6, 3), Deficit::Some, "all are neighbours");
        assert_eq!(Deficit::new(3, 6, 9), Deficit::Some);
        assert_eq!(Deficit::new(6, 6, 9), Deficit::None);
    }

    #[test]
    fn pauses_double_up_to_thirty_seconds() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..9)
            .map(|_| backoff.next(Deficit::None, 0.0).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert!(
            backoff.next(Deficit::None, 0.999) > s(22),
            "shortened by a quarter at most"
        );
        backoff.reset();
        assert_eq!(backoff.next(Deficit::None, 0.0), s(1));
        for _ in 0..9 {
            assert!(backoff.next(Deficit::Alone, 0.0) <= s(20));
        }
    }

    #[test]
    fn a_peer_that_lacks_links_keeps_the_users_interval_and_another_the_trackers() {
        let mut schedule = Schedule::new(s(30), Deficit::Some);
        schedule.connected(s(5));
        assert_eq!(schedule.due(), s(5));
        schedule.asked(s(5));
        assert_eq!(schedule.due(), s(13), "asked again");
        schedule.announced(s(6), 0.0);
        schedule.interval(s(120));
        assert_eq!(schedule.due(), s(36));
        schedule.set_deficit(Deficit::None, s(20), 0.0);
        assert_eq!(schedule.due(), s(126));
        schedule.set_deficit(Deficit::Some, s(25), 0.0);
        assert_eq!(schedule.due(), s(36));
        schedule.set_own_interval(s(1), s(25), 0.0);
        assert_eq!(schedule.due(), s(25), "not in the past");
        schedule.announced(s(25), 0.0);
        assert_eq!(schedule.due(), s(26));
    }

    #[test]
    fn a_peer_alone_announces_at_once_and_then_ever_more_rarely() {
        let mut schedule = Schedule::new(s(30), Deficit::Some);
        schedule.connected(s(0));
        schedule.announced(s(0), 0.0);
        schedule.set_deficit(Deficit::Alone, s(10), 0.0);
        assert_eq!(schedule.due(), s(10));
        for (at, due) in [(10, 11), (11, 13), (13, 17)] {
            schedule.announced(s(at), 0.0);
            assert_eq!(schedule.due(), s(due));
        }
        // Now other peers are there.
        schedule.set_deficit(Deficit::Isolated, s(13), 0.0);
        assert_eq!(schedule.due(), s(14));
        for pause in [1, 1, 1, 1, 1, 2, 4, 5, 5] {
            let at = schedule.due();
            schedule.announced(at, 0.0);
            assert_eq!(schedule.due(), at + s(pause));
        }
        for _ in 0..ISOLATED_ANNOUNCES {
            schedule.announced(s(100), 0.0);
        }
        assert!(schedule.due() > s(110), "nobody can be reached");
    }
}
