//! The envelope: a message with the keys and the signature of its author. Members forward its bytes
//! unchanged.
//!
//! | field | bytes |
//! | --- | --- |
//! | version, kind, content | 1 each |
//! | public keys of the author | 64 |
//! | nonce | 8, random |
//! | epoch | number: milliseconds since 1970 when the author started |
//! | time | number: milliseconds since the epoch |
//! | sequence | number: counts the author's messages since the epoch |
//! | recipients | number and 20 bytes each |
//! | payload | up to the signature |
//! | signature | 64: Ed25519 over a label and all bytes before it |
//!
//! Numbers are LEB128. The id of a message is the SHA-1 over a label, keys, nonce and payload. The id of
//! a bridged message is the first 20 bytes of its payload, which are [made](bridged_id) from its v1 id.
//! The same v1 message therefore has the same id, whichever member bridges it.

use std::ops::Range;

use sha1::{Digest, Sha1};

use super::{Identity, PublicKeys, Signature};
use crate::id::ID_LEN;
use crate::wire::varint::{self, ReadError, Reader};
use crate::{MessageId, PeerId};

/// The version of the envelope.
pub const VERSION: u8 = 1;

/// Largest payload in bytes.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// Largest number of recipients of one message.
pub const MAX_RECIPIENTS: usize = 32;

const SIGNATURE_LEN: usize = 64;
const SIGNATURE_LABEL: &[u8] = b"easypeers/2 envelope";
const ID_LABEL: &[u8] = b"easypeers/2 message id";
const BRIDGED_LABEL: &[u8] = b"easypeers/1 message id";

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// For all members.
    Broadcast,
    /// For its recipients only. It is sealed while it travels.
    Direct,
    /// A [manifest](super::manifest) of a large broadcast.
    Manifest,
    /// A message of a v1 peer (Easypeers 1) after the 20 bytes of its id. The author of the envelope is
    /// the member that bridged it.
    Bridged,
    /// A [part](super::part) of a large direct message.
    Part,
    /// Tells members of distant parts of the mesh that the author is there. It has no payload and is not
    /// for applications.
    Beacon,
}

/// The type of the payload that the application sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Content {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// Why bytes are not an envelope, or why an envelope must not be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The bytes end inside a field.
    #[error("envelope is truncated")]
    Truncated,
    /// A number is not in its shortest form or too large.
    #[error("malformed number")]
    Number,
    /// A version, kind or content type that this version does not know.
    #[error("unknown version, kind or content")]
    Unknown,
    /// The payload or the list of recipients is longer than its limit.
    #[error("field is too long")]
    TooLong,
    /// A text message that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// The signature is not by the author or not over this message.
    #[error("signature does not match")]
    BadSignature,
}

impl From<ReadError> for EnvelopeError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::Number => Self::Number,
        }
    }
}

/// The id that a v1 message gets in the mesh: SHA-1 over a label and its v1 id.
#[must_use]
pub fn bridged_id(v1_id: &str) -> MessageId {
    let hash = Sha1::new().chain_update(BRIDGED_LABEL).chain_update(v1_id);
    MessageId::new(hash.finalize().into())
}

/// A message before it is signed.
#[derive(Debug, Clone, Copy)]
pub struct Draft<'a> {
    /// The kind of the message.
    pub kind: Kind,
    /// The type of the payload.
    pub content: Content,
    /// When the author started, in milliseconds since 1970 (Unix time).
    pub epoch: u64,
    /// Number of the message among those that the author has sent since then.
    pub sequence: u64,
    /// When the message was sent, in milliseconds since 1970. Not before the epoch.
    pub time_ms: u64,
    /// At most [`MAX_RECIPIENTS`]. Empty in a broadcast.
    pub recipients: &'a [PeerId],
    /// Random bytes. They make two messages with equal payloads differ.
    pub nonce: [u8; 8],
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

impl Draft<'_> {
    /// The signed envelope.
    #[must_use]
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        // The signature covers the label too, so the label comes first and is cut off at the end.
        let mut out = Vec::with_capacity(SIGNATURE_LABEL.len() + self.payload.len() + 256);
        out.extend_from_slice(SIGNATURE_LABEL);
        out.extend_from_slice(&[VERSION, self.kind as u8, self.content as u8]);
        out.extend_from_slice(identity.public().as_bytes());
        out.extend_from_slice(&self.nonce);
        varint::write(self.epoch, &mut out);
        varint::write(self.time_ms.saturating_sub(self.epoch), &mut out);
        varint::write(self.sequence, &mut out);
        varint::write(self.recipients.len() as u64, &mut out);
        for recipient in self.recipients {
            out.extend_from_slice(recipient.as_bytes());
        }
        out.extend_from_slice(self.payload);
        let signature = identity.sign(&out);
        out.extend_from_slice(&signature);
        out.drain(..SIGNATURE_LABEL.len());
        out
    }
}

