//! Trackers: one task and one WebSocket for each, so that a dead one never delays the others.
//!
//! In go announces with offers, answers and how much the peer misses; out come [`TrackerEvent`]s.
//! A task reconnects with growing pauses, and says when it is time to announce. The dialect is that
//! of docs/protocol.md.

pub(crate) mod schedule;
mod socket;
#[cfg(test)]
mod tests;
mod url;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::RngExt;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::value::RawValue;
use shared::tracker::client::{Announce, Answer, ClientMessage, Event, Offer};
use shared::tracker::server::ServerMessage;
use shared::{InfoHash, OfferId, PeerId};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use schedule::{Backoff, Schedule};
use socket::Socket;

pub(crate) use schedule::Need;
pub use url::{TrackerUrl, TrackerUrlError};

use crate::link::IceServer;
use crate::rt::{self, Clock};

/// Public trackers that take anybody. They come and go; whoever needs one to stay runs one.
pub const PUBLIC_TRACKERS: [&str; 4] = [
    "wss://tracker.openwebtorrent.com",
    "wss://tracker.webtorrent.dev",
    "wss://tracker.btorrent.xyz",
    "wss://tracker.files.fm:7073/announce",
];

/// Commands that wait for one tracker's task.
const COMMANDS: usize = 64;

/// Events of all trackers that wait for the node.
const EVENTS: usize = 256;

/// Nothing heard for so long: the connection is dead. Pings go out three times in that time.
const SILENCE: Duration = Duration::from_secs(150);
const PING: Duration = Duration::from_secs(50);

/// Time for a tracker to take one message.
const SEND: Duration = Duration::from_secs(10);

/// A connection that lasted so long was a good one: the next pause is short again.
const GOOD: Duration = Duration::from_secs(30);

/// Most STUN and TURN servers taken from a tracker, and most URLs of one: every connection asks each
/// of them, and the tracker shall not choose how many hosts that are.
const ICE_SERVERS: usize = 8;

/// Characters of a tracker's reason that are passed on: people read them.
const REASON: usize = 200;

/// Time to say goodbye.
const STOP: Duration = Duration::from_secs(1);

/// A tracker, by its place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TrackerId(usize);

impl TrackerId {
    #[cfg(any(test, feature = "sim"))]
    pub(crate) const fn new(index: usize) -> Self {
        Self(index)
    }

    pub(crate) const fn index(self) -> usize {
        self.0
    }
}

/// What happens at a tracker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TrackerEvent {
    Connected(TrackerId),
    Lost {
        tracker: TrackerId,
        error: String,
        retry_in: Duration,
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
    Need(Need),
    Interval(Duration),
}

/// All trackers of a peer. Dropped, its tasks end without a word.
#[derive(Debug)]
pub(crate) struct Trackers {
    tasks: Vec<mpsc::Sender<Command>>,
    /// Closed when all tasks have ended.
    ended: mpsc::Receiver<()>,
    stop: tokio::sync::watch::Sender<bool>,
}

