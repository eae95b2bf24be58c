//! Decodes a client's message in two steps. One pass over the JSON borrows every field, keeps the
//! well-formed offers and counts the others. Then each field is validated or the message is refused.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Announce, Answer, ClientMessage, Event, Offer, RejectReason, Scrape, is_description};
use crate::limits::{MAX_INFO_HASH_ECHO, MAX_OFFERS, MAX_SCRAPE};
use crate::{InfoHash, OfferId, PeerId};

/// The fields of a message before they are validated. If a key is repeated, its last value counts, as in
/// `JSON.parse`.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) action: Option<&'a RawValue>,
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
    pub(super) fn announce(self) -> Result<ClientMessage<'a>, RejectReason> {
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

    pub(super) fn scrape(self) -> Result<ClientMessage<'a>, RejectReason> {
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

    /// The `info_hash` to repeat in a failure message.
    pub(super) fn echo(&self) -> Option<&'a str> {
        self.info_hash
            .map(RawValue::get)
            .filter(|raw| raw.starts_with('"') && raw.len() <= MAX_INFO_HASH_ECHO)
    }
}

/// `0`, `0.0`, `-0` or one of these as a string.
fn is_zero(raw: &str) -> bool {
    raw.trim_matches('"').parse::<f64>() == Ok(0.0)
}

pub(super) struct FieldsVisitor;

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

/// The keys that have a meaning.
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

/// Skips any JSON value of an unexpected type.
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

/// Reads `offers` in one pass. Gives the well-formed offers and the number of the others.
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
