//! What the application is told: events, and the view that its handles read.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use easypeers_core::mesh::Counters;
use easypeers_core::session::SessionError;
use easypeers_core::time::Now;
use tokio::sync::broadcast;

use super::action::Count;
use super::tracker_status::TrackerStatus;
use crate::model::{Event, Message, PeerInfo, State, Stats, Status, TrackerUrl, View};
use crate::rt::Clock;
use crate::tracker::TrackerEvent;

/// How old the counts in the view may be.
const VIEW_AGE: Duration = Duration::from_millis(250);

/// What the view shows of the other parts.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) max_peers: usize,
    pub(super) peers: Vec<PeerInfo>,
    pub(super) mesh: Counters,
    /// WebRTC connections made so far.
    pub(super) connections: u64,
    /// Bytes sent and received on all links so far.
    pub(super) traffic: (u64, u64),
}

/// Counts, the state in words, and whom to tell.
#[derive(Debug)]
pub(super) struct Report {
    clock: Clock,
    stats: Stats,
    trackers: TrackerStatus,
    /// The state as it was last told.
    status: Status,
    timeout: Duration,
    /// Messages lost to slow neighbours that the application has not been told of.
    lagged: u64,
    /// When the view is written next.
    view_due: Option<Now>,
    view: Arc<RwLock<View>>,
    events: broadcast::Sender<Event>,
}

impl Report {
    pub(super) fn new(
        clock: Clock,
        trackers: &[TrackerUrl],
        (max_peers, timeout): (usize, Duration),
        view: Arc<RwLock<View>>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        let mut trackers = TrackerStatus::new(trackers);
        let stats = Stats {
            links_refused: SessionError::labels().map(|label| (label, 0)).collect(),
            ..Stats::default()
        };
        Self {
            clock,
            stats,
            status: trackers.status(0, max_peers),
            trackers,
            timeout,
            lagged: 0,
            view_due: None,
            view,
            events,
        }
    }

    /// Tells the application what happened.
    pub(super) fn tell(&self, event: Event) {
        // An error here means that there are no subscribers.
        let _ = self.events.send(event);
    }

    /// Gives the application a message.
    pub(super) fn deliver(&mut self, message: Message) {
        self.stats.messages_received += 1;
        self.tell(Event::Message(message));
    }

    pub(super) fn count(&mut self, count: Count) {
        match count {
            Count::Sent => self.stats.messages_sent += 1,
            #[cfg(feature = "compat")]
            Count::Duplicate => self.stats.duplicates += 1,
            Count::Rejected => self.stats.rejected += 1,
            Count::Dropped(0) => {}
            Count::Dropped(dropped) => {
                self.stats.dropped += dropped;
                self.lagged += dropped;
                self.update_view();
            }
        }
    }

    /// A link was refused.
    pub(super) fn on_refused(&mut self, error: SessionError) {
        tracing::debug!(%error, reason = error.label(), "link refused");
        self.stats.rejected += 1;
        *self.stats.links_refused.entry(error.label()).or_default() += 1;
        self.trackers.note_refused(error);
    }

    pub(super) fn on_tracker(&mut self, event: &TrackerEvent) {
        self.trackers.note(event);
    }

    pub(super) const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Why the state is what it is, in words.
    pub(super) fn reason(&self) -> &str {
        &self.status.reason
    }

    /// Works the state out anew: it, if it or its reason changed. The caller writes the view, then
    /// tells.
    pub(super) fn new_status(&mut self, links: usize, max_peers: usize) -> Option<Status> {
        let status = self.trackers.status(links, max_peers);
        (status != self.status).then(|| {
            self.status = status.clone();
            status
        })
    }

    /// The counts have changed: the view is written before long.
    pub(super) fn update_view(&mut self) {
        if self.view_due.is_none() {
            self.view_due = Some(self.clock.now() + VIEW_AGE);
        }
    }

    /// When [`write_view`](Self::write_view) is due.
    pub(super) const fn deadline(&self) -> Option<Now> {
        self.view_due
    }

