//! Client to tracker: announce, answer, scrape. Decoding borrows from the text and is tolerant
//! where real clients need it; what it returns is exact.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::{Action, DecodeError, RejectReason, is_description};
use crate::limits::{MAX_INFO_HASH_ECHO, MAX_OFFERS, MAX_SCRAPE};
use crate::{InfoHash, OfferId, PeerId};

/// A message from a client, valid in every field.
#[derive(Debug, Clone)]
pub enum ClientMessage<'a> {
    /// Joins, refreshes or leaves a swarm, maybe with offers.
    Announce(Announce<'a>),
    /// Answers an offer that the tracker relayed.
    Answer(Answer<'a>),
    /// Asks for counts.
    Scrape(Scrape),
}

/// `action: "announce"` without an answer.
#[derive(Debug, Clone)]
pub struct Announce<'a> {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The announcing peer.
    pub peer_id: PeerId,
    /// What happened; [`Event::Update`] when absent.
    pub event: Event,
    /// True for `left: 0`. Null, absent and negative mean unknown, so a leecher.
    pub complete: bool,
    /// How many offers the client wants relayed, where it sent a whole number from 0.
    pub numwant: Option<usize>,
    /// Well-formed offers, in order, at most [`MAX_OFFERS`].
    pub offers: Vec<Offer<'a>>,
    /// Items of `offers` that were no offers, or beyond [`MAX_OFFERS`].
    pub offers_skipped: usize,
}

/// One item of `offers`.
#[derive(Debug, Clone)]
pub struct Offer<'a> {
    /// Chosen by the client; comes back with the answer.
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
    /// The offer's id.
    pub offer_id: OfferId,
    /// The session description as the client wrote it.
    pub answer: &'a RawValue,
}

/// `action: "scrape"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scrape {
    /// The swarms asked for: 1 to [`MAX_SCRAPE`].
    pub info_hashes: Vec<InfoHash>,
}

/// `event` of an announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// Joins.
    Started,
    /// Leaves.
    Stopped,
    /// Has everything now.
    Completed,
    /// libtorrent (BEP 21): stays, wants nothing.
    Paused,
    /// The periodic refresh: absent, null, `""`, `empty` or `update`.
    Update,
}

impl Event {
    /// Every event, for initialising counters.
    pub const ALL: [Self; 5] = [
        Self::Started,
        Self::Stopped,
        Self::Completed,
        Self::Paused,
        Self::Update,
    ];

    /// The JSON value, and the metric label.
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

    fn from_raw(raw: Option<&RawValue>) -> Option<Self> {
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
    /// [`DecodeError`] says what was wrong and carries what a failure message needs.
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

    /// Appends the message as JSON, keys in the order of bittorrent-tracker's client.
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

/// The fields of a message as they stand, before anything is believed. Of a repeated key the last
/// one counts, as in `JSON.parse`.
#[derive(Default)]
struct Fields<'a> {
    action: Option<&'a RawValue>,
    info_hash: Option<&'a RawValue>,
    peer_id: Option<&'a RawValue>,
    to_peer_id: Option<&'a RawValue>,
    offer_id: Option<&'a RawValue>,
    answer: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    left: Option<&'a RawValue>,
    numwant: Option<&'a RawValue>,
    offers: Vec<Offer<'a>>,
    offers_skipped: usize,
}

impl<'a> Fields<'a> {
    fn announce(self) -> Result<ClientMessage<'a>, RejectReason> {
        let info_hash = self.info_hash.ok_or(RejectReason::MissingInfoHash)?;
        let info_hash =
            InfoHash::from_json(info_hash.get()).map_err(|_| RejectReason::InvalidInfoHash)?;
        let peer_id = self
            .peer_id
            .and_then(|raw| PeerId::from_json(raw.get()).ok())
            .ok_or(RejectReason::InvalidPeerId)?;
        if let Some(answer) = self.answer.filter(|raw| raw.get() != "null") {
            if !is_description(answer) {
                return Err(RejectReason::InvalidAnswer);
            }
            let to_peer_id = self
                .to_peer_id
                .and_then(|raw| PeerId::from_json(raw.get()).ok())
                .ok_or(RejectReason::InvalidToPeerId)?;
            let offer_id = self
                .offer_id
                .and_then(|raw| OfferId::from_json(raw.get()).ok())
                .ok_or(RejectReason::InvalidOfferId)?;
            let answer = Answer {
                info_hash,
                peer_id,
                to_peer_id,
                offer_id,
                answer,
            };
            return Ok(ClientMessage::Answer(answer));
        }
        Ok(ClientMessage::Announce(Announce {
            info_hash,
            peer_id,
            event: Event::from_raw(self.event).ok_or(RejectReason::InvalidEvent)?,
            complete: self.left.is_some_and(|left| is_zero(left.get())),
            numwant: self.numwant.and_then(|raw| raw.get().parse().ok()),
            offers: self.offers,
            offers_skipped: self.offers_skipped,
        }))
    }

