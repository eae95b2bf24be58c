//! The part of a peer that talks to the tracker: when it connects, announces and tries again. It does
//! what the tracker client of the crate `easypeers` does.
//!
//! In: time, connections made and lost, the tracker's interval. Out: what to do next.

use easypeers_core::schedule::{Backoff, Deficit, Schedule};
use easypeers_core::time::Now;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::time::{SECOND, Time, from_duration, to_duration};

/// The interval that the tracker asks for.
const INTERVAL: Time = 120 * SECOND;

/// The interval that the peer asks for: the default of its options.
const OWN_INTERVAL: Time = 30 * SECOND;

/// A connection that lasted longer was a good one, and the next attempt does not wait long.
const GOOD: Time = 30 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until the next attempt.
    Down {
        retry: Time,
    },
    Connecting,
    Up {
        since: Time,
    },
}

/// What the client wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Connect,
    /// Ask the cores for an announce.
    Announce,
}

/// The tracker as one peer sees it. Times of the schedule count from the peer's birth.
#[derive(Debug)]
pub(crate) struct TrackerClient {
    schedule: Schedule,
    backoff: Backoff,
    state: State,
}

impl TrackerClient {
    pub(crate) fn new() -> Self {
        Self {
            schedule: Schedule::new(to_duration(OWN_INTERVAL), Deficit::Alone),
            backoff: Backoff::default(),
            state: State::Down { retry: 0 },
        }
    }

    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// When [`TrackerClient::on_time`] has something to do.
    pub(crate) fn due(&self, born: Time) -> Time {
        match self.state {
            State::Down { retry } => retry,
            State::Connecting => Time::MAX,
            State::Up { .. } => born + from_duration(self.schedule.due()),
        }
    }

    pub(crate) fn on_time(&mut self, now: Time, born: Time) -> Due {
        if self.due(born) > now {
            return Due::Nothing;
        }
        match self.state {
            State::Down { .. } => {
                self.state = State::Connecting;
                Due::Connect
            }
            State::Connecting => Due::Nothing,
            State::Up { .. } => {
                self.schedule.asked(to_duration(now - born));
                Due::Announce
            }
        }
    }

    /// An attempt to connect is over. It fails if the tracker is down.
    pub(crate) fn on_connected(&mut self, now: Time, born: Time, up: bool, rng: &mut StdRng) {
        if up {
            self.state = State::Up { since: now };
            self.schedule.connected(to_duration(now - born));
        } else {
            self.retry(now, rng);
        }
    }

    /// The connection is gone. Returns false if there was none.
    pub(crate) fn on_lost(&mut self, now: Time) -> bool {
        let State::Up { since } = self.state else {
            return false;
        };
        if now > since + GOOD {
            self.backoff.reset();
        }
        true
    }

    /// Waits before the next attempt to connect.
    pub(crate) fn retry(&mut self, now: Time, rng: &mut StdRng) {
        let random = rng.random();
        let deficit = self.schedule.deficit();
        let pause = self.backoff.next(deficit, random);
        self.state = State::Down {
            retry: now + from_duration(pause),
        };
    }

    /// The tracker has replied to an announce.
    pub(crate) fn on_interval(&mut self) {
        self.schedule.interval(to_duration(INTERVAL));
    }

    pub(crate) fn set_deficit(&mut self, deficit: Deficit, now: Now, rng: &mut StdRng) {
        self.schedule.set_deficit(deficit, now, rng.random());
    }

    /// An announce is to be sent. Returns false if there is no connection to send it along.
    pub(crate) fn on_announce(&mut self, now: Now, rng: &mut StdRng) -> bool {
        let up = self.is_up();
        if up {
            self.schedule.announced(now, rng.random());
        }
        up
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn it_connects_at_once_announces_and_waits_longer_after_each_failure() {
        let mut rng = StdRng::seed_from_u64(1);
        let born = 5 * SECOND;
        let mut client = TrackerClient::new();
        assert_eq!(client.on_time(born, born), Due::Connect);
        assert_eq!(client.on_time(born, born), Due::Nothing, "under way");
        let mut now = born;
        let mut pauses = Vec::new();
        for _ in 0..4 {
            client.on_connected(now, born, false, &mut rng);
            assert!(!client.is_up() && !client.on_lost(now));
            let retry = client.due(born);
            pauses.push(retry - now);
            now = retry;
            assert_eq!(client.on_time(now, born), Due::Connect);
        }
        assert!(pauses[3] > pauses[0], "{pauses:?}");
        client.on_connected(now, born, true, &mut rng);
        assert_eq!(client.on_time(client.due(born), born), Due::Announce);
        assert!(client.on_announce(to_duration(now - born), &mut rng));
        assert!(client.on_lost(now));
    }
}
