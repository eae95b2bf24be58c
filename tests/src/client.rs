//! A WebSocket client of the tracker. A task of its own reads all the time, so that pings are
//! answered and messages wait in order.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use easypeers_proto::tracker::{Action, ScrapeEntry, ServerMessage};
use easypeers_proto::{InfoHash, OfferId, PeerId};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::Response;
use crate::messages::Announce;
use crate::tls::Io;
use crate::wait::within;

type Socket = WebSocketStream<Box<dyn Io>>;

/// Messages that may wait for a test.
const WAITING: usize = 100_000;

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the protocol")]
pub enum Received {
    /// The response to an announce.
    Announced {
        info_hash: InfoHash,
        interval: u32,
        complete: u32,
        incomplete: u32,
    },
    /// Somebody's offer, as raw JSON.
    Offer {
        info_hash: InfoHash,
        peer_id: PeerId,
        offer_id: OfferId,
        offer: String,
    },
    /// The answer to an own offer, as raw JSON.
    Answer {
        info_hash: InfoHash,
        peer_id: PeerId,
        offer_id: OfferId,
        answer: String,
    },
    /// The response to a scrape.
    Scraped(Vec<ScrapeEntry>),
    /// A refusal; the infohash as raw JSON.
    Failure {
        action: Option<&'static str>,
        info_hash: Option<String>,
        reason: String,
    },
    /// The end, with the code of the server's Close; 1006 when there was none.
    Closed { code: u16, reason: String },
}

enum Event {
    Text(String),
    Closed { code: u16, reason: String },
}

/// See the module.
pub struct Client {
    sink: SplitSink<Socket, Message>,
    events: mpsc::Receiver<Event>,
    reader: JoinHandle<()>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Client {
    /// Opens a WebSocket on a connected socket.
    ///
    /// # Errors
    /// What the server answered instead of 101.
    ///
    /// # Panics
    /// When it answered nothing.
    pub async fn upgrade(
        stream: Box<dyn Io>,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Response> {
        let mut request = format!("ws://localhost{path}")
            .into_client_request()
            .expect("a request");
        for &(name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header");
            request.headers_mut().append(name, value);
        }
        let socket = match client_async(request, stream).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                return Err(Response {
                    status: response.status().as_u16(),
                    headers: Vec::new(),
                    body: String::from_utf8_lossy(body).into_owned(),
                });
            }
            Err(error) => panic!("no upgrade: {error}"),
        };
        let (sink, stream) = socket.split();
        let (sender, events) = mpsc::channel(WAITING);
        let reader = tokio::spawn(read(stream, sender));
        Ok(Self {
            sink,
            events,
            reader,
        })
    }