impl Trackers {
    /// Starts a task for each tracker.
    pub(crate) fn spawn(
        urls: &[TrackerUrl],
        info_hash: InfoHash,
        peer_id: PeerId,
        timeout: Duration,
        extra_roots: &[CertificateDer<'static>],
    ) -> (Self, mpsc::Receiver<TrackerEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let (alive, ended) = mpsc::channel(1);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let tls = socket::tls(extra_roots);
        let tasks = urls.iter().enumerate().map(|(index, url)| {
            let (sender, commands) = mpsc::channel(COMMANDS);
            let task = Task {
                id: TrackerId(index),
                url: url.clone(),
                info_hash,
                peer_id,
                tls: Arc::clone(&tls),
                commands,
                events: events.clone(),
                schedule: Schedule::new(timeout, Need::Alone),
                clock: Clock::start(),
                joined: false,
            };
            let mut stopped = stopped.clone();
            let alive = alive.clone();
            rt::spawn(async move {
                task.run(&mut stopped).await;
                drop(alive);
            });
            sender
        });
        let trackers = Self {
            tasks: tasks.collect(),
            ended,
            stop,
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

    /// How many links are missing; a peer that is alone announces at once.
    pub(crate) fn set_need(&self, need: Need) {
        for tracker in 0..self.tasks.len() {
            self.tell(TrackerId(tracker), Command::Need(need));
        }
    }

    /// The user's time between two announces.
    pub(crate) fn set_interval(&self, interval: Duration) {
        for tracker in 0..self.tasks.len() {
            self.tell(TrackerId(tracker), Command::Interval(interval));
        }
    }

    /// A task that takes no commands is stuck in a connection that will be given up; what it misses
    /// is asked for again.
    fn tell(&self, tracker: TrackerId, command: Command) {
        if let Some(task) = self.tasks.get(tracker.0) {
            let _ = task.try_send(command);
        }
    }

    /// Leaves the swarm at every tracker that can be reached, in at most a second.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        rt::timeout(STOP, self.ended.recv()).await;
    }
}

/// What the tracker's host names as STUN and TURN servers at `/ice.json`: a list of them, or an
/// object with the list as `iceServers`. `None` if it names none.
pub(crate) async fn ice_servers(url: &TrackerUrl) -> Option<Vec<IceServer>> {
    let body = socket::get(url, "/ice.json", &socket::tls(&[])).await?;
    let json: serde_json::Value = serde_json::from_slice(&body).ok()?;
    let list = json.get("iceServers").unwrap_or(&json);
    let mut servers = Vec::<IceServer>::deserialize(list).ok()?;
    servers.truncate(ICE_SERVERS);
    for server in &mut servers {
        server.urls.truncate(ICE_SERVERS);
    }
    (!servers.is_empty()).then_some(servers)
}

struct Task {
    id: TrackerId,
    url: TrackerUrl,
    info_hash: InfoHash,
    peer_id: PeerId,
    tls: Arc<ClientConfig>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<TrackerEvent>,
    schedule: Schedule,
    clock: Clock,
    /// Whether this connection has announced.
    joined: bool,
}

/// The handle is gone, or told us to leave.
struct Left;

impl Task {
    async fn run(mut self, stop: &mut tokio::sync::watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        loop {
            let connected = tokio::select! {
                connected = socket::connect(&self.url, &self.tls) => connected,
                () = told(stop) => return,
            };
            let since = self.clock.now();
            let error = match connected {
                Err(error) => error,
                Ok(mut socket) => match self.serve(&mut socket, stop).await {
                    Ok(error) => error,
                    Err(Left) => {
                        self.leave(&mut socket).await;
                        return;
                    }
                },
            };
            if self.clock.now().saturating_sub(since) > GOOD {
                backoff.reset();
            }
            let retry_in = backoff.next(self.schedule.need(), rand::rng().random());
            let lost = TrackerEvent::Lost {
                tracker: self.id,
                error,
                retry_in,
            };
            if self.events.send(lost).await.is_err() {
                return;
            }
            if self.pause(retry_in, stop).await.is_err() {
                return;
            }
        }
    }

    /// Waits; what is wanted of the tracker meanwhile is noted or void.
    async fn pause(
        &mut self,
        time: Duration,
        stop: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), Left> {
        let over = rt::sleep(time);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                () = told(stop) => return Err(Left),
                command = self.commands.recv() => self.note(&command.ok_or(Left)?),
            }
        }
    }

    fn note(&mut self, command: &Command) {
        let (now, random) = (self.clock.now(), rand::rng().random());
        match command {
            Command::Need(need) => self.schedule.set_need(*need, now, random),
            Command::Interval(interval) => self.schedule.set_own(*interval, now, random),
            Command::Announce(_) | Command::Answer { .. } => {}
        }
    }