    fn scrape(self) -> Result<ClientMessage<'a>, RejectReason> {
        let raw = self.info_hash.ok_or(RejectReason::MissingInfoHash)?;
        let items: Vec<&RawValue> = if raw.get().starts_with('[') {
            serde_json::from_str(raw.get()).map_err(|_| RejectReason::InvalidInfoHash)?
        } else {
            vec![raw]
        };
        match items.len() {
            0 => return Err(RejectReason::MissingInfoHash),
            1..=MAX_SCRAPE => {}
            _ => return Err(RejectReason::ScrapeTooLarge),
        }
        let info_hashes = items
            .iter()
            .map(|item| InfoHash::from_json(item.get()))
            .collect::<Result<_, _>>()
            .map_err(|_| RejectReason::InvalidInfoHash)?;
        Ok(ClientMessage::Scrape(Scrape { info_hashes }))
    }

    /// The `info_hash` to put into a failure message.
    fn echo(&self) -> Option<&'a str> {
        self.info_hash
            .map(RawValue::get)
            .filter(|raw| raw.starts_with('"') && raw.len() <= MAX_INFO_HASH_ECHO)
    }
}

/// `0`, `0.0`, `-0` or one of these as a string.
fn is_zero(raw: &str) -> bool {
    raw.trim_matches('"').parse::<f64>() == Ok(0.0)
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(key) = map.next_key_seed(Key)? {
            let slot = match key {
                Name::Action => &mut fields.action,
                Name::InfoHash => &mut fields.info_hash,
                Name::PeerId => &mut fields.peer_id,
                Name::ToPeerId => &mut fields.to_peer_id,
                Name::OfferId => &mut fields.offer_id,
                Name::Answer => &mut fields.answer,
                Name::Event => &mut fields.event,
                Name::Left => &mut fields.left,
                Name::Numwant => &mut fields.numwant,
                Name::Offers => {
                    (fields.offers, fields.offers_skipped) = map.next_value_seed(Offers)?;
                    continue;
                }
                Name::Offer | Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *slot = Some(map.next_value()?);
        }
        Ok(fields)
    }
}

/// The keys that mean something.
enum Name {
    Action,
    InfoHash,
    PeerId,
    ToPeerId,
    OfferId,
    Offer,
    Answer,
    Event,
    Left,
    Numwant,
    Offers,
    Other,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Name, E> {
        Ok(match key {
            "action" => Name::Action,
            "info_hash" => Name::InfoHash,
            "peer_id" => Name::PeerId,
            "to_peer_id" => Name::ToPeerId,
            "offer_id" => Name::OfferId,
            "offer" => Name::Offer,
            "answer" => Name::Answer,
            "event" => Name::Event,
            "left" => Name::Left,
            "numwant" | "num_want" => Name::Numwant,
            "offers" => Name::Offers,
            _ => Name::Other,
        })
    }
}

/// Any JSON value that is not what was hoped for is read over.
macro_rules! skip_scalars {
    ($value:ty, $skipped:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_unit<E>(self) -> Result<$value, E> {
            Ok($skipped)
        }
        fn visit_bool<E>(self, _: bool) -> Result<$value, E> {
            Ok($skipped)
        }
        fn visit_i64<E>(self, _: i64) -> Result<$value, E> {
            Ok($skipped)
        }
        fn visit_u64<E>(self, _: u64) -> Result<$value, E> {
            Ok($skipped)
        }
        fn visit_f64<E>(self, _: f64) -> Result<$value, E> {
            Ok($skipped)
        }
        fn visit_str<E>(self, _: &str) -> Result<$value, E> {
            Ok($skipped)
        }
    };
}

/// Reads `offers` in one pass: well-formed ones and how many were not.
struct Offers;

impl<'de> DeserializeSeed<'de> for Offers {
    type Value = (Vec<Offer<'de>>, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Offers {
    type Value = (Vec<Offer<'de>>, usize);

    skip_scalars!(Self::Value, (Vec::new(), 0));

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok((Vec::new(), 0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut offers, mut skipped) = (Vec::new(), 0);
        while let Some(item) = seq.next_element_seed(OfferItem)? {
            match item {
                Some(offer) if offers.len() < MAX_OFFERS => offers.push(offer),
                _ => skipped += 1,
            }
        }
        Ok((offers, skipped))
    }
}

struct OfferItem;

impl<'de> DeserializeSeed<'de> for OfferItem {
    type Value = Option<Offer<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OfferItem {
    type Value = Option<Offer<'de>>;

    skip_scalars!(Self::Value, None);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut offer, mut offer_id) = (None::<&RawValue>, None::<&RawValue>);
        while let Some(key) = map.next_key_seed(Key)? {
            match key {
                Name::Offer => offer = Some(map.next_value()?),
                Name::OfferId => offer_id = Some(map.next_value()?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let offer_id = offer_id.and_then(|raw| OfferId::from_json(raw.get()).ok());
        Ok(offer_id
            .zip(offer.filter(|raw| is_description(raw)))
            .map(|(offer_id, offer)| Offer { offer_id, offer }))
    }
}
