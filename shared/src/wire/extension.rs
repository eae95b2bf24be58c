//! The extended handshake (BEP 10): the payload of the extended message with id 0, which is one bencoded
//! dictionary.
//!
//! `m` maps the names of extensions to numbers. Each side chooses the numbers under which it *receives*
//! messages. Easypeers knows two names: `ep2` for the frames of Easypeers 2, and `sw_easypeers` for the
//! messages of v1 (Easypeers 1). A peer that names `ep2` must also have a dictionary `ep2`, its hello:
//!
//! | key of `ep2` | value |
//! | --- | --- |
//! | `v` | version, at least [`VERSION`]; a newer version must still understand this one |
//! | `k` | both public keys, 64 bytes |
//! | `n` | nonce, 32 bytes |
//! | `c` | capability bits, an integer; none if absent or of another type |
//! | `r` | kind of peer: 0 native, 1 browser, 2 slow; native if absent or of another type |
//!
//! Unknown keys and bytes after the dictionary are ignored.

use std::num::NonZeroU8;

use crate::bencode::{self, BencodeError, Dict, Item, Value};

/// The version of `ep2` in this build.
pub const VERSION: u32 = 2;

/// The number under which this build receives `ep2` frames.
pub const EP2_NUMBER: NonZeroU8 = NonZeroU8::MIN;

/// The number under which this build receives `sw_easypeers` messages. v1 uses the same one, which makes
/// captures easier to read.
pub const SW_EASYPEERS_NUMBER: NonZeroU8 = match NonZeroU8::new(3) {
    Some(number) => number,
    None => NonZeroU8::MIN,
};

/// Why an extended handshake is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// The payload is not valid bencode.
    #[error("not bencoded: {0}")]
    Bencode(#[from] BencodeError),
    /// The payload is valid bencode but not a dictionary.
    #[error("not a dictionary")]
    NotADictionary,
    /// `m` names `ep2`, but there is no dictionary `ep2`.
    #[error("ep2 is announced but not described")]
    NoHello,
    /// `v` is missing, not a number or below [`VERSION`].
    #[error("ep2 version is missing or too old")]
    Version,
    /// `k` is not 64 bytes.
    #[error("public keys are not 64 bytes")]
    Keys,
    /// `n` is not 32 bytes.
    #[error("nonce is not 32 bytes")]
    Nonce,
}

/// What kind of program a peer is, which says how much it can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PeerKind {
    /// A native program.
    #[default]
    Native,
    /// A page in a browser.
    Browser,
    /// A peer with little bandwidth or few connections. Unknown kinds are read as this one, because it is
    /// asked for the least.
    Slow,
}

impl PeerKind {
    const fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Native,
            1 => Self::Browser,
            _ => Self::Slow,
        }
    }

    const fn number(self) -> i64 {
        match self {
            Self::Native => 0,
            Self::Browser => 1,
            Self::Slow => 2,
        }
    }
}

/// What a peer of Easypeers 2 says about itself. It cannot be trusted before the peer's AUTH frame, which
/// signs it, has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// Version of `ep2`, at least [`VERSION`].
    pub version: u32,
    /// Both public keys: 32 bytes Ed25519, then 32 bytes X25519.
    pub keys: [u8; 64],
    /// 32 fresh random bytes for each link.
    pub nonce: [u8; 32],
    /// Capability bits. Unknown ones are ignored. The highest bit is never sent, because bencoded
    /// integers here have at most 63 bits and a sign.
    pub capabilities: u64,
    /// What kind of program the peer is.
    pub kind: PeerKind,
}

impl Hello {
    fn decode(dict: Dict<'_>) -> Result<Self, ExtensionError> {
        let integer = |key: &[u8]| dict.get(key).and_then(Value::as_integer);
        let bytes = |key: &[u8]| dict.get(key).and_then(Value::as_bytes).unwrap_or_default();
        Ok(Self {
            version: integer(b"v")
                .and_then(|version| version.try_into().ok())
                .filter(|&version| version >= VERSION)
                .ok_or(ExtensionError::Version)?,
            keys: bytes(b"k").try_into().map_err(|_| ExtensionError::Keys)?,
            nonce: bytes(b"n").try_into().map_err(|_| ExtensionError::Nonce)?,
            capabilities: integer(b"c")
                .and_then(|bits| bits.try_into().ok())
                .unwrap_or_default(),
            kind: integer(b"r").map(PeerKind::from_number).unwrap_or_default(),
        })
    }

