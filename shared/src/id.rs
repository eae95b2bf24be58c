//! The 20-byte ids of the tracker dialect and of the peer wire.
//!
//! In JSON an id is a *binary string*: 20 code points U+0000..=U+00FF, one per byte (the "latin1"
//! form of bittorrent-tracker). Between its quotes it takes 20 to 120 bytes of JSON text. Ids
//! are opaque: some clients put ASCII text there. For people, ids are written as 40 hex digits ([`Display`](fmt::Display),
//! [`FromStr`]).

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha1::{Digest, Sha1};

/// Length of an id in bytes.
pub const ID_LEN: usize = 20;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not a JSON string.
    #[error("not a string")]
    NotAString,
    /// Not exactly 20 code points.
    #[error("not exactly 20 characters")]
    Length,
    /// A code point above U+00FF, which is not a byte.
    #[error("a character above U+00FF")]
    NotBinary,
    /// Not 40 hexadecimal digits.
    #[error("not 40 hexadecimal digits")]
    NotHex,
}

/// The types of ids that a list of ids may hold.
pub trait Id: Copy + Eq + From<[u8; ID_LEN]> + AsRef<[u8]> {}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; ID_LEN]);

        impl $name {
            /// The id with these bytes.
            #[must_use]
            pub const fn new(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }

            /// The 20 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; ID_LEN] {
                &self.0
            }

            /// Reads the binary-string form: exactly 20 code points up to U+00FF.
            ///
            /// # Errors
            /// [`IdError::Length`] or [`IdError::NotBinary`].
            pub fn from_binary(text: &str) -> Result<Self, IdError> {
                collect(text.chars().map(|c| u8::try_from(u32::from(c)).map_err(|_| IdError::NotBinary)))
                    .map(Self)
            }

            /// Reads the JSON text of a binary string, quotes and escapes included. `json` must be
            /// valid JSON (as a `serde_json::value::RawValue` is).
            ///
            /// # Errors
            /// [`IdError::NotAString`], [`IdError::Length`] or [`IdError::NotBinary`].
            pub fn from_json(json: &str) -> Result<Self, IdError> {
                read_json(json).map(Self)
            }

            /// Appends the id as a JSON string, quotes included.
            pub fn write_json(&self, out: &mut Vec<u8>) {
                write_json(&self.0, out);
            }
        }

        impl From<[u8; ID_LEN]> for $name {
            fn from(bytes: [u8; ID_LEN]) -> Self {
                Self(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl Id for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&HEXLOWER.encode_display(&self.0), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            /// Reads 40 hexadecimal digits, upper or lower case.
            fn from_str(text: &str) -> Result<Self, IdError> {
                from_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let text: String = self.0.iter().map(|&byte| char::from(byte)).collect();
                serializer.serialize_str(&text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Binary;
                impl de::Visitor<'_> for Binary {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a binary string of 20 characters")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::from_binary(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Binary)
            }
        }
    };
}

id_type! {
    /// Names a swarm, 20 bytes: the SHA-1 of a torrent's info dictionary (BEP 3) or of a topic.
    InfoHash
}
id_type! {
    /// Names a peer within a swarm, 20 bytes. In Easypeers it is the peer's address.
    PeerId
}
id_type! {
    /// Names one offer of one peer, 20 bytes chosen by that peer.
    OfferId
}
id_type! {
    /// Names one message, 20 bytes: a SHA-1 over the author's keys, a nonce and the payload.
    MessageId
}

impl InfoHash {
    /// The swarm of an Easypeers topic: SHA-1 of `easypeers-` and the topic in UTF-8.
    ///
    /// ```
    /// let hash = easypeers_proto::InfoHash::of_topic("demo");
    /// assert_eq!(hash.to_string(), "79218869fe285453297f288ee9db6696cb6a2552");
    /// ```
    #[must_use]
    pub fn of_topic(topic: &str) -> Self {
        Self(
            Sha1::new()
                .chain_update("easypeers-")
                .chain_update(topic)
                .finalize()
                .into(),
        )
    }
}

/// Takes exactly 20 bytes from an iterator.
fn collect(mut bytes: impl Iterator<Item = Result<u8, IdError>>) -> Result<[u8; ID_LEN], IdError> {
    let mut id = [0; ID_LEN];
    for slot in &mut id {
        *slot = bytes.next().ok_or(IdError::Length)??;
    }
    match bytes.next() {
        None => Ok(id),
        Some(_) => Err(IdError::Length),
    }
}

fn from_hex(text: &str) -> Result<[u8; ID_LEN], IdError> {
    if text.len() != 2 * ID_LEN {
        return Err(IdError::NotHex);
    }
    let mut id = [0; ID_LEN];
    match HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut id) {
        Ok(_) => Ok(id),
        Err(_) => Err(IdError::NotHex),
    }
}

