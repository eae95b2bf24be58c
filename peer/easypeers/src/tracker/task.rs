//! One tracker: one connection after the other, until the handle is gone or says goodbye.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::tracker::client::{Announce, Answer, ClientMessage, Event, Offer, Scrape};
use easypeers_proto::tracker::server::ServerMessage;
use easypeers_proto::{InfoHash, OfferId, PeerId};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::socket::{Connector, Received, Socket};
use super::{Command, STOP, TrackerEvent, TrackerId, TrackerUrl, Wish, Wishes};
use crate::rt::{self, Clock};
use easypeers_core::schedule::{Backoff, Schedule};

/// A connection is dead when nothing was heard for this long, in which three pings are sent.
const SILENCE: Duration = Duration::from_secs(150);
const PING: Duration = Duration::from_secs(50);

/// Time for a tracker to take one message.
const SEND: Duration = Duration::from_secs(10);

/// After a connection that lasted this long, the next pause is short again.
const GOOD: Duration = Duration::from_secs(30);

/// Characters of a tracker's reason that are kept. People read them.
const REASON: usize = 200;

/// Why a tracker is not connected while trackers are switched off.
const RESTING: &str = "switched off here";

pub(super) struct Task {
    pub(super) id: TrackerId,
    pub(super) url: TrackerUrl,
    pub(super) info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    pub(super) connector: Connector,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Sender<TrackerEvent>,
    pub(super) schedule: Schedule,
    pub(super) clock: Clock,
    /// Whether this connection has announced.
    pub(super) joined: bool,
}

/// The handle is gone or told the task to leave.
struct Left;

impl Task {
    pub(super) async fn run(mut self, wishes: &mut Wishes) {
        let mut backoff = Backoff::default();
        loop {
            let since = self.clock.now();
            let error = match self.connection(wishes).await {
                Ok(error) => error,
                Err(Left) => return,
            };
            if self.clock.now().saturating_sub(since) > GOOD {
                backoff.reset();
            }
            let resting = *wishes.borrow_and_update() == Wish::Rest;
            let retry_in =
                (!resting).then(|| backoff.next(self.schedule.deficit(), rand::rng().random()));
            let lost = TrackerEvent::Lost {
                tracker: self.id,
                error,
                retry_in,
            };
            if self.tell(lost).await.is_err() || self.pause(retry_in, wishes).await.is_err() {
                return;
            }
        }
    }

    /// One connection, from connecting to its end. Returns why it ended.
    async fn connection(&mut self, wishes: &mut Wishes) -> Result<String, Left> {
        let connected = tokio::select! {
            biased;
            wish = unwanted(wishes) => return wish.map(|()| RESTING.to_owned()),
            connected = self.connector.connect(&self.url) => connected,
        };
        let mut socket = match connected {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let served = tokio::select! {
            served = self.serve(&mut socket) => served.map(Some),
            wish = unwanted(wishes) => wish.map(|()| None),
        };
        match served {
            Ok(Some(error)) => Ok(error),
            Ok(None) => {
                self.leave(&mut socket).await;
                Ok(RESTING.to_owned())
            }
            Err(Left) => {
                self.leave(&mut socket).await;
                Err(Left)
            }
        }
    }

    /// Waits for `time`, or until the driver wants something else. Notes commands that outlast a
    /// connection and drops the others.
    async fn pause(&mut self, time: Option<Duration>, wishes: &mut Wishes) -> Result<(), Left> {
        let over = rt::sleep(time.unwrap_or_default());
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over, if time.is_some() => return Ok(()),
                said = wishes.changed() => {
                    said.map_err(|_| Left)?;
                    match *wishes.borrow_and_update() {
                        Wish::Use => return Ok(()),
                        Wish::Rest if time.is_some() => return Ok(()),
                        Wish::Rest => {}
                        Wish::Leave => return Err(Left),
                    }
                }
                command = self.commands.recv() => self.note(&command.ok_or(Left)?),
            }
        }
    }

    fn note(&mut self, command: &Command) {
        let (now, random) = (self.clock.now(), rand::rng().random());
        match command {
            Command::Deficit(deficit) => self.schedule.set_deficit(*deficit, now, random),
            Command::Interval(interval) => self.schedule.set_own_interval(*interval, now, random),
            Command::Announce(_) | Command::Answer { .. } => {}
        }
    }

    /// Serves an open connection. Returns why it ended.
    async fn serve(&mut self, socket: &mut Socket) -> Result<String, Left> {
        self.joined = false;
        self.schedule.connected(self.clock.now());
        self.tell(TrackerEvent::Connected(self.id)).await?;
        let mut heard = self.clock.now();
        let mut pinged = heard;
        loop {
            let now = self.clock.now();
            let wake = self.schedule.due().min(pinged + PING).saturating_sub(now);
            let mut ping = false;
            let message = tokio::select! {
                received = socket.receive() => {
                    heard = self.clock.now();
                    match received {
                        Received::Text(text) => self.on_text(&text).await?,
                        Received::Other => {}
                        Received::Closed(reason) => return Ok(reason),
                    }
                    None
                }
                command = self.commands.recv() => {
                    let command = command.ok_or(Left)?;
                    self.note(&command);
                    self.message(command)
                }
                () = rt::sleep(wake) => {
                    let now = self.clock.now();
                    if now >= heard + SILENCE {
                        return Ok("it fell silent".to_owned());
                    }
                    if now >= self.schedule.due() {
                        self.schedule.asked(now);
                        self.tell(TrackerEvent::Due(self.id)).await?;
                    }
                    ping = now >= pinged + PING;
                    None
                }
            };
            let sent = async {
                if ping {
                    pinged = self.clock.now();
                    socket.ping(|| self.scrape()).await?;
                }
                match message {
                    Some(message) => socket.send(message).await,
                    None => Ok(()),
                }
            };
            match rt::timeout(SEND, sent).await {
                Some(Ok(())) => {}
                Some(Err(error)) => return Ok(error),
                None => return Ok("it does not read".to_owned()),
            }
        }
    }

    /// A question that changes nothing.
    fn scrape(&self) -> String {
        json(&ClientMessage::Scrape(Scrape {
            info_hashes: vec![self.info_hash],
        }))
    }

    fn message(&mut self, command: Command) -> Option<String> {
        Some(match command {
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
            Command::Deficit(_) | Command::Interval(_) => return None,
        })
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
                tracing::debug!(%error, tracker = tracker.index(), "message not understood");
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
                let _ = socket.send(stopped).await;
            }
            socket.close().await;
        };
        rt::timeout(STOP, farewell).await;
    }
}

/// Returns when the tracker is not wanted for now, or fails when the task should leave or the handle
/// is gone.
async fn unwanted(wishes: &mut Wishes) -> Result<(), Left> {
    match wishes.wait_for(|wish| *wish != Wish::Use).await.as_deref() {
        Ok(Wish::Rest) => Ok(()),
        _ => Err(Left),
    }
}

fn json(message: &ClientMessage<'_>) -> String {
    let mut bytes = Vec::new();
    message.write_json(&mut bytes);
    // Ids are written as escapes or two-byte characters, everything else is text already.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A session description as the JSON of an `RTCSessionDescription`.
fn description(kind: &str, sdp: &str) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Description<'a> {
        r#type: &'a str,
        sdp: &'a str,
    }
    serde_json::value::to_raw_value(&Description { r#type: kind, sdp }).ok()
}