    fn item(&self) -> Item<'_> {
        let capabilities = self.capabilities & i64::MAX as u64;
        Item::dict([
            ("v", Item::Integer(self.version.into())),
            ("k", Item::bytes(&self.keys)),
            ("n", Item::bytes(&self.nonce)),
            ("c", Item::Integer(capabilities as i64)),
            ("r", Item::Integer(self.kind.number())),
        ])
    }
}

/// The extension `ep2` in a peer's handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ep2 {
    /// The number under which that peer receives frames.
    pub number: NonZeroU8,
    /// What the peer says about itself.
    pub hello: Hello,
}

/// An extended handshake, without what Easypeers does not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionHandshake {
    /// The extension of Easypeers 2, if the sender speaks it.
    pub ep2: Option<Ep2>,
    /// The number under which the sender receives the `sw_easypeers` messages of v1, if it speaks them.
    pub sw_easypeers: Option<NonZeroU8>,
}

impl ExtensionHandshake {
    /// The handshake that this build sends. `sw_easypeers` is named only if v1 peers are accepted.
    #[must_use]
    pub fn ours(hello: Hello, accepts_v1: bool) -> Self {
        Self {
            ep2: Some(Ep2 {
                number: EP2_NUMBER,
                hello,
            }),
            sw_easypeers: accepts_v1.then_some(SW_EASYPEERS_NUMBER),
        }
    }

