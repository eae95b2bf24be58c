//! Trackers. Each has a task and a WebSocket of its own, so a dead one never delays the others.
//!
//! Takes announces with offers, answers, and how many links the peer needs. Returns
//! [`TrackerEvent`]s. A task reconnects with growing pauses, and says when it is time to announce. The
//! dialect is that of docs/protocol.md.
//!
//! - `task`: one tracker's connections, one after the other.
//! - `socket`: the WebSocket, native and in a browser.
//!
//! `easypeers_core::schedule` decides when to announce and when to connect again.

mod socket;
mod task;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::{InfoHash, OfferId, PeerId};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use easypeers_core::schedule::Schedule;
use socket::Connector;
use task::Task;

pub use crate::model::{TrackerUrl, TrackerUrlError};
pub(crate) use easypeers_core::schedule::Deficit;
pub(crate) use easypeers_core::tracker::TrackerId;

use crate::model::IceServer;
use crate::rt::{self, Clock};

/// Public trackers that anyone may use. They may disappear; to rely on a tracker, run one.
pub const PUBLIC_TRACKERS: [&str; 4] = [
    "wss://tracker.openwebtorrent.com",
    "wss://tracker.webtorrent.dev",
    "wss://tracker.btorrent.xyz",
    "wss://tracker.files.fm:7073/announce",
];

/// Commands that wait for one tracker's task.
const COMMANDS: usize = 64;

/// Events of all trackers that wait for the driver.
const EVENTS: usize = 256;

/// Most STUN and TURN servers taken from a tracker, and most URLs of each. Every connection contacts
/// all of them, so the tracker must not choose how many.
const ICE_SERVERS: usize = 8;

/// Time to say goodbye.
const STOP: Duration = Duration::from_secs(1);

/// What happens at a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrackerEvent {
    Connected(TrackerId),
    Lost {
        tracker: TrackerId,
        error: String,
        /// `None` while trackers are switched off.
        retry_in: Option<Duration>,
    },
    /// Time to announce.
    Due(TrackerId),
    /// It took an announce.
    Announced {
        tracker: TrackerId,
        complete: u32,
        incomplete: u32,
    },
    Offer {
        tracker: TrackerId,
        peer: PeerId,
        offer_id: OfferId,
        sdp: String,
    },
    Answer {
        tracker: TrackerId,
        peer: PeerId,
        offer_id: OfferId,
        sdp: String,
    },
    /// It refused something.
    Failure {
        tracker: TrackerId,
        reason: String,
    },
}

impl TrackerEvent {
    pub(crate) const fn tracker(&self) -> TrackerId {
        match self {
            Self::Connected(tracker)
            | Self::Due(tracker)
            | Self::Lost { tracker, .. }
            | Self::Announced { tracker, .. }
            | Self::Offer { tracker, .. }
            | Self::Answer { tracker, .. }
            | Self::Failure { tracker, .. } => *tracker,
        }
    }
}

#[derive(Debug)]
enum Command {
    Announce(Vec<(OfferId, Arc<str>)>),
    Answer {
        to: PeerId,
        offer_id: OfferId,
        sdp: String,
    },
    Deficit(Deficit),
    Interval(Duration),
}

/// What the driver wants from the trackers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    /// Stay connected.
    Use,
    /// Disconnect for now.
    Rest,
    /// Leave the swarm and end.
    Leave,
}

type Wishes = watch::Receiver<Wish>;

/// All trackers of a peer. When it is dropped, its tasks end without leaving the swarm.
#[derive(Debug)]
pub(crate) struct Trackers {
    tasks: Vec<mpsc::Sender<Command>>,
    /// Closed when all tasks have ended.
    ended: mpsc::Receiver<()>,
    wish: watch::Sender<Wish>,
}

impl Trackers {
    /// Starts a task for each tracker.
    pub(crate) fn spawn(
        urls: &[TrackerUrl],
        info_hash: InfoHash,
        peer_id: PeerId,
        timeout: Duration,
    ) -> (Self, mpsc::Receiver<TrackerEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (alive, ended) = mpsc::channel(1);
        let (wish, wishes) = watch::channel(Wish::Use);
        let connector = Connector::new();
        let tasks = urls.iter().enumerate().map(|(index, url)| {
            let (sender, commands) = mpsc::channel(COMMANDS);
            let task = Task {
                id: TrackerId::new(index),
                url: url.clone(),
                info_hash,
                peer_id,
                connector: connector.clone(),
                commands,
                events: events.clone(),
                schedule: Schedule::new(timeout, Deficit::Alone),
                clock: Clock::start(),
                joined: false,
            };
            let mut wishes = wishes.clone();
            let alive = alive.clone();
            rt::spawn(async move {
                task.run(&mut wishes).await;
                drop(alive);
            });
            sender
        });
        let trackers = Self {
            tasks: tasks.collect(),
            ended,
            wish,
        };
        (trackers, receiver)
    }

    /// Announces with these offers.
    pub(crate) fn announce(&self, tracker: TrackerId, offers: Vec<(OfferId, Arc<str>)>) {
        self.tell(tracker, Command::Announce(offers));
    }

    /// Answers an offer.
    pub(crate) fn answer(&self, tracker: TrackerId, to: PeerId, offer_id: OfferId, sdp: String) {
        self.tell(tracker, Command::Answer { to, offer_id, sdp });
    }

    /// Sets how many links are missing. A peer without links announces at once.
    pub(crate) fn set_deficit(&self, deficit: Deficit) {
        for tracker in 0..self.tasks.len() {
            self.tell(TrackerId::new(tracker), Command::Deficit(deficit));
        }
    }

    /// Sets the user's time between two announces.
    pub(crate) fn set_interval(&self, interval: Duration) {
        for tracker in 0..self.tasks.len() {
            self.tell(TrackerId::new(tracker), Command::Interval(interval));
        }
    }

    /// Connects at once, or closes the connections and makes no new ones.
    pub(crate) fn use_them(&self, use_them: bool) {
        let wish = if use_them { Wish::Use } else { Wish::Rest };
        self.wish.send_replace(wish);
    }

    /// If the queue is full, the task is stuck in a connection that it will give up. What it misses is
    /// asked for again.
    fn tell(&self, tracker: TrackerId, command: Command) {
        if let Some(task) = self.tasks.get(tracker.index()) {
            let _ = task.try_send(command);
        }
    }

    /// Leaves the swarm at every tracker that can be reached. Takes at most a second.
    pub(crate) async fn stop(mut self) {
        self.wish.send_replace(Wish::Leave);
        rt::timeout(STOP, self.ended.recv()).await;
    }
}

/// The STUN and TURN servers that the tracker's host names at `/ice.json`: a list, or an object with
/// the list as `iceServers`. `None` if it names none.
pub(crate) async fn ice_servers(url: &TrackerUrl) -> Option<Vec<IceServer>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Named {
        ice_servers: Vec<IceServer>,
    }
    let body = Connector::new().get(url, "/ice.json").await?;
    let body = std::str::from_utf8(&body).ok()?;
    let mut servers = match serde_json::from_str(body) {
        Ok(Named { ice_servers }) => ice_servers,
        Err(_) => serde_json::from_str(body).ok()?,
    };
    servers.truncate(ICE_SERVERS);
    for server in &mut servers {
        server.urls.truncate(ICE_SERVERS);
    }
    (!servers.is_empty()).then_some(servers)
}
