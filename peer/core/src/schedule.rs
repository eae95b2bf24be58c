//! When to announce, and when to try a tracker again. Time and randomness are inputs.

use std::time::Duration;

use crate::time::Now;

/// Shortest interval taken from a tracker.
const SPACING: Duration = Duration::from_secs(15);

/// Between two announces of a peer that just lost most of its links.
const URGENT: Duration = Duration::from_secs(5);

/// First and longest pause: between tries to connect, and between announces of a peer that is alone.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Longest pause of a peer that the tracker's return means most to.
const LONELY: Duration = Duration::from_secs(20);

/// Pauses of a peer that has no link although there are others: those whom its offers found may have
/// had no room, others have. So often the first, then doubled, then the second; after so many as if alone.
const OUTSIDE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
const SOON: u32 = 6;
const GIVE_UP: u32 = 60;

/// After being asked to announce, this long for the offers.
const ANSWER: Duration = Duration::from_secs(8);

/// How many links a peer misses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It has none, and nobody else is known to be there.
    Alone,
    /// It has none, and there are others.
    Outside,
    /// It has fewer than half, and there are others.
    Needy,
    /// It has some.
    Hungry,
    /// It has all.
    Full,
}

impl Need {
    /// Of a peer with so many links, in a swarm that a tracker says to be so large.
    pub const fn new(links: usize, max_peers: usize, swarm: usize) -> Self {
        if links == 0 {
            if swarm > 1 {
                Self::Outside
            } else {
                Self::Alone
            }
        } else if links >= max_peers {
            Self::Full
        } else if links * 2 < max_peers && swarm > links + 1 {
            Self::Needy
        } else {
            Self::Hungry
        }
    }
}

/// 1, 2, 4 ... 30 s, each shortened by up to a quarter, so that many peers that lost the same tracker
/// do not return at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause; `random` is uniform in [0, 1).
    pub fn next(&mut self, need: Need, random: f64) -> Duration {
        let longest = match need {
            Need::Alone | Need::Outside | Need::Needy => LONELY,
            Need::Hungry | Need::Full => PAUSE.1,
        };
        let pause = PAUSE.0.saturating_mul(1 << self.tries.min(6)).min(longest);
        self.tries = self.tries.saturating_add(1);
        pause.mul_f64(1.0 - random / 4.0)
    }

    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

/// When the next announce on one connection is due.
#[derive(Debug)]
pub struct Schedule {
    /// What the user wants.
    own: Duration,
    /// What the tracker asks for.
    theirs: Option<Duration>,
    need: Need,
    /// Not before this.
    next: Now,
    last: Option<Now>,
    alone: Backoff,
    /// Announces since it is outside.
    outside: u32,
}

impl Schedule {
    pub fn new(own: Duration, need: Need) -> Self {
        Self {
            own,
            theirs: None,
            need,
            next: Now::ZERO,
            last: None,
            alone: Backoff::default(),
            outside: 0,
        }
    }

    pub const fn need(&self) -> Need {
        self.need
    }

    /// When the next announce is due.
    pub const fn due(&self) -> Now {
        self.next
    }

    /// A new connection: announce at once.
    pub fn connected(&mut self, now: Now) {
        self.last = None;
        self.next = now;
    }

    /// The node was asked for an announce; it is asked again if none comes.
    pub fn asked(&mut self, now: Now) {
        self.next = now + ANSWER;
    }

    /// An announce was sent.
    pub fn announced(&mut self, now: Now, random: f64) {
        self.last = Some(now);
        self.plan(now, random);
    }

    /// The tracker asks for an interval.
    pub fn interval(&mut self, theirs: Duration) {
        self.theirs = Some(theirs.clamp(SPACING, Duration::from_secs(3600)));
        if self.need == Need::Full
            && let Some(last) = self.last
        {
            self.next = last + self.pause();
        }
    }

    pub fn set_own(&mut self, own: Duration, now: Now, random: f64) {
        self.own = own;
        if self.last.is_some() {
            self.plan(now, random);
        }
    }

