//! Client to tracker: announce, answer, scrape. Decoding borrows from the text and tolerates what real
//! clients send. A decoded message is valid in every field.

use serde::Deserializer;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::fields::FieldsVisitor;
use super::{Action, DecodeError, RejectReason};
use crate::{InfoHash, OfferId, PeerId};

/// A message from a client, valid in every field.
#[derive(Debug, Clone)]
pub enum ClientMessage<'a> {
    /// Joins, refreshes or leaves a swarm. May carry offers.
    Announce(Announce<'a>),
    /// Answers an offer that the tracker relayed.
    Answer(Answer<'a>),
    /// Asks for the number of peers in swarms.
    Scrape(Scrape),
}

/// `action: "announce"` without an answer.
#[derive(Debug, Clone)]
pub struct Announce<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The announcing peer.
    pub peer_id: PeerId,
    /// What happened. [`Event::Update`] if the message does not say.
    pub event: Event,
    /// Whether the peer is a seeder, which says `left: 0`. A null, absent or negative `left` means
    /// unknown and counts as a leecher.
    pub complete: bool,
    /// How many offers the client wants to be relayed. `None` if it did not send a whole number of at
    /// least 0.
    pub numwant: Option<usize>,
    /// The well-formed offers in order, at most [`crate::limits::MAX_OFFERS`].
    pub offers: Vec<Offer<'a>>,
    /// Number of items of `offers` that were malformed or above that limit.
    pub offers_skipped: usize,
}

/// One item of `offers`.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// Chosen by the client. The answer repeats it.
    pub offer_id: OfferId,
    /// The session description as the client wrote it.
    pub offer: &'a RawValue,
}

/// `action: "announce"` with an answer.
#[derive(Debug, Clone)]
pub struct Answer<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The answering peer.
    pub peer_id: PeerId,
    /// The peer that made the offer.
    pub to_peer_id: PeerId,
    /// The offer that is answered.
    pub offer_id: OfferId,
    /// The session description as the client wrote it.
    pub answer: &'a RawValue,
}

/// `action: "scrape"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// The swarms asked for: 1 to [`crate::limits::MAX_SCRAPE`].
    pub info_hashes: Vec<InfoHash>,
}

/// `event` of an announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// The peer joins.
    Started,
    /// The peer leaves.
    Stopped,
    /// The peer has become a seeder.
    Completed,
    /// The peer stays but does not download (BEP 21, sent by libtorrent).
    Paused,
    /// The periodic refresh. The field is absent, null, `""`, `empty` or `update`.
    Update,
}

impl Event {
    /// Every event, to initialise counters.
    pub const ALL: [Self; 5] = [
        Self::Started,
        Self::Stopped,
        Self::Completed,
        Self::Paused,
        Self::Update,
    ];

    /// The JSON value, which is also the label in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Completed => "completed",
            Self::Paused => "paused",
            Self::Update => "update",
        }
    }

    pub(super) fn from_raw(raw: Option<&RawValue>) -> Option<Self> {
        match raw.map(RawValue::get) {
            None | Some("null" | "\"\"" | "\"empty\"" | "\"update\"") => Some(Self::Update),
            Some("\"started\"") => Some(Self::Started),
            Some("\"stopped\"") => Some(Self::Stopped),
            Some("\"completed\"") => Some(Self::Completed),
            Some("\"paused\"") => Some(Self::Paused),
            Some(_) => None,
        }
    }
}

impl<'a> ClientMessage<'a> {
    /// Decodes one message.
    ///
    /// # Errors
    /// [`DecodeError`] says what was wrong and holds what a failure message needs.
    pub fn decode(text: &'a str) -> Result<Self, DecodeError<'a>> {
        let bare = |reason| DecodeError {
            reason,
            action: None,
            info_hash: None,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let fields = deserializer
            .deserialize_map(FieldsVisitor)
            .and_then(|fields| deserializer.end().map(|()| fields))
            .map_err(|error| match error.classify() {
                Category::Data => bare(RejectReason::NotAnObject),
                _ => bare(RejectReason::NotJson),
            })?;
        let action = match fields.action.map(RawValue::get) {
            Some("\"announce\"") => Some(Action::Announce),
            Some("\"scrape\"") => Some(Action::Scrape),
            _ => None,
        };
        let info_hash = fields.echo();
        let decoded = match action {
            Some(Action::Announce) => fields.announce(),
            Some(Action::Scrape) => fields.scrape(),
            None => Err(RejectReason::UnknownAction),
        };
        decoded.map_err(|reason| DecodeError {
            reason,
            action,
            info_hash,
        })
    }

    /// Appends the message as JSON. The keys are in the order of `bittorrent-tracker`'s client.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Announce(announce) => announce.write_json(out),
            Self::Answer(answer) => {
                out.extend_from_slice(b"{\"action\":\"announce\",\"info_hash\":");
                answer.info_hash.write_json(out);
                out.extend_from_slice(b",\"peer_id\":");
                answer.peer_id.write_json(out);
                out.extend_from_slice(b",\"to_peer_id\":");
                answer.to_peer_id.write_json(out);
                out.extend_from_slice(b",\"answer\":");
                out.extend_from_slice(answer.answer.get().as_bytes());
                out.extend_from_slice(b",\"offer_id\":");
                answer.offer_id.write_json(out);
                out.push(b'}');
            }
            Self::Scrape(scrape) => {
                out.extend_from_slice(b"{\"action\":\"scrape\",\"info_hash\":[");
                for (index, info_hash) in scrape.info_hashes.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    info_hash.write_json(out);
                }
                out.extend_from_slice(b"]}");
            }
        }
    }
}

impl Announce<'_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        if let Some(numwant) = self.numwant {
            out.extend_from_slice(format!("\"numwant\":{numwant},").as_bytes());
        }
        out.extend_from_slice(b"\"uploaded\":0,\"downloaded\":0,\"left\":");
        out.extend_from_slice(if self.complete { b"0" } else { b"null" });
        if self.event != Event::Update {
            out.extend_from_slice(b",\"event\":\"");
            out.extend_from_slice(self.event.as_str().as_bytes());
            out.push(b'"');
        }
        out.extend_from_slice(b",\"action\":\"announce\",\"info_hash\":");
        self.info_hash.write_json(out);
        out.extend_from_slice(b",\"peer_id\":");
        self.peer_id.write_json(out);
        out.extend_from_slice(b",\"offers\":[");
        for (index, offer) in self.offers.iter().enumerate() {
            out.extend_from_slice(if index > 0 {
                b",{\"offer\":"
            } else {
                b"{\"offer\":"
            });
            out.extend_from_slice(offer.offer.get().as_bytes());
            out.extend_from_slice(b",\"offer_id\":");
            offer.offer_id.write_json(out);
            out.push(b'}');
        }
        out.extend_from_slice(b"]}");
    }
}