    /// Sends one text message.
    ///
    /// # Panics
    /// When the connection is closed.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.send_message(Message::text(text.into())).await;
    }

    /// Sends any message or frame.
    ///
    /// # Panics
    /// When the connection is closed.
    pub async fn send_message(&mut self, message: Message) {
        let sent = within("room to write", self.sink.send(message)).await;
        sent.expect("an open connection");
    }

    /// Sends any message or frame; whether the connection was open.
    pub async fn try_send(&mut self, message: Message) -> bool {
        within("room to write", self.sink.send(message))
            .await
            .is_ok()
    }

    /// Announces and waits for the response, which must be the next message; its seeders and
    /// leechers.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn announce(&mut self, announce: &Announce) -> (u32, u32) {
        self.send(announce.text()).await;
        match self.next().await {
            Received::Announced {
                complete,
                incomplete,
                ..
            } => (complete, incomplete),
            other => panic!("no response to an announce: {other:?}"),
        }
    }

    /// Scrapes and waits for the response, which must be the next message.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn scrape(&mut self, info_hashes: &[InfoHash]) -> Vec<ScrapeEntry> {
        let message = serde_json::json!({"action": "scrape", "info_hash": info_hashes});
        self.send(message.to_string()).await;
        match self.next().await {
            Received::Scraped(entries) => entries,
            other => panic!("no response to a scrape: {other:?}"),
        }
    }

    /// Shows that nothing waits and that all that was sent is done: a scrape of a swarm that
    /// nobody else asks for is answered next.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn fence(&mut self) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut bytes = [0xfe; 20];
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let info_hash = InfoHash::new(bytes);
        let entries = self.scrape(&[info_hash]).await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].info_hash, info_hash, "an older scrape's answer");
    }

    /// The text of the next message.
    ///
    /// # Panics
    /// When the connection ends instead.
    pub async fn next_text(&mut self) -> String {
        match self.next_event().await {
            Event::Text(text) => text,
            Event::Closed { code, reason } => panic!("closed: {code} {reason}"),
        }
    }

    /// The next message, or the end.
    ///
    /// # Panics
    /// When it is none of the protocol.
    pub async fn next(&mut self) -> Received {
        match self.next_event().await {
            Event::Text(text) => decode(&text),
            Event::Closed { code, reason } => Received::Closed { code, reason },
        }
    }

    /// The next message, which must be a failure: its reason.
    ///
    /// # Panics
    /// When something else comes, or when its shape would hurt a client.
    pub async fn failure(&mut self) -> String {
        match self.next().await {
            Received::Failure {
                action,
                info_hash,
                reason,
            } => {
                let harmful = action == Some("announce") && info_hash.is_none();
                assert!(!harmful, "an announce failure without info_hash: {reason}");
                reason
            }
            other => panic!("no failure: {other:?}"),
        }
    }

    /// Reads on until the server closes; the code.
    pub async fn closed(&mut self) -> u16 {
        loop {
            if let Event::Closed { code, .. } = self.next_event().await {
                return code;
            }
        }
    }

    /// Closes as a browser does and waits for the server's Close.
    pub async fn close(mut self) {
        self.send_message(Message::Close(None)).await;
        self.closed().await;
    }

    async fn next_event(&mut self) -> Event {
        let event = within("a message", self.events.recv()).await;
        event.unwrap_or_else(|| Event::Closed {
            code: 1006,
            reason: "ended before".to_owned(),
        })
    }
}

async fn read(mut stream: SplitStream<Socket>, events: mpsc::Sender<Event>) {
    let (mut code, mut reason) = (1006, String::new());
    while let Some(message) = stream.next().await {
        match message {
            Ok(Message::Text(text)) => {
                let full = events.try_send(Event::Text(text.as_str().to_owned()));
                assert!(full.is_ok(), "a test leaves too many messages");
            }
            Ok(Message::Close(frame)) => {
                let frame = frame.map(|frame| (frame.code.into(), frame.reason.to_string()));
                (code, reason) = frame.unwrap_or((1005, String::new()));
            }
            Ok(_) => {}
            Err(_) => break,
        }
    }
    let _ = events.try_send(Event::Closed { code, reason });
}

fn decode(text: &str) -> Received {
    let message = ServerMessage::decode(text);
    match message.unwrap_or_else(|error| panic!("{error}: {text}")) {
        ServerMessage::Announced {
            info_hash,
            interval,
            complete,
            incomplete,
        } => Received::Announced {
            info_hash,
            interval,
            complete,
            incomplete,
        },
        ServerMessage::Offer {
            info_hash,
            peer_id,
            offer_id,
            offer,
        } => Received::Offer {
            info_hash,
            peer_id,
            offer_id,
            offer: offer.get().to_owned(),
        },
        ServerMessage::Answer {
            info_hash,
            peer_id,
            offer_id,
            answer,
        } => Received::Answer {
            info_hash,
            peer_id,
            offer_id,
            answer: answer.get().to_owned(),
        },
        ServerMessage::Scraped(entries) => Received::Scraped(entries.into_owned()),
        ServerMessage::Failure {
            action,
            info_hash,
            reason,
        } => Received::Failure {
            action: action.map(Action::as_str),
            info_hash: info_hash.map(str::to_owned),
            reason: Cow::into_owned(reason),
        },
    }
}
