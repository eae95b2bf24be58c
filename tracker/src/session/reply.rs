//! What leaves: messages assembled as frames in the thread's buffer, and refusals in the form that
//! the clients we know survive.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use easypeers_proto::tracker::{Action, ClientMessage, DecodeError, ServerMessage};
use easypeers_proto::{InfoHash, OfferId, PeerId};

use super::Connection;
use crate::hub::Hub;
use crate::metrics::Refused;
use crate::ws::frame::{HEADER_ROOM, finish};
use crate::ws::{Data, OpCode};

/// Bytes that an assembly buffer keeps between messages; a larger one is given back.
const KEEP_BUFFER: usize = 256 * 1024;

thread_local! {
    /// Where outgoing frames are assembled.
    static FRAME: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a failure is about.
#[derive(Clone, Copy, Default)]
pub(super) struct Target<'a> {
    action: Option<Action>,
    info_hash: Option<InfoHash>,
    echo: Option<&'a str>,
}

impl<'a> Target<'a> {
    pub(super) fn announce(info_hash: InfoHash) -> Self {
        Self {
            action: Some(Action::Announce),
            info_hash: Some(info_hash),
            echo: None,
        }
    }

    /// A failure with an action but without an infohash crashes bittorrent-tracker's client, so
    /// that without the one the other is left out too; scrapes excepted.
    pub(super) fn of_error(error: &DecodeError<'a>) -> Self {
        let action = match (error.action, error.info_hash) {
            (action @ Some(Action::Scrape), _) => action,
            (action, Some(_)) => action.or(Some(Action::Announce)),
            (_, None) => None,
        };
        Self {
            action,
            info_hash: None,
            echo: error.info_hash,
        }
    }

    pub(super) fn of(decoded: &Result<ClientMessage<'a>, DecodeError<'a>>) -> Self {
        match decoded {
            Ok(ClientMessage::Announce(announce)) => Self::announce(announce.info_hash),
            Ok(ClientMessage::Answer(answer)) => Self::announce(answer.info_hash),
            Ok(ClientMessage::Scrape(_)) => Self {
                action: Some(Action::Scrape),
                ..Self::default()
            },
            Err(error) => Self::of_error(error),
        }
    }
}

impl Hub {
    pub(super) fn refuse(
        &self,
        connection: &Arc<Connection>,
        target: Target<'_>,
        refused: Refused,
        reason: Cow<'_, str>,
    ) {
        self.metrics.messages_refused.inc(refused);
        tracing::debug!(connection = connection.id(), ?refused);
        self.fail(connection, target, reason);
    }

    pub(super) fn fail(
        &self,
        connection: &Arc<Connection>,
        target: Target<'_>,
        reason: Cow<'_, str>,
    ) {
        let known = target.info_hash.map(|info_hash| {
            let mut json = Vec::new();
            info_hash.write_json(&mut json);
            String::from_utf8(json).unwrap_or_default()
        });
        let info_hash = target.echo.or(known.as_deref());
        let action = target.action;
        self.send(
            connection,
            &ServerMessage::Failure {
                action,
                info_hash,
                reason,
            },
        );
    }

    pub(crate) fn send(&self, connection: &Connection, message: &ServerMessage<'_>) -> bool {
        Self::with_frame(message, |frame| {
            let sent = connection.send(frame);
            if sent {
                self.metrics.sent_bytes.inc_by(frame.len() as u64);
            }
            sent
        })
    }

    /// Assembles a message as one frame in the thread's buffer.
    pub(crate) fn with_frame<T>(message: &ServerMessage<'_>, write: impl FnOnce(&[u8]) -> T) -> T {
        FRAME.with_borrow_mut(|buffer| {
            buffer.clear();
            buffer.resize(HEADER_ROOM, 0);
            message.write_json(buffer);
            let frame = finish(buffer, OpCode::Data(Data::Text));
            let result = write(frame);
            if buffer.capacity() > KEEP_BUFFER {
                *buffer = Vec::new();
            }
            result
        })
    }

    /// What an answer must match: the swarm, who was given the offer, who made it, and its id.
    pub(crate) fn offer_key(
        &self,
        swarm: &InfoHash,
        to: &PeerId,
        from: &PeerId,
        offer: &OfferId,
    ) -> u64 {
        use std::hash::BuildHasher;
        self.offers.hash_one((swarm, to, from, offer))
    }
}
