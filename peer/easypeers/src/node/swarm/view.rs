//! What the application is told: the view that it reads, and events.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Swarm;
use crate::model::{Event, PeerInfo, State, Stats, Status};
use crate::rt::Clock;
use crate::tracker::Need;

/// How old the counts in the view may be.
const VIEW_AGE: Duration = Duration::from_millis(250);

impl Swarm {
    pub(super) fn on_neighbors(&mut self) {
        self.tell_need();
        self.write_view();
        self.tell_status();
    }

    pub(in crate::node) fn tell_need(&self) {
        let links = self.mesh.neighbors().count();
        let need = Need::new(links, self.mesh.max_peers(), self.mesh.swarm_size());
        self.trackers.set_need(need);
    }

    /// The state, if it or its reason changed.
    pub(super) fn tell_status(&mut self) {
        let links = self.mesh.neighbors().count();
        let status = self.known.status(links, self.mesh.max_peers());
        if status != self.status {
            self.status = status.clone();
            self.write_view();
            self.tell(Event::State(status));
        }
    }

    pub(in crate::node) fn tell(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.events.send(event);
    }

    /// Messages were lost to a slow neighbour.
    pub(in crate::node) fn count_dropped(&mut self, dropped: u64) {
        if dropped > 0 {
            self.stats.dropped += dropped;
            self.lagged += dropped;
            self.view_soon();
        }
    }

    pub(in crate::node) fn view_soon(&mut self) {
        if self.view_due.is_none() {
            self.view_due = Some(self.clock.now() + VIEW_AGE);
        }
    }

    pub(super) fn write_view(&mut self) {
        self.view_due = None;
        let now = self.clock.now();
        let peers: Vec<PeerInfo> = self
            .mesh
            .neighbors()
            .map(|neighbor| PeerInfo {
                address: neighbor.peer,
                up: now.saturating_sub(neighbor.up_since),
                rtt: neighbor.rtt,
                offered: neighbor.offered,
                compat: neighbor.compat,
                browser: self
                    .link_to(neighbor.peer)
                    .and_then(|link| self.links.get(&link))
                    .is_some_and(|entry| entry.browser),
            })
            .collect();
        let stats = self.stats(peers.len());
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        view.max_peers = self.mesh.max_peers();
        view.timeout = self.timeout;
        view.status = self.status.clone();
        view.peers = peers;
        view.trackers = self.known.list();
        view.stats = stats;
        view.written = Clock::start();
        drop(view);
        let lagged = std::mem::take(&mut self.lagged);
        if lagged > 0 {
            self.tell(Event::Lagged(lagged));
        }
    }

    /// The view of whoever is nowhere: what is read after a close is not what was.
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

    fn stats(&self, links: usize) -> Stats {
        let mesh = self.mesh.counters();
        let order = Ordering::Relaxed;
        Stats {
            links: links as u64,
            members: self.known.members(),
            links_opened: mesh.links_opened,
            connections_created: self.dialing.connections,
            messages_forwarded: mesh.forwarded,
            duplicates: self.stats.duplicates + mesh.duplicates,
            rejected: self.stats.rejected + mesh.rejected,
            bytes_sent: self.traffic.sent.load(order),
            bytes_received: self.traffic.received.load(order),
            ..self.stats.clone()
        }
    }
}
