//! The `sw_easypeers` message: `<length>:<JSON>`, the payload of an extended message (BEP 10).
//!
//! | key | value |
//! | --- | --- |
//! | `id` | any string that is new. Easypeers 1 makes 40 hex digits and a random fraction |
//! | `has` | addresses that have the message or are getting it: a hint against duplicates |
//! | `message` | the text |
//! | `from` | the author's address |
//! | `to` | receivers, an array or one string. Absent in a broadcast |
//! | `certificate` | see `certificate` |
//!
//! Every length is bounded. The prefix may be anything up to the first colon, as in Easypeers 1. When a key is
//! repeated, the last one counts, as in `JSON.parse`. A message is forwarded by inserting one address into its
//! text. The certificate, unknown keys and even their spelling stay the same, byte for byte.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
#[cfg(feature = "compat")]
use sha1::{Digest, Sha1};

use super::MAX_TEXT;
#[cfg(feature = "compat")]
use super::certificate::{Certificate, CertificateError};
use crate::PeerId;
#[cfg(feature = "compat")]
use crate::bencode;

/// Most bytes of the JSON: 64 KiB and a certificate, which takes 7 kB with the largest key. Text, `has` and `to`
/// at their own limits fit even when they are written with escapes.
pub const MAX_JSON: usize = 80 << 10;

/// Bytes in which we look for the colon. A correct prefix takes 6 with its colon.
const MAX_PREFIX: usize = 32;

/// Objects and arrays inside each other. A message of Easypeers 1 needs 4, and unknown keys may need more.
const MAX_DEPTH: usize = 32;

/// Bytes of an id. Those of Easypeers 1 take about 60.
const MAX_ID: usize = 128;

/// Addresses in `has`, 43 bytes each. The list holds the author's links and one address for each hop of the
/// copy, so a hundred would be many.
pub const MAX_HAS: usize = 512;

/// Addresses in `to`. Easypeers 1 writes one.
pub const MAX_TO: usize = 32;

/// Why a message is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// No colon where the prefix should end.
    #[error("length prefix is missing")]
    Prefix,
    /// More than [`MAX_JSON`] bytes.
    #[error("json of {0} bytes is too long")]
    TooLong(usize),
    /// Not UTF-8, not a JSON object, or a lone surrogate in a key or text that is read.
    #[error("not a json object")]
    Json,
    /// Objects and arrays too deep inside each other.
    #[error("nested too deeply")]
    Depth,
    /// `id` is not a string, or too long.
    #[error("id is missing or too long")]
    Id,
    /// `from` is not an address in lower-case hex.
    #[error("from is not an address")]
    From,
    /// `message` is not a string. Easypeers 1 drops such messages too, or fails on them.
    #[error("message is not a text")]
    NotText,
    /// `message` is longer than [`MAX_TEXT`] bytes.
    #[error("text of {0} bytes is too long")]
    TextLength(usize),
    /// `has` or `to` is longer than [`MAX_HAS`] or [`MAX_TO`].
    #[error("too many addresses in a list")]
    TooManyAddresses,
    /// The certificate is missing or wrong.
    #[cfg(feature = "compat")]
    #[error("certificate: {0}")]
    Certificate(#[from] CertificateError),
}