/// An envelope that borrows its bytes. Nothing in it can be trusted before [`verify`](Self::verify)
/// succeeds.
#[derive(Debug, Clone)]
pub struct Envelope<'a> {
    bytes: &'a [u8],
    kind: Kind,
    content: Content,
    keys: PublicKeys,
    nonce: [u8; 8],
    epoch: u64,
    time_ms: u64,
    sequence: u64,
    recipients: &'a [[u8; ID_LEN]],
    payload: Range<usize>,
    signature: Signature,
}

impl<'a> Envelope<'a> {
    /// Reads an envelope without checking the signature.
    ///
    /// # Errors
    /// [`EnvelopeError`], except `BadSignature`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        let (signed, signature) = bytes
            .split_last_chunk::<SIGNATURE_LEN>()
            .ok_or(EnvelopeError::Truncated)?;
        let mut reader = Reader::new(signed);
        if reader.u8()? != VERSION {
            return Err(EnvelopeError::Unknown);
        }
        let kind = match reader.u8()? {
            0 => Kind::Broadcast,
            1 => Kind::Direct,
            2 => Kind::Manifest,
            3 => Kind::Bridged,
            4 => Kind::Part,
            5 => Kind::Beacon,
            _ => return Err(EnvelopeError::Unknown),
        };
        let content = match reader.u8()? {
            0 => Content::Text,
            1 => Content::Binary,
            _ => return Err(EnvelopeError::Unknown),
        };
        let keys = PublicKeys::new(reader.array()?);
        let nonce = reader.array()?;
        let epoch = reader.u64()?;
        let time_ms = epoch.saturating_add(reader.u64()?);
        let sequence = reader.u64()?;
        let recipients = reader.length()?;
        if recipients > MAX_RECIPIENTS {
            return Err(EnvelopeError::TooLong);
        }
        let (recipients, _) = reader.take(recipients * ID_LEN)?.as_chunks();
        let payload = reader.rest();
        if payload.len() > MAX_PAYLOAD {
            return Err(EnvelopeError::TooLong);
        }
        let is_text = content == Content::Text && matches!(kind, Kind::Broadcast | Kind::Direct);
        if is_text && std::str::from_utf8(payload).is_err() {
            return Err(EnvelopeError::NotUtf8);
        }
        if kind == Kind::Bridged && payload.len() < ID_LEN {
            return Err(EnvelopeError::Truncated);
        }
        Ok(Self {
            bytes,
            kind,
            content,
            keys,
            nonce,
            epoch,
            time_ms,
            sequence,
            recipients,
            payload: signed.len() - payload.len()..signed.len(),
            signature: *signature,
        })
    }

    /// Checks the signature, as strictly as [`PublicKeys`] does.
    ///
    /// # Errors
    /// [`EnvelopeError::BadSignature`].
    pub fn verify(&self) -> Result<(), EnvelopeError> {
        let labelled = [SIGNATURE_LABEL, &self.bytes[..self.payload.end]].concat();
        if self.keys.verify(&labelled, &self.signature) {
            Ok(())
        } else {
            Err(EnvelopeError::BadSignature)
        }
    }

    /// The id of the message, 20 bytes.
    #[must_use]
    pub fn id(&self) -> MessageId {
        if self.kind == Kind::Bridged
            && let Some(id) = self.payload().first_chunk()
        {
            return MessageId::new(*id);
        }
        let hash = Sha1::new()
            .chain_update(ID_LABEL)
            .chain_update(self.keys.as_bytes())
            .chain_update(self.nonce)
            .chain_update(self.payload());
        MessageId::new(hash.finalize().into())
    }

    /// The address of its author.
    #[must_use]
    pub fn from(&self) -> PeerId {
        self.keys.address()
    }

    /// The keys of its author.
    #[must_use]
    pub const fn keys(&self) -> &PublicKeys {
        &self.keys
    }

    /// The kind of the message.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The type of the payload.
    #[must_use]
    pub const fn content(&self) -> Content {
        self.content
    }

    /// When the author started, in milliseconds since 1970 by its clock.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Number of the message among those that the author has sent since then.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the message was sent, in milliseconds since 1970 by the author's clock.
    #[must_use]
    pub const fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The peers that it is for. Empty in a broadcast.
    pub fn recipients(&self) -> impl Iterator<Item = PeerId> + use<'a> {
        self.recipients.iter().map(|id| PeerId::new(*id))
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload.clone()]
    }

    /// Where the payload lies in the envelope's bytes.
    #[must_use]
    pub fn payload_range(&self) -> Range<usize> {
        self.payload.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::frame::{Frame, Gossip, Pushed};
    use crate::wire::stream::write_extended;

    fn draft(payload: &[u8]) -> Draft<'_> {
        Draft {
            kind: Kind::Broadcast,
            content: Content::Binary,
            epoch: 1_800_000_000_000,
            sequence: 300,
            time_ms: 1_800_000_000_000 + 86_400_000,
            recipients: &[],
            nonce: [9; 8],
            payload,
        }
    }

    #[test]
    fn a_message_says_what_its_draft_said() {
        let identity = Identity::from_seed(&[1; 32]);
        let recipients = [PeerId::new([5; 20]), PeerId::new([6; 20])];
        let draft = Draft {
            kind: Kind::Direct,
            content: Content::Text,
            recipients: &recipients,
            ..draft("grüß dich".as_bytes())
        };
        let bytes = draft.sign(&identity);
        let envelope = Envelope::decode(&bytes).unwrap();
        assert_eq!(envelope.verify(), Ok(()));
        assert_eq!(envelope.kind(), Kind::Direct);
        assert_eq!(envelope.content(), Content::Text);
        assert_eq!(envelope.from(), identity.address());
        assert_eq!(envelope.keys(), identity.public());
        assert_eq!(envelope.epoch(), draft.epoch);
        assert_eq!(envelope.sequence(), 300);
        assert_eq!(envelope.time_ms(), draft.time_ms);
        assert!(envelope.recipients().eq(recipients));
        assert_eq!(envelope.payload(), draft.payload);
        assert_eq!(&bytes[envelope.payload_range()], draft.payload);
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let identity = Identity::from_seed(&[1; 32]);
        let bytes = draft(b"hello").sign(&identity);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let verdict = Envelope::decode(&changed).and_then(|envelope| envelope.verify());
            assert!(verdict.is_err(), "byte {at}");
        }
        for end in 0..bytes.len() {
            let verdict = Envelope::decode(&bytes[..end]).and_then(|envelope| envelope.verify());
            assert!(verdict.is_err(), "cut at {end}");
        }
    }

    #[test]
    fn equal_texts_are_different_messages_and_bridges_agree() {
        let (one, two) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let id = |bytes: &[u8]| Envelope::decode(bytes).unwrap().id();
        let first = draft(b"hello").sign(&one);
        let mut other = draft(b"hello");
        other.nonce = [8; 8];
        assert_ne!(id(&first), id(&other.sign(&one)));
        assert_ne!(id(&first), id(&draft(b"hello").sign(&two)));
        let v1_id = bridged_id("some id 0.25");
        let payload = [v1_id.as_bytes(), &b"12:{...}"[..]].concat();
        let mut bridged = draft(&payload);
        bridged.kind = Kind::Bridged;
        assert_eq!(id(&bridged.sign(&one)), v1_id);
        assert_eq!(id(&bridged.sign(&one)), id(&bridged.sign(&two)));
        bridged.payload = &payload[..19];
        assert!(Envelope::decode(&bridged.sign(&one)).is_err());
    }

    #[test]
    fn limits_hold() {
        let identity = Identity::from_seed(&[1; 32]);
        let fits = vec![0; MAX_PAYLOAD];
        assert!(Envelope::decode(&draft(&fits).sign(&identity)).is_ok());
        let long = vec![0; MAX_PAYLOAD + 1];
        let error = Envelope::decode(&draft(&long).sign(&identity)).unwrap_err();
        assert_eq!(error, EnvelopeError::TooLong);
        let many = [PeerId::new([1; 20]); MAX_RECIPIENTS + 1];
        let mut crowded = draft(b"");
        crowded.recipients = &many;
        let error = Envelope::decode(&crowded.sign(&identity)).unwrap_err();
        assert_eq!(error, EnvelopeError::TooLong);
        let mut text = draft(&[0xff]);
        text.content = Content::Text;
        let error = Envelope::decode(&text.sign(&identity)).unwrap_err();
        assert_eq!(error, EnvelopeError::NotUtf8);
    }

    /// A 12-byte text must take at most 300 bytes on the stream, headers included.
    #[test]
    fn a_short_text_is_cheap() {
        let identity = Identity::from_seed(&[1; 32]);
        let envelope = draft(b"hello, world").sign(&identity);
        let mut frame = Vec::new();
        Frame::from(Gossip {
            hops: 3,
            pushed: Pushed::Flood,
            has: vec![PeerId::new([1; 20]); 6],
            envelope: envelope.into(),
        })
        .encode(&mut frame);
        let mut stream = Vec::new();
        write_extended(1, &frame, &mut stream).unwrap();
        println!("{} bytes", stream.len());
        assert!(stream.len() <= 300);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Envelope::decode(&bytes).map(|envelope| (envelope.id(), envelope.verify()));
        }
    }
}
