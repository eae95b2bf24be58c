//! What the mesh passes around: links by number, signed broadcasts and how important a frame is.
//!
//! The mesh never looks inside a payload and never checks a signature. Its driver does both and
//! hands over what passed.

use std::sync::Arc;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::crypto::envelope::{Content, Envelope, EnvelopeError, Kind};
use easypeers_proto::{MessageId, PeerId};

/// A link, as its driver numbers it. A number is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Most links that a frame may travel along. Messages take the fastest ways, not the shortest: with
/// 100,000 members these have twenty links or more, and half as many again along a tree.
pub const HOP_LIMIT: u8 = 64;

/// A broadcast with more payload than this travels along the tree, and counts as bulk towards a slow
/// neighbour. Below it, announcing a message costs about as much as sending it.
const BULK: usize = 1024;

/// A signed envelope whose signature was checked, or that we signed ourselves.
#[derive(Debug)]
pub struct Signed {
    /// SHA-1 over nonce, keys and payload.
    pub id: MessageId,
    /// Its author.
    pub origin: PeerId,
    /// The author's keys.
    pub keys: PublicKeys,
    /// Broadcast, manifest, bridged message or beacon.
    pub kind: Kind,
    /// Text or bytes.
    pub content: Content,
    /// When the author's process started, in milliseconds since 1970 by its own clock.
    pub epoch: u64,
    /// When the author sent this, in milliseconds since 1970 by its own clock.
    pub time_ms: u64,
    /// Counts the author's messages of this epoch.
    pub sequence: u64,
    /// The envelope as it travels.
    pub bytes: Arc<[u8]>,
    /// Where its payload lies in `bytes`.
    pub payload: std::ops::Range<usize>,
}

impl Signed {
    /// Decodes our own envelope, or one whose signature was checked.
    ///
    /// # Errors
    /// [`EnvelopeError`] if the bytes are not an envelope.
    pub fn decode(bytes: &Arc<[u8]>) -> Result<Self, EnvelopeError> {
        Envelope::decode(bytes).map(|envelope| Self::new(&envelope, Arc::clone(bytes)))
    }

    /// An envelope whose signature was checked, and the bytes that it was decoded from.
    #[must_use]
    pub fn new(envelope: &Envelope<'_>, bytes: Arc<[u8]>) -> Self {
        Self {
            id: envelope.id(),
            origin: envelope.from(),
            keys: *envelope.keys(),
            kind: envelope.kind(),
            content: envelope.content(),
            epoch: envelope.epoch(),
            time_ms: envelope.time_ms(),
            sequence: envelope.sequence(),
            payload: envelope.payload_range(),
            bytes,
        }
    }

    /// Whether it travels along the tree.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.payload.end - self.payload.start > BULK
    }

    /// What its author wants to say.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }
}

/// How important a frame is. When a neighbour is slow, the lowest class is dropped first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A large broadcast that we pass on for its author.
    ForwardedBulk,
    /// A broadcast that we pass on for its author.
    Forwarded,
    /// A large broadcast of our own.
    OwnBulk,
    /// A broadcast of our own.
    Own,
    /// Control frames, acknowledgements and direct messages. Never dropped.
    Control,
}