/// A message as received. Nothing in it is verified before `verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Any string. A message with a known id is a duplicate.
    pub id: Cow<'a, str>,
    /// The text.
    pub text: Cow<'a, str>,
    /// The author's address, as claimed.
    pub from: PeerId,
    /// The addresses in `has`, without what is not an address. `None` if there is no array: such a message is
    /// not forwarded.
    pub has: Option<Vec<PeerId>>,
    /// The addresses in `to`, without what is not an address. `None` means everybody.
    pub to: Option<Vec<PeerId>>,
    #[cfg(feature = "compat")]
    json: &'a str,
    #[cfg(feature = "compat")]
    raw_has: Option<&'a str>,
    #[cfg(feature = "compat")]
    certificate: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// Reads the payload of an extended message, prefix and JSON.
    ///
    /// # Errors
    /// [`MessageError`]. Easypeers 1 drops such a message silently and keeps the link.
    pub fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
        let colon = payload
            .iter()
            .take(MAX_PREFIX)
            .position(|&byte| byte == b':');
        let json = &payload[colon.ok_or(MessageError::Prefix)? + 1..];
        if json.len() > MAX_JSON {
            return Err(MessageError::TooLong(json.len()));
        }
        Self::decode_json(std::str::from_utf8(json).map_err(|_| MessageError::Json)?)
    }

    fn decode_json(json: &'a str) -> Result<Self, MessageError> {
        if !is_shallow(json) {
            return Err(MessageError::Depth);
        }
        let fields: Fields<'a> = serde_json::from_str(json).map_err(|_| MessageError::Json)?;
        let id = fields.id.and_then(text).ok_or(MessageError::Id)?;
        if id.len() > MAX_ID {
            return Err(MessageError::Id);
        }
        let text_value = fields.message.and_then(text);
        let text_value = text_value.ok_or(MessageError::NotText)?;
        if text_value.len() > MAX_TEXT {
            return Err(MessageError::TextLength(text_value.len()));
        }
        let from = fields.from.and_then(text);
        let from = from
            .as_deref()
            .and_then(address)
            .ok_or(MessageError::From)?;
        let raw_has = fields.has.filter(|has| has.starts_with('['));
        let to = match fields.to {
            None | Some("null" | "false" | "0" | "\"\"") => None,
            Some(to) if to.starts_with('[') => Some(addresses(to, MAX_TO)?),
            Some(to) => Some(text(to).as_deref().and_then(address).into_iter().collect()),
        };
        Ok(Self {
            id,
            text: text_value,
            from,
            has: raw_has.map(|has| addresses(has, MAX_HAS)).transpose()?,
            to,
            #[cfg(feature = "compat")]
            json,
            #[cfg(feature = "compat")]
            raw_has,
            #[cfg(feature = "compat")]
            certificate: fields.certificate,
        })
    }

    /// Checks the certificate, which takes milliseconds: see [`Certificate::verify`].
    ///
    /// # Errors
    /// [`MessageError::Certificate`].
    #[cfg(feature = "compat")]
    pub fn verify(&self) -> Result<(), MessageError> {
        let certificate = self.certificate.ok_or(CertificateError::Shape)?;
        let certificate = Certificate::decode(certificate)?;
        Ok(certificate.verify(&self.id, &self.from.to_string(), &self.text)?)
    }

    /// The JSON of `certificate`, as received.
    #[cfg(feature = "compat")]
    #[must_use]
    pub const fn certificate(&self) -> Option<&'a str> {
        self.certificate
    }

    /// Appends the payload to forward: the same text with `me` at the end of `has`. Returns `false` and appends
    /// nothing if there is no array `has`, or if the text would be too long for us to read.
    #[cfg(feature = "compat")]
    #[must_use]
    pub fn write_forward(&self, me: PeerId, out: &mut Vec<u8>) -> bool {
        let (Some(raw_has), Some(has)) = (self.raw_has, &self.has) else {
            return false;
        };
        // `raw_has` is a part of `json` and ends with the bracket before which `me` goes.
        let start = raw_has.as_ptr() as usize - self.json.as_ptr() as usize;
        let (before, after) = self.json.split_at(start + raw_has.len() - 1);
        let empty = raw_has[1..raw_has.len() - 1].trim().is_empty();
        let entry = format!("{}\"{me}\"", if empty { "" } else { "," });
        let json = [before, &entry, after].concat();
        if json.len() > MAX_JSON || has.len() >= MAX_HAS {
            return false;
        }
        bencode::write_bytes(json.as_bytes(), out);
        true
    }
}

/// What our own message says.
#[cfg(feature = "compat")]
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// See [`message_id`].
    pub id: &'a str,
    /// The peers that it is sent to. Others forward it to everybody else.
    pub has: &'a [PeerId],
    /// At most [`MAX_TEXT`] bytes.
    pub text: &'a str,
    /// Our address.
    pub from: PeerId,
    /// The receiver of a direct message.
    pub to: Option<PeerId>,
    /// The JSON of the certificate, from
    /// [`PublicKey::certify`](super::certificate::PublicKey::certify).
    pub certificate: &'a str,
}