    /// Reads the payload of an extended message with id 0. An extension that `m` does not name, or names
    /// with a number outside 1 to 255, is not spoken.
    ///
    /// # Errors
    /// [`ExtensionError`].
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        let (value, _) = bencode::read(payload)?;
        let dict = value.as_dict().ok_or(ExtensionError::NotADictionary)?;
        let m = dict.get(b"m").and_then(Value::as_dict);
        let number = |name: &[u8]| {
            let number = m?.get(name)?.as_integer()?;
            NonZeroU8::new(number.try_into().ok()?)
        };
        let ep2 = match number(b"ep2") {
            None => None,
            Some(number) => {
                let hello = dict.get(b"ep2").and_then(Value::as_dict);
                let hello = Hello::decode(hello.ok_or(ExtensionError::NoHello)?)?;
                Some(Ep2 { number, hello })
            }
        };
        Ok(Self {
            ep2,
            sw_easypeers: number(b"sw_easypeers"),
        })
    }

    /// Appends the payload of the message with id 0.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let number = |number: NonZeroU8| Item::Integer(number.get().into());
        let ep2 = self.ep2.as_ref();
        let m = Item::dict(
            ep2.map(|ep2| ("ep2", number(ep2.number)))
                .into_iter()
                .chain(self.sw_easypeers.map(|n| ("sw_easypeers", number(n)))),
        );
        let hello = ep2.map(|ep2| ("ep2", ep2.hello.item()));
        Item::dict(hello.into_iter().chain([("m", m)])).write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello {
            version: VERSION,
            keys: [7; 64],
            nonce: [9; 32],
            capabilities: 5,
            kind: PeerKind::Browser,
        }
    }

    fn decoded(payload: &[u8]) -> ExtensionHandshake {
        ExtensionHandshake::decode(payload).unwrap()
    }

    /// A handshake with `ep2` in `m` and these entries in the dictionary `ep2`.
    fn with(entries: &[(&'static str, Item<'static>)]) -> Result<Hello, ExtensionError> {
        let mut all = vec![
            ("v", Item::Integer(2)),
            ("k", Item::Bytes(vec![7; 64].into())),
            ("n", Item::Bytes(vec![9; 32].into())),
        ];
        all.extend_from_slice(entries);
        let mut out = Vec::new();
        let m = Item::dict([("ep2", Item::Integer(200))]);
        Item::dict([("m", m), ("ep2", Item::dict(all))]).write(&mut out);
        ExtensionHandshake::decode(&out).map(|shake| shake.ep2.unwrap().hello)
    }

    #[test]
    fn v1_and_the_smallest_form_name_their_number() {
        let v1 = b"d4:keys9:SEA Pairs1:md11:lt_donthavei2e12:sw_easypeersi3e11:ut_metadatai1eee";
        for (payload, number) in [
            (&v1[..], 3),
            (b"d1:md12:sw_easypeersi7eee", 7),
            (b"d1:md12:sw_easypeersi255eee trailing", 255),
        ] {
            let shake = decoded(payload);
            assert_eq!(shake.sw_easypeers.map(NonZeroU8::get), Some(number));
            assert_eq!(shake.ep2, None);
        }
    }

    #[test]
    fn an_odd_number_or_no_m_means_not_spoken() {
        for payload in [
            &b"de"[..],
            b"d1:mi1ee",
            b"d1:mdee",
            b"d1:md12:sw_easypeersi0eee",
            b"d1:md12:sw_easypeersi-1e3:ep2i256eee",
            b"d1:md12:sw_easypeers1:33:ep2leee",
            b"d3:ep2de1:mdee",
        ] {
            assert_eq!(decoded(payload), ExtensionHandshake::default());
        }
    }

    #[test]
    fn ours_names_v1_only_if_v1_peers_are_accepted() {
        let mut out = Vec::new();
        ExtensionHandshake::ours(hello(), false).encode(&mut out);
        let mut expected = b"d3:ep2d1:ci5e1:k64:".to_vec();
        expected.extend_from_slice(&[7; 64]);
        expected.extend_from_slice(b"1:n32:");
        expected.extend_from_slice(&[9; 32]);
        expected.extend_from_slice(b"1:ri1e1:vi2ee1:md3:ep2i1eee");
        assert_eq!(out, expected);
        assert_eq!(decoded(&out), ExtensionHandshake::ours(hello(), false));

        out.clear();
        ExtensionHandshake::ours(hello(), true).encode(&mut out);
        assert!(out.ends_with(b"1:md3:ep2i1e12:sw_easypeersi3eee"));
        assert_eq!(decoded(&out).sw_easypeers, Some(SW_EASYPEERS_NUMBER));
    }

    #[test]
    fn a_hello_must_have_version_keys_and_nonce_and_the_rest_has_defaults() {
        let plain = with(&[]).unwrap();
        assert_eq!((plain.capabilities, plain.kind), (0, PeerKind::Native));
        let odd = [
            ("c", Item::Integer(-1)),
            ("r", Item::bytes("slow")),
            ("zz", Item::List(Vec::new())),
        ];
        assert_eq!(with(&odd), Ok(plain));
        assert_eq!(
            with(&[("r", Item::Integer(77))]).unwrap().kind,
            PeerKind::Slow
        );
        assert_eq!(with(&[("v", Item::Integer(9))]).unwrap().version, 9);
        for (entry, error) in [
            (("v", Item::Integer(1)), ExtensionError::Version),
            (("v", Item::Integer(-2)), ExtensionError::Version),
            (("v", Item::Integer(1 << 32)), ExtensionError::Version),
            (("v", Item::bytes("2")), ExtensionError::Version),
            (("k", Item::bytes(&[0; 63])), ExtensionError::Keys),
            (("k", Item::Integer(1)), ExtensionError::Keys),
            (("n", Item::bytes(&[0; 33])), ExtensionError::Nonce),
        ] {
            assert_eq!(with(&[entry]), Err(error));
        }
        let payload = b"d1:md3:ep2i1eee";
        let error = ExtensionHandshake::decode(payload);
        assert_eq!(error, Err(ExtensionError::NoHello));
        let list = ExtensionHandshake::decode(b"le");
        assert_eq!(list, Err(ExtensionError::NotADictionary));
        let cut = ExtensionHandshake::decode(b"d1:m");
        let truncated = ExtensionError::Bencode(BencodeError::Truncated);
        assert_eq!(cut, Err(truncated));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn handshakes_round_trip(
            keys: [u8; 32],
            nonce: [u8; 32],
            capabilities in 0..=i64::MAX as u64,
            kind in 0i64..3,
            version in VERSION..,
            numbers: (Option<u8>, Option<u8>),
        ) {
            let mut both = [0; 64];
            both[..32].copy_from_slice(&keys);
            let kind = PeerKind::from_number(kind);
            let hello = Hello { version, keys: both, nonce, capabilities, kind };
            let shake = ExtensionHandshake {
                ep2: numbers.0.and_then(NonZeroU8::new).map(|number| Ep2 { number, hello }),
                sw_easypeers: numbers.1.and_then(NonZeroU8::new),
            };
            let mut out = Vec::new();
            shake.encode(&mut out);
            prop_assert_eq!(ExtensionHandshake::decode(&out), Ok(shake));
        }

        #[test]
        fn any_damage_is_decoded_without_panic(index: prop::sample::Index, byte: u8) {
            let mut out = Vec::new();
            ExtensionHandshake::ours(hello(), true).encode(&mut out);
            let index = index.index(out.len());
            out[index] = byte;
            let _ = ExtensionHandshake::decode(&out);
            let _ = ExtensionHandshake::decode(&out[index..]);
        }
    }
}