    /// One connection, until it ends: why.
    async fn serve(
        &mut self,
        socket: &mut Socket,
        stop: &mut tokio::sync::watch::Receiver<bool>,
    ) -> Result<String, Left> {
        self.joined = false;
        self.schedule.connected(self.clock.now());
        self.tell(TrackerEvent::Connected(self.id)).await?;
        let mut heard = self.clock.now();
        let mut pinged = heard;
        loop {
            let now = self.clock.now();
            let wake = self.schedule.due().min(pinged + PING).saturating_sub(now);
            let message = tokio::select! {
                received = socket.next() => {
                    heard = self.clock.now();
                    match received {
                        Some(Ok(Message::Text(text))) => self.on_text(&text).await?,
                        Some(Ok(Message::Close(frame))) => {
                            let reason = frame.map(|frame| frame.reason.to_string());
                            let reason = reason.filter(|reason| !reason.is_empty());
                            return Ok(reason.unwrap_or_else(|| "closed by the tracker".to_owned()));
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Ok(error.to_string()),
                        None => return Ok("closed by the tracker".to_owned()),
                    }
                    None
                }
                command = self.commands.recv() => {
                    let command = command.ok_or(Left)?;
                    self.note(&command);
                    self.message(command)
                }
                () = told(stop) => return Err(Left),
                () = rt::sleep(wake) => {
                    let now = self.clock.now();
                    if now >= heard + SILENCE {
                        return Ok("it fell silent".to_owned());
                    }
                    if now >= self.schedule.due() {
                        self.schedule.asked(now);
                        self.tell(TrackerEvent::Due(self.id)).await?;
                    }
                    (now >= pinged + PING).then(|| {
                        pinged = now;
                        Message::Ping(Vec::new().into())
                    })
                }
            };
            if let Some(message) = message {
                match rt::timeout(SEND, socket.send(message)).await {
                    Some(Ok(())) => {}
                    Some(Err(error)) => return Ok(error.to_string()),
                    None => return Ok("it does not read".to_owned()),
                }
            }
        }
    }

    fn message(&mut self, command: Command) -> Option<Message> {
        let json = match command {
            Command::Announce(offers) => {
                let event = if self.joined {
                    Event::Update
                } else {
                    Event::Started
                };
                self.joined = true;
                self.schedule
                    .announced(self.clock.now(), rand::rng().random());
                self.announce(event, &offers)
            }
            Command::Answer { to, offer_id, sdp } => {
                let answer = description("answer", &sdp)?;
                json(&ClientMessage::Answer(Answer {
                    info_hash: self.info_hash,
                    peer_id: self.peer_id,
                    to_peer_id: to,
                    offer_id,
                    answer: &answer,
                }))
            }
            Command::Need(_) | Command::Interval(_) => return None,
        };
        Some(Message::text(json))
    }

    fn announce(&self, event: Event, offers: &[(OfferId, Arc<str>)]) -> String {
        let offers: Vec<(OfferId, Box<RawValue>)> = offers
            .iter()
            .filter_map(|(id, sdp)| Some((*id, description("offer", sdp)?)))
            .collect();
        json(&ClientMessage::Announce(Announce {
            info_hash: self.info_hash,
            peer_id: self.peer_id,
            event,
            complete: false,
            numwant: Some(offers.len()),
            offers: offers
                .iter()
                .map(|(offer_id, offer)| Offer {
                    offer_id: *offer_id,
                    offer,
                })
                .collect(),
            offers_skipped: 0,
        }))
    }

    async fn on_text(&mut self, text: &str) -> Result<(), Left> {
        #[derive(Deserialize)]
        struct Description {
            sdp: String,
        }
        let sdp = |raw: &RawValue| {
            serde_json::from_str::<Description>(raw.get()).map(|description| description.sdp)
        };
        let tracker = self.id;
        let event = match ServerMessage::decode(text) {
            Ok(ServerMessage::Announced {
                info_hash,
                interval,
                complete,
                incomplete,
            }) if info_hash == self.info_hash => {
                self.schedule.interval(Duration::from_secs(interval.into()));
                TrackerEvent::Announced {
                    tracker,
                    complete,
                    incomplete,
                }
            }
            Ok(ServerMessage::Offer {
                info_hash,
                peer_id: peer,
                offer_id,
                offer,
            }) if info_hash == self.info_hash => match sdp(offer) {
                Ok(sdp) => TrackerEvent::Offer {
                    tracker,
                    peer,
                    offer_id,
                    sdp,
                },
                Err(_) => return Ok(()),
            },
            Ok(ServerMessage::Answer {
                info_hash,
                peer_id: peer,
                offer_id,
                answer,
            }) if info_hash == self.info_hash => match sdp(answer) {
                Ok(sdp) => TrackerEvent::Answer {
                    tracker,
                    peer,
                    offer_id,
                    sdp,
                },
                Err(_) => return Ok(()),
            },
            Ok(ServerMessage::Failure { reason, .. }) => TrackerEvent::Failure {
                tracker,
                reason: reason.chars().take(REASON).collect(),
            },
            Ok(_) => return Ok(()),
            Err(error) => {
                tracing::debug!(%error, tracker = tracker.0, "message not understood");
                return Ok(());
            }
        };
        self.tell(event).await
    }

    async fn tell(&self, event: TrackerEvent) -> Result<(), Left> {
        self.events.send(event).await.map_err(|_| Left)
    }

    /// Leaves the swarm and the tracker.
    async fn leave(&self, socket: &mut Socket) {
        let farewell = async {
            if self.joined {
                let stopped = self.announce(Event::Stopped, &[]);
                socket.send(Message::text(stopped)).await?;
            }
            socket.close(None).await
        };
        let _ = rt::timeout(STOP, farewell).await;
    }
}

/// Returns when we are told to leave, or nobody is left to tell us.
async fn told(stop: &mut tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn json(message: &ClientMessage<'_>) -> String {
    let mut bytes = Vec::new();
    message.write_json(&mut bytes);
    // Ids are written as escapes or two-byte characters, everything else is text already.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A session description as `RTCSessionDescription` has it in JSON.
fn description(kind: &str, sdp: &str) -> Option<Box<RawValue>> {
    let value = serde_json::json!({ "type": kind, "sdp": sdp });
    serde_json::value::to_raw_value(&value).ok()
}