#[cfg(feature = "compat")]
impl Outgoing<'_> {
    /// Appends the payload, its keys in the order in which Easypeers 1 writes them.
    pub fn write(&self, out: &mut Vec<u8>) {
        let list = |ids: &[PeerId]| {
            let ids: Vec<String> = ids.iter().map(|id| format!("\"{id}\"")).collect();
            format!("[{}]", ids.join(","))
        };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let to = self.to.map(|to| format!("\"to\":{},", list(&[to])));
        let json = format!(
            r#"{{"id":{},"has":{},"message":{},"from":"{}",{}"certificate":{}}}"#,
            quoted(self.id),
            list(self.has),
            quoted(self.text),
            self.from,
            to.unwrap_or_default(),
            self.certificate,
        );
        bencode::write_bytes(json.as_bytes(), out);
    }
}

/// An id as Easypeers 1 makes it: SHA-1 of the text, each UTF-16 unit of it cut to its low byte, in
/// hex, and a fraction in [0, 1) drawn from `random`.
#[cfg(feature = "compat")]
#[must_use]
pub fn message_id(text: &str, random: u64) -> String {
    let latin1: Vec<u8> = text.encode_utf16().map(|unit| unit as u8).collect();
    let hash = PeerId::new(Sha1::digest(latin1).into());
    // Sixteen digits, as a double has. Whole numbers save a page the code that prints doubles.
    let digits = (u128::from(random >> 11) * 10u128.pow(16)) >> 53;
    let fraction = format!("0.{digits:016}");
    format!(
        "{hash}{}",
        fraction.trim_end_matches(['0']).trim_end_matches('.')
    )
}

/// An address as Easypeers 1 writes it. Upper case is refused, because the certificate would be about another
/// text.
fn address(text: &str) -> Option<PeerId> {
    let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    lower.then(|| text.parse().ok()).flatten()
}

/// A JSON string.
fn text(json: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(json).ok().map(|Text(text)| text)
}

/// The addresses in a JSON array of at most `most` entries.
fn addresses(json: &str, most: usize) -> Result<Vec<PeerId>, MessageError> {
    struct List(usize);
    impl<'de> Visitor<'de> for List {
        /// `None` for too many.
        type Value = Option<Vec<PeerId>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut ids = Vec::new();
            for _ in 0..self.0 {
                match seq.next_element::<&RawValue>()? {
                    Some(raw) => ids.extend(text(raw.get()).as_deref().and_then(address)),
                    None => return Ok(Some(ids)),
                }
            }
            let full = seq.next_element::<IgnoredAny>()?.is_none();
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(full.then_some(ids))
        }
    }
    let mut json = serde_json::Deserializer::from_str(json);
    let ids = json.deserialize_seq(List(most));
    let ids = ids.map_err(|_| MessageError::Json)?;
    ids.ok_or(MessageError::TooManyAddresses)
}

/// Whether brackets outside strings are nested at most [`MAX_DEPTH`] deep.
fn is_shallow(json: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return false;
        }
    }
    true
}

/// The known keys, borrowed from the text.
#[derive(Default)]
struct Fields<'a> {
    id: Option<&'a str>,
    has: Option<&'a str>,
    message: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
    #[cfg(feature = "compat")]
    certificate: Option<&'a str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                #[derive(Deserialize)]
                struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
                let mut fields = Fields::default();
                while let Some(Key(key)) = map.next_key()? {
                    let value = map.next_value::<&'de RawValue>()?.get();
                    match &*key {
                        "id" => fields.id = Some(value),
                        "has" => fields.has = Some(value),
                        "message" => fields.message = Some(value),
                        "from" => fields.from = Some(value),
                        "to" => fields.to = Some(value),
                        #[cfg(feature = "compat")]
                        "certificate" => fields.certificate = Some(value),
                        _ => {}
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}