    pub fn set_need(&mut self, need: Need, now: Now, random: f64) {
        if need == self.need {
            return;
        }
        let before = std::mem::replace(&mut self.need, need);
        self.alone.reset();
        self.outside = 0;
        let linked = !matches!(before, Need::Alone | Need::Outside);
        match self.last {
            // The last link is gone: at once.
            Some(_) if linked && matches!(need, Need::Alone | Need::Outside) => self.next = now,
            Some(last) if need == Need::Needy => self.next = now.max(last + URGENT),
            Some(_) => self.plan(now, random),
            None => {}
        }
    }

    fn plan(&mut self, now: Now, random: f64) {
        let last = self.last.unwrap_or(now);
        self.next = match self.need {
            Need::Outside if self.outside < GIVE_UP => {
                self.outside += 1;
                let doublings = self.outside.saturating_sub(SOON).min(8);
                let pause = OUTSIDE.0.saturating_mul(1 << doublings).min(OUTSIDE.1);
                now + pause.mul_f64(1.0 - random / 4.0)
            }
            Need::Alone | Need::Outside => now + self.alone.next(Need::Full, random),
            Need::Needy | Need::Hungry | Need::Full => (last + self.pause()).max(now),
        };
    }

    fn pause(&self) -> Duration {
        match (self.need, self.theirs) {
            // A full peer announces only to stay known.
            (Need::Full, Some(theirs)) => theirs,
            (Need::Needy, _) => SPACING.min(self.own),
            _ => self.own,
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
    fn pauses_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..9)
            .map(|_| backoff.next(Need::Full, 0.0).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert!(
            backoff.next(Need::Full, 0.999) > s(22),
            "shortened by a quarter at most"
        );
        backoff.reset();
        assert_eq!(backoff.next(Need::Full, 0.0), s(1));
        for _ in 0..9 {
            assert!(backoff.next(Need::Alone, 0.0) <= s(20));
        }
    }

    #[test]
    fn a_peer_with_links_keeps_its_interval_and_a_full_one_the_trackers() {
        let mut schedule = Schedule::new(s(30), Need::Hungry);
        schedule.connected(s(5));
        assert_eq!(schedule.due(), s(5));
        schedule.asked(s(5));
        assert_eq!(schedule.due(), s(13), "asked again");
        schedule.announced(s(6), 0.0);
        schedule.interval(s(120));
        assert_eq!(schedule.due(), s(36));
        schedule.set_need(Need::Full, s(20), 0.0);
        assert_eq!(schedule.due(), s(126));
        schedule.set_need(Need::Hungry, s(25), 0.0);
        assert_eq!(schedule.due(), s(36));
        schedule.set_own(s(1), s(25), 0.0);
        assert_eq!(schedule.due(), s(25), "not in the past");
        schedule.announced(s(25), 0.0);
        assert_eq!(schedule.due(), s(26));
    }

    #[test]
    fn a_peer_alone_announces_at_once_and_then_ever_more_rarely() {
        let mut schedule = Schedule::new(s(30), Need::Hungry);
        schedule.connected(s(0));
        schedule.announced(s(0), 0.0);
        schedule.set_need(Need::Alone, s(10), 0.0);
        assert_eq!(schedule.due(), s(10));
        for (at, due) in [(10, 11), (11, 13), (13, 17)] {
            schedule.announced(s(at), 0.0);
            assert_eq!(schedule.due(), s(due));
        }
        // Others are there.
        schedule.set_need(Need::Outside, s(13), 0.0);
        assert_eq!(schedule.due(), s(14));
        for pause in [1, 1, 1, 1, 1, 2, 4, 5, 5] {
            let at = schedule.due();
            schedule.announced(at, 0.0);
            assert_eq!(schedule.due(), at + s(pause));
        }
        for _ in 0..GIVE_UP {
            schedule.announced(s(100), 0.0);
        }
        assert!(schedule.due() > s(110), "nobody can be reached");
    }
}
