//! Our own broadcasts: signed here, in one message or as a manifest with pieces.

use std::collections::HashMap;
use std::sync::Arc;

use easypeers_proto::MessageId;
use easypeers_proto::crypto::envelope::{Content, Draft, Kind};
use easypeers_proto::crypto::manifest::{CHUNK, Manifest};

use super::Reply;
use super::swarm::Swarm;
use crate::model::{Data, Event, Message, SendError};
use crate::rt;
use easypeers_core::mesh::Input;
use easypeers_core::mesh::message::Signed;

/// Largest broadcast that travels in one message; the size of a piece of a larger one.
const WHOLE: usize = CHUNK;

/// What is ours in the swarm.
#[derive(Debug, Default)]
pub(super) struct Author {
    sequence: u64,
    /// Who waits to hear that a broadcast is on its way.
    waiting: HashMap<MessageId, Reply<Result<MessageId, SendError>>>,
}

impl Author {
    pub(super) fn not_published(&mut self, id: MessageId, error: SendError) {
        self.answer(id, Err(error));
    }

    fn answer(&mut self, id: MessageId, result: Result<MessageId, SendError>) {
        if let Some(reply) = self.waiting.remove(&id) {
            // Who gave up waiting is no concern.
            let _ = reply.send(result);
        }
    }

    /// Nothing is published any more.
    pub(super) fn give_up(&mut self) {
        for (_, reply) in self.waiting.drain() {
            let error = SendError::NotConnected("this peer left the swarm".to_owned());
            let _ = reply.send(Err(error));
        }
    }
}

pub(super) const fn content(data: &Data) -> Content {
    match data {
        Data::Text(_) => Content::Text,
        Data::Binary(_) => Content::Binary,
    }
}

impl Swarm {
    pub(super) fn broadcast(&mut self, data: &Data, reply: Reply<Result<MessageId, SendError>>) {
        let bytes = data.as_bytes();
        let (signed, chunks) = if bytes.len() <= WHOLE {
            (
                self.sign(Kind::Broadcast, content(data), &[], bytes),
                Vec::new(),
            )
        } else {
            let manifest = Manifest::encode(bytes);
            let chunks = bytes.chunks(CHUNK).map(Arc::from).collect();
            (
                self.sign(Kind::Manifest, content(data), &[], &manifest),
                chunks,
            )
        };
        let message = match signed {
            Ok(message) => Arc::new(message),
            Err(error) => {
                let _ = reply.send(Err(error));
                return;
            }
        };
        self.author.waiting.insert(message.id, reply);
        self.stats.messages_sent += 1;
        self.view_soon();
        self.mesh_input(Input::Publish { message, chunks });
    }

    /// The mesh wants a sign of life.
    pub(super) fn publish_beacon(&mut self) {
        if let Ok(message) = self.sign(Kind::Beacon, Content::Binary, &[], &[]) {
            let (message, chunks) = (Arc::new(message), Vec::new());
            self.mesh_input(Input::Publish { message, chunks });
        }
    }

    /// A message of ours is on its way: to members by the mesh, to originals here.
    pub(super) fn on_published(&mut self, message: &Signed) {
        self.bridge(message);
        self.author.answer(message.id, Ok(message.id));
    }

    /// Signs a message of ours.
    pub(super) fn sign(
        &mut self,
        kind: Kind,
        content: Content,
        recipients: &[easypeers_proto::PeerId],
        payload: &[u8],
    ) -> Result<Signed, SendError> {
        self.author.sequence += 1;
        let draft = Draft {
            kind,
            content,
            epoch: self.clock.started_ms(),
            sequence: self.author.sequence,
            time_ms: self.clock.wall_ms(),
            recipients,
            nonce: rt::random(),
            payload,
        };
        let bytes: Arc<[u8]> = draft.sign(&self.credentials.identity).into();
        // Every draft is within the limits by now: the size was checked when it was handed in.
        Signed::decode(&bytes).map_err(|_| SendError::TooLong(payload.len()))
    }

    /// Gives a broadcast to the application.
    pub(super) fn deliver(&mut self, message: &Signed, hops: u8, bytes: Vec<u8>) {
        let Some(data) = to_data(message.content, bytes) else {
            self.stats.rejected += 1;
            return;
        };
        self.hand_over(Message {
            id: message.id,
            from: message.origin,
            data,
            direct: false,
            verified: message.kind != Kind::Bridged,
            hops: hops.into(),
            time_ms: message.time_ms,
        });
    }

    pub(super) fn hand_over(&mut self, message: Message) {
        self.stats.messages_received += 1;
        self.tell(Event::Message(message));
    }
}

/// What the application gets; `None` for a text that is not UTF-8.
pub(super) fn to_data(content: Content, bytes: Vec<u8>) -> Option<Data> {
    match content {
        Content::Text => String::from_utf8(bytes).ok().map(Data::from),
        Content::Binary => Some(bytes.into()),
    }
}