fn read_json(json: &str) -> Result<[u8; ID_LEN], IdError> {
    let inner = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or(IdError::NotAString)?;
    let mut chars = inner.chars();
    collect(std::iter::from_fn(move || {
        Some(code_point(chars.next()?, &mut chars))
    }))
}

/// One code point of a JSON string, which starts with `first`, as a byte.
fn code_point(first: char, rest: &mut std::str::Chars<'_>) -> Result<u8, IdError> {
    if first != '\\' {
        return u8::try_from(u32::from(first)).map_err(|_| IdError::NotBinary);
    }
    match rest.next() {
        Some('b') => Ok(0x08),
        Some('t') => Ok(b'\t'),
        Some('n') => Ok(b'\n'),
        Some('f') => Ok(0x0c),
        Some('r') => Ok(b'\r'),
        Some('u') => {
            let mut value = 0;
            for _ in 0..4 {
                let digit = rest
                    .next()
                    .and_then(|c| c.to_digit(16))
                    .ok_or(IdError::NotBinary)?;
                value = value << 4 | digit;
            }
            u8::try_from(value).map_err(|_| IdError::NotBinary)
        }
        Some(c @ ('"' | '\\' | '/')) => Ok(c as u8),
        _ => Err(IdError::NotBinary),
    }
}

fn write_json(id: &[u8; ID_LEN], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in id {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7f => out.push(byte),
            0x80.. => out.extend_from_slice(&[0xc0 | byte >> 6, 0x80 | byte & 0x3f]),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hex_is_read_in_both_cases_and_printed_in_lower() {
        let id: PeerId = "00FF10203040506070809A0b0c0d0e0f11121314".parse().unwrap();
        assert_eq!(id.to_string(), "00ff10203040506070809a0b0c0d0e0f11121314");
        for bad in [
            "",
            "00",
            "0x00FF10203040506070809A0b0c0d0e0f1112131",
            &"g".repeat(40),
        ] {
            assert_eq!(bad.parse::<PeerId>(), Err(IdError::NotHex));
        }
    }

    #[test]
    fn only_20_code_points_up_to_ff_are_an_id() {
        assert!(InfoHash::from_binary(&"\u{ff}".repeat(20)).is_ok());
        for length in [0, 19, 21, 40] {
            assert_eq!(
                InfoHash::from_binary(&"a".repeat(length)),
                Err(IdError::Length)
            );
        }
        assert_eq!(
            InfoHash::from_binary(&"\u{100}".repeat(20)),
            Err(IdError::NotBinary)
        );
        assert_eq!(InfoHash::from_json("7"), Err(IdError::NotAString));
        assert_eq!(
            InfoHash::from_json(r#""\u0100aaaaaaaaaaaaaaaaaaa""#),
            Err(IdError::NotBinary)
        );
    }

    #[test]
    fn every_json_escape_is_read_as_one_byte() {
        let id = OfferId::from_json(r#""\b\t\n\f\r\"\\\/\u00fF\u0000aaaaaaaaaa""#).unwrap();
        assert_eq!(id.as_bytes(), b"\x08\t\n\x0c\r\"\\/\xff\0aaaaaaaaaa");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn json_round_trips(bytes: [u8; 20]) {
            let id = PeerId::new(bytes);
            let mut json = Vec::new();
            id.write_json(&mut json);
            let json = String::from_utf8(json).unwrap();
            prop_assert_eq!(PeerId::from_json(&json), Ok(id));
            prop_assert_eq!(serde_json::from_str::<PeerId>(&json).unwrap(), id);
            let serde = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(PeerId::from_json(&serde), Ok(id));
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String) {
            let _ = PeerId::from_json(&text);
            let _ = PeerId::from_binary(&text);
            let _ = text.parse::<PeerId>();
        }
    }
}
