//! A tracker that does what a test says.

use easypeers_proto::tracker::client::ClientMessage;
use easypeers_proto::tracker::server::ServerMessage;
use easypeers_proto::{InfoHash, OfferId, PeerId};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::{RawValue, to_raw_value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use crate::tracker::TrackerUrl;

pub(super) struct Tracker(TcpListener);

impl Tracker {
    pub(super) async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(super) fn url(&self) -> TrackerUrl {
        let address = self.0.local_addr().unwrap();
        format!("ws://{address}").parse().unwrap()
    }

    /// The next peer that connects, with its first announce.
    pub(super) async fn accept(&self) -> Client {
        let (stream, _) = self.0.accept().await.unwrap();
        Self::welcome(stream).await
    }

    /// The same for a peer that also asks for STUN and TURN servers, which gets `ice` as the answer.
    pub(super) async fn accept_naming(&self, ice: &str) -> Client {
        let (mut client, mut asked) = (None, false);
        while client.is_none() || !asked {
            let (mut stream, _) = self.0.accept().await.unwrap();
            let mut start = [0; 14];
            while stream.peek(&mut start).await.unwrap() < start.len() {
                tokio::task::yield_now().await;
            }
            if start == *b"GET /ice.json " {
                // Closing a socket with unread bytes would reset it and lose the answer.
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let answer = format!("HTTP/1.1 200 OK\r\n\r\n{ice}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked = true;
            } else {
                client = Some(Self::welcome(stream).await);
            }
        }
        client.unwrap()
    }

    async fn welcome(stream: TcpStream) -> Client {
        let mut client = Client {
            socket: accept_async(stream).await.unwrap(),
            info_hash: InfoHash::new([0; 20]),
            peer_id: PeerId::new([0; 20]),
            offers: Vec::new(),
        };
        let text = client.text().await;
        let Ok(ClientMessage::Announce(announce)) = ClientMessage::decode(&text) else {
            panic!("{text}");
        };
        client.info_hash = announce.info_hash;
        client.peer_id = announce.peer_id;
        let offers = announce.offers.iter();
        client.offers = offers
            .map(|offer| (offer.offer_id, sdp(offer.offer)))
            .collect();
        client
    }
}

/// One peer at the tracker.
pub(super) struct Client {
    socket: WebSocketStream<TcpStream>,
    info_hash: InfoHash,
    pub(super) peer_id: PeerId,
    /// Of its first announce.
    pub(super) offers: Vec<(OfferId, String)>,
}

impl Client {
    async fn text(&mut self) -> String {
        loop {
            if let Message::Text(text) = self.socket.next().await.unwrap().unwrap() {
                return text.as_str().to_owned();
            }
        }
    }

    async fn say(&mut self, message: &ServerMessage<'_>) {
        let mut json = Vec::new();
        message.write_json(&mut json);
        let text = String::from_utf8(json).unwrap();
        self.socket.send(Message::text(text)).await.unwrap();
    }

    pub(super) async fn answer(&mut self, offer_id: OfferId, peer_id: PeerId, sdp: &str) {
        let answer = to_raw_value(&serde_json::json!({"type": "answer", "sdp": sdp})).unwrap();
        let answer = ServerMessage::Answer {
            info_hash: self.info_hash,
            peer_id,
            offer_id,
            answer: &answer,
        };
        self.say(&answer).await;
    }

    pub(super) async fn offer(&mut self, offer_id: OfferId, peer_id: PeerId, sdp: &str) {
        let offer = to_raw_value(&serde_json::json!({"type": "offer", "sdp": sdp})).unwrap();
        let offer = ServerMessage::Offer {
            info_hash: self.info_hash,
            peer_id,
            offer_id,
            offer: &offer,
        };
        self.say(&offer).await;
    }

    /// The peer's next answer.
    pub(super) async fn answered(&mut self) -> String {
        loop {
            let text = self.text().await;
            if let Ok(ClientMessage::Answer(answer)) = ClientMessage::decode(&text) {
                return sdp(answer.answer);
            }
        }
    }
}

fn sdp(description: &RawValue) -> String {
    let value: serde_json::Value = serde_json::from_str(description.get()).unwrap();
    value["sdp"].as_str().unwrap().to_owned()
}
