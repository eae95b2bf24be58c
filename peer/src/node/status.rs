//! The state of a peer in words, made from its links and what its trackers last said.

use std::time::Duration;

use crate::api::{State, Status};
use crate::tracker::{TrackerEvent, TrackerUrl};

/// What is known of one tracker.
#[derive(Debug, Default)]
struct Known {
    url: String,
    connected: bool,
    /// Why it is not connected, and when it is tried again.
    lost: Option<(String, Option<Duration>)>,
    /// What it refused.
    failure: Option<String>,
    /// Members of the swarm that it counts, ourselves included.
    members: Option<u32>,
}

/// What is known of all trackers.
#[derive(Debug)]
pub(super) struct Trackers(Vec<Known>);

impl Trackers {
    pub(super) fn new(urls: &[TrackerUrl]) -> Self {
        let known = urls.iter().map(|url| Known {
            url: url.to_string(),
            ..Known::default()
        });
        Self(known.collect())
    }

    /// Takes note of an event.
    pub(super) fn note(&mut self, event: &TrackerEvent) {
        let Some(known) = self.0.get_mut(event.tracker().index()) else {
            return;
        };
        match event {
            TrackerEvent::Connected(_) => {
                known.connected = true;
                known.lost = None;
            }
            TrackerEvent::Lost {
                error, retry_in, ..
            } => {
                known.connected = false;
                known.members = None;
                known.lost = Some((error.clone(), *retry_in));
            }
            TrackerEvent::Announced {
                complete,
                incomplete,
                ..
            } => {
                known.failure = None;
                known.members = Some(complete.saturating_add(*incomplete));
            }
            TrackerEvent::Failure { reason, .. } => known.failure = Some(reason.clone()),
            TrackerEvent::Due(_) | TrackerEvent::Offer { .. } | TrackerEvent::Answer { .. } => {}
        }
    }

    pub(super) fn any_connected(&self) -> bool {
        self.0.iter().any(|known| known.connected)
    }

    /// Members, as the tracker counts that knows most.
    pub(super) fn members(&self) -> Option<u32> {
        self.0.iter().filter_map(|known| known.members).max()
    }

    /// Other members, likewise.
    fn others(&self) -> Option<usize> {
        let others = self.members()?.saturating_sub(1);
        Some(usize::try_from(others).unwrap_or(usize::MAX))
    }

    /// The state with so many links up of so many wanted.
    pub(super) fn status(&self, links: usize, max_peers: usize) -> Status {
        let connected = self.any_connected();
        let tried = self.0.iter().any(|known| known.lost.is_some());
        let enough = links >= max_peers.div_ceil(2)
            || (links > 0 && self.others().is_some_and(|others| links >= others));
        let state = match (links, connected) {
            (0, false) if tried => State::Offline,
            (0, _) => State::Connecting,
            (_, true) if enough => State::Joined,
            _ => State::Degraded,
        };
        let mut parts = Vec::new();
        if links > 0 {
            parts.push(format!("{links} of {max_peers} links"));
        }
        if !connected {
            parts.push(self.unreached());
        } else if links == 0 {
            parts.push(match self.others() {
                Some(0) => "nobody else is here yet".to_owned(),
                Some(1) => "connecting to the one other peer".to_owned(),
                Some(others) => format!("connecting to some of {others} other peers"),
                None => "announcing".to_owned(),
            });
        }
        for known in self.0.iter() {
            if let (true, Some(failure)) = (known.connected, &known.failure) {
                parts.push(format!("{} says: {failure}", known.url));
            }
        }
        Status {
            state,
            reason: parts.join(", "),
            links,
            trackers: self.0.iter().filter(|known| known.connected).count(),
        }
    }

    fn unreached(&self) -> String {
        let lost: Vec<_> = self
            .0
            .iter()
            .filter_map(|known| Some((&known.url, known.lost.as_ref()?)))
            .collect();
        match lost.as_slice() {
            [] => {
                let urls: Vec<&str> = self.0.iter().map(|known| known.url.as_str()).collect();
                format!("connecting to {}", urls.join(", "))
            }
            [(_, (error, retry))] if self.0.len() == 1 => {
                format!("no tracker reached: {error}{}", retrying(*retry))
            }
            several => {
                let each: Vec<String> = several
                    .iter()
                    .map(|(url, (error, retry))| format!("{url}: {error}{}", retrying(*retry)))
                    .collect();
                format!("no tracker reached: {}", each.join("; "))
            }
        }
    }
}

fn retrying(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| {
        format!(", retrying in {} s", time.as_millis().div_ceil(1000))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::TrackerId;

    fn trackers(urls: &[&str]) -> Trackers {
        let urls: Vec<TrackerUrl> = urls.iter().map(|url| url.parse().unwrap()).collect();
        Trackers::new(&urls)
    }

    fn lost(tracker: usize, seconds: u64) -> TrackerEvent {
        TrackerEvent::Lost {
            tracker: TrackerId::new(tracker),
            error: "connection refused".to_owned(),
            retry_in: Some(Duration::from_secs(seconds)),
        }
    }

    fn announced(incomplete: u32) -> TrackerEvent {
        TrackerEvent::Announced {
            tracker: TrackerId::new(0),
            complete: 0,
            incomplete,
        }
    }

    #[test]
    fn words_for_every_state() {
        let mut trackers = trackers(&["ws://localhost:3000"]);
        let said = |trackers: &Trackers, links| {
            let status = trackers.status(links, 6);
            (status.state, status.reason)
        };
        let (state, reason) = said(&trackers, 0);
        assert_eq!(state, State::Connecting);
        assert_eq!(reason, "connecting to ws://localhost:3000");
        trackers.note(&lost(0, 8));
        let expected = "no tracker reached: connection refused, retrying in 8 s";
        assert_eq!(said(&trackers, 0), (State::Offline, expected.to_owned()));
        let expected = format!("4 of 6 links, {expected}");
        assert_eq!(said(&trackers, 4), (State::Degraded, expected));
        trackers.note(&TrackerEvent::Lost {
            tracker: TrackerId::new(0),
            error: "switched off here".to_owned(),
            retry_in: None,
        });
        let expected = "no tracker reached: switched off here".to_owned();
        assert_eq!(said(&trackers, 0), (State::Offline, expected));
        trackers.note(&TrackerEvent::Connected(TrackerId::new(0)));
        assert_eq!(
            said(&trackers, 0),
            (State::Connecting, "announcing".to_owned())
        );
        trackers.note(&announced(1));
        let expected = "nobody else is here yet".to_owned();
        assert_eq!(said(&trackers, 0), (State::Connecting, expected));
        trackers.note(&announced(2));
        assert_eq!(
            said(&trackers, 1),
            (State::Joined, "1 of 6 links".to_owned())
        );
        trackers.note(&announced(20));
        assert_eq!(
            said(&trackers, 2),
            (State::Degraded, "2 of 6 links".to_owned())
        );
        assert_eq!(
            said(&trackers, 3),
            (State::Joined, "3 of 6 links".to_owned())
        );
    }

    #[test]
    fn one_dead_tracker_is_no_trouble_and_two_are_named() {
        let mut trackers = trackers(&["ws://a.example", "ws://b.example"]);
        trackers.note(&lost(0, 2));
        trackers.note(&lost(1, 3));
        let reason = trackers.status(0, 6).reason;
        assert!(
            reason.contains("a.example") && reason.contains("b.example"),
            "{reason}"
        );
        trackers.note(&TrackerEvent::Connected(TrackerId::new(1)));
        assert_eq!(trackers.status(3, 6).state, State::Joined);
    }
}