    pub(super) fn write_view(&mut self, snapshot: Snapshot) {
        self.view_due = None;
        let stats = self.stats(&snapshot);
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.max_peers = snapshot.max_peers;
        view.timeout = self.timeout;
        view.status = self.status.clone();
        view.peers = snapshot.peers;
        view.trackers = self.trackers.list();
        view.stats = stats;
        view.written = Clock::start();
        drop(view);
        let lagged = std::mem::take(&mut self.lagged);
        if lagged > 0 {
            self.tell(Event::Lagged(lagged));
        }
    }

    /// Writes the view of a peer that has left.
    pub(super) fn write_left(&self) {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.peers.clear();
        view.stats.links = 0;
        view.status = Status {
            state: State::Offline,
            reason: "left".to_owned(),
            links: 0,
            trackers: 0,
        };
    }

    fn stats(&self, snapshot: &Snapshot) -> Stats {
        let (bytes_sent, bytes_received) = snapshot.traffic;
        Stats {
            links: snapshot.peers.len() as u64,
            members: self.trackers.members(),
            links_opened: snapshot.mesh.links_opened,
            connections_created: snapshot.connections,
            messages_forwarded: snapshot.mesh.forwarded,
            duplicates: self.stats.duplicates + snapshot.mesh.duplicates,
            rejected: self.stats.rejected + snapshot.mesh.rejected,
            bytes_sent,
            bytes_received,
            ..self.stats.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use easypeers_proto::crypto::admission::AuthError;
    use easypeers_proto::{InfoHash, PeerId};

    use super::*;
    use crate::model::Options;

    fn report() -> (Report, broadcast::Receiver<Event>) {
        let options = Options::default();
        let view = View::new(
            TrackerStatus::new(&options.trackers).status(0, 6),
            Vec::new(),
            PeerId::new([1; 20]),
            InfoHash::new([2; 20]),
            &options,
        );
        let (events, receiver) = broadcast::channel(8);
        let report = Report::new(
            Clock::start(),
            &options.trackers,
            (6, options.timeout),
            Arc::new(RwLock::new(view)),
            events,
        );
        (report, receiver)
    }

    fn snapshot() -> Snapshot {
        Snapshot {
            max_peers: 6,
            peers: Vec::new(),
            mesh: Counters {
                duplicates: 5,
                ..Counters::default()
            },
            connections: 3,
            traffic: (10, 20),
        }
    }

    #[test]
    fn counts_of_all_parts_are_in_the_view() {
        let (mut report, _events) = report();
        report.count(Count::Sent);
        report.on_refused(AuthError::WrongTopicKey.into());
        report.write_view(snapshot());
        let stats = report.view.read().unwrap().stats.clone();
        assert_eq!((stats.messages_sent, stats.duplicates), (1, 5));
        assert_eq!(
            (stats.rejected, stats.links_refused["wrong_topic_key"]),
            (1, 1)
        );
        assert_eq!(
            stats.links_refused["bad_signature"], 0,
            "every reason is there"
        );
        assert_eq!((stats.connections_created, stats.bytes_received), (3, 20));
    }

    #[test]
    fn what_was_dropped_is_told_with_the_next_view() {
        let (mut report, mut events) = report();
        report.count(Count::Dropped(0));
        assert_eq!(report.deadline(), None);
        report.count(Count::Dropped(2));
        report.count(Count::Dropped(1));
        assert!(report.deadline().is_some());
        assert!(events.try_recv().is_err());
        report.write_view(snapshot());
        assert_eq!(events.try_recv(), Ok(Event::Lagged(3)));
        assert_eq!(report.deadline(), None);
    }

    #[test]
    fn a_state_is_told_once() {
        let (mut report, _events) = report();
        assert_eq!(report.new_status(0, 6), None);
        let status = report.new_status(1, 6).unwrap();
        assert_eq!(status.reason, report.reason());
        assert_eq!(report.new_status(1, 6), None);
    }

    #[test]
    fn a_peer_that_left_has_no_links() {
        let (mut report, _events) = report();
        report.write_view(snapshot());
        report.write_left();
        let status = report.view.read().unwrap().status.clone();
        assert_eq!((status.state, &*status.reason), (State::Offline, "left"));
    }
}
