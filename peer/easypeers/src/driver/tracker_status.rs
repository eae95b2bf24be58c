//! The state of a peer in words, from its links and what its trackers last said.

use std::time::Duration;

use easypeers_core::session::SessionError;

use crate::model::{State, Status, TrackerInfo, TrackerUrl};
use crate::tracker::TrackerEvent;

/// What is known of one tracker.
#[derive(Debug, Default)]
struct Known {
    url: String,
    connected: bool,
    /// Why it is not connected, and when it is tried again.
    lost: Option<(String, Option<Duration>)>,
    /// What it refused.
    failure: Option<String>,
    /// Members of the swarm that it counts, this peer included.
    members: Option<u32>,
}

/// What is known of all trackers, and of the links that they led to.
#[derive(Debug)]
pub(super) struct TrackerStatus {
    all: Vec<Known>,
    /// Why the last link was refused, until one is up.
    refused: Option<SessionError>,
}

impl TrackerStatus {
    pub(super) fn new(urls: &[TrackerUrl]) -> Self {
        let known = urls.iter().map(|url| Known {
            url: url.to_string(),
            ..Known::default()
        });
        Self {
            all: known.collect(),
            refused: None,
        }
    }

    /// Takes note of an event.
    pub(super) fn note(&mut self, event: &TrackerEvent) {
        let Some(known) = self.all.get_mut(event.tracker().index()) else {
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

    /// A link was refused.
    pub(super) const fn note_refused(&mut self, error: SessionError) {
        self.refused = Some(error);
    }

    fn any_connected(&self) -> bool {
        self.all.iter().any(|known| known.connected)
    }

    /// Each of them, for the application.
    pub(super) fn list(&self) -> Vec<TrackerInfo> {
        let info = |known: &Known| TrackerInfo {
            url: known.url.clone(),
            connected: known.connected,
            members: known.members,
            trouble: known
                .lost
                .as_ref()
                .map(in_words)
                .or_else(|| known.failure.clone()),
        };
        self.all.iter().map(info).collect()
    }

    /// Members, as counted by the tracker that knows most of them.
    pub(super) fn members(&self) -> Option<u32> {
        self.all.iter().filter_map(|known| known.members).max()
    }

    /// Members without this peer.
    fn others(&self) -> Option<usize> {
        let others = self.members()?.saturating_sub(1);
        Some(usize::try_from(others).unwrap_or(usize::MAX))
    }

    /// The state with `links` links up of `max_peers` wanted.
    pub(super) fn status(&mut self, links: usize, max_peers: usize) -> Status {
        let connected = self.any_connected();
        let tried = self.all.iter().any(|known| known.lost.is_some());
        let enough = links >= max_peers.div_ceil(2)
            || (links > 0 && self.others().is_some_and(|others| links >= others));
        let state = match (links, connected) {
            (0, false) if tried => State::Offline,
            (0, _) => State::Connecting,
            (_, true) if enough => State::Joined,
            _ => State::Degraded,
        };
        let failures = self.all.iter().filter(|known| known.connected);
        let failures: Vec<String> = failures
            .filter_map(|known| Some(format!("{} says: {}", known.url, known.failure.as_ref()?)))
            .collect();
        let mut parts = Vec::new();
        if links > 0 {
            parts.push(format!("{links} of {max_peers} links"));
        }
        if !connected {
            parts.push(self.unreached());
        } else if links == 0 {
            match self.others() {
                Some(0) => parts.push("nobody else is here yet".to_owned()),
                Some(1) => parts.push("one other peer is here".to_owned()),
                Some(others) => parts.push(format!("{others} other peers are here")),
                None if failures.is_empty() => parts.push("announcing".to_owned()),
                None => {}
            }
        }
        // A wrong password shows here.
        self.refused = self.refused.filter(|_| links == 0);
        if let Some(refused) = self.refused {
            parts.push(format!("the last link was refused: {refused}"));
        }
        parts.extend(failures);
        Status {
            state,
            reason: parts.join(", "),
            links,
            trackers: self.all.iter().filter(|known| known.connected).count(),
        }
    }

    fn unreached(&self) -> String {
        let several: Vec<_> = self
            .all
            .iter()
            .filter_map(|known| Some((&known.url, known.lost.as_ref()?)))
            .collect();
        match several.as_slice() {
            [] => {
                let urls: Vec<&str> = self.all.iter().map(|known| known.url.as_str()).collect();
                format!("trying {}", urls.join(", "))
            }
            [(_, why)] if self.all.len() == 1 => format!("no tracker reached: {}", in_words(why)),
            several => {
                let each = several
                    .iter()
                    .map(|(url, why)| format!("{url}: {}", in_words(why)));
                let each: Vec<String> = each.collect();
                format!("no tracker reached: {}", each.join("; "))
            }
        }
    }
}

fn in_words((error, retry_in): &(String, Option<Duration>)) -> String {
    match retry_in {
        Some(time) => format!("{error}, retrying in {} s", time.as_millis().div_ceil(1000)),
        None => error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use easypeers_core::tracker::TrackerId;
    use easypeers_proto::crypto::admission::AuthError;

    fn trackers(urls: &[&str]) -> TrackerStatus {
        let urls: Vec<TrackerUrl> = urls.iter().map(|url| url.parse().unwrap()).collect();
        TrackerStatus::new(&urls)
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
        let said = |trackers: &mut TrackerStatus, links| {
            let status = trackers.status(links, 6);
            (status.state, status.reason)
        };
        let (state, reason) = said(&mut trackers, 0);
        assert_eq!(state, State::Connecting);
        assert_eq!(reason, "trying ws://localhost:3000");
        trackers.note(&lost(0, 8));
        let expected = "no tracker reached: connection refused, retrying in 8 s";
        assert_eq!(
            said(&mut trackers, 0),
            (State::Offline, expected.to_owned())
        );
        let expected = format!("4 of 6 links, {expected}");
        assert_eq!(said(&mut trackers, 4), (State::Degraded, expected));
        trackers.note(&TrackerEvent::Lost {
            tracker: TrackerId::new(0),
            error: "switched off here".to_owned(),
            retry_in: None,
        });
        let expected = "no tracker reached: switched off here".to_owned();
        assert_eq!(said(&mut trackers, 0), (State::Offline, expected));
        trackers.note(&TrackerEvent::Connected(TrackerId::new(0)));
        assert_eq!(
            said(&mut trackers, 0),
            (State::Connecting, "announcing".to_owned())
        );
        let failure = TrackerEvent::Failure {
            tracker: TrackerId::new(0),
            reason: "ask the owner".to_owned(),
        };
        trackers.note(&failure);
        let expected = "ws://localhost:3000 says: ask the owner";
        assert_eq!(
            said(&mut trackers, 0),
            (State::Connecting, expected.to_owned())
        );
        let expected = format!("4 of 6 links, {expected}");
        assert_eq!(said(&mut trackers, 4), (State::Joined, expected));
        trackers.note(&announced(1));
        let expected = "nobody else is here yet".to_owned();
        assert_eq!(said(&mut trackers, 0), (State::Connecting, expected));
        trackers.note(&announced(2));
        assert_eq!(
            said(&mut trackers, 1),
            (State::Joined, "1 of 6 links".to_owned())
        );
        trackers.note_refused(AuthError::WrongTopicKey.into());
        let expected = "one other peer is here, the last link was refused: topic proof does not fit: \
                        another topic or password";
        assert_eq!(
            said(&mut trackers, 0),
            (State::Connecting, expected.to_owned())
        );
        trackers.note(&announced(20));
        assert_eq!(
            said(&mut trackers, 2),
            (State::Degraded, "2 of 6 links".to_owned())
        );
        assert_eq!(
            said(&mut trackers, 3),
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
        let status = trackers.status(3, 6);
        assert_eq!(
            (status.state, &*status.reason),
            (State::Joined, "3 of 6 links")
        );
        // The list of trackers still says it.
        let trouble = trackers.list().into_iter().map(|tracker| tracker.trouble);
        let refused = "connection refused, retrying in 2 s".to_owned();
        assert_eq!(trouble.collect::<Vec<_>>(), [Some(refused), None]);
    }
}
