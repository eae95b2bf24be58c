//! Signed messages, and what is dropped first where they wait. The core never looks inside a payload
//! and never checks a signature: its driver does both, and hands over what passed.

use std::sync::Arc;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::crypto::envelope::{Content, Envelope, EnvelopeError, Kind};
use easypeers_proto::{MessageId, PeerId};

/// A signed envelope whose signature was checked, or that we signed ourselves.
#[derive(Debug)]
pub struct Signed {
    /// SHA-1 over nonce, keys and payload.
    pub id: MessageId,
    /// Its author.
    pub origin: PeerId,
    /// The author's keys.
    pub keys: PublicKeys,
    /// Broadcast, manifest or bridged.
    pub kind: Kind,
    /// Text or bytes.
    pub content: Content,
    /// Milliseconds since 1970 by the author's clock, when it started and when it sent this.
    pub epoch: u64,
    pub time_ms: u64,
    /// Counts the author's messages of this epoch.
    pub sequence: u64,
    /// The envelope as it travels.
    pub bytes: Arc<[u8]>,
    /// Where its payload lies in `bytes`.
    pub payload: std::ops::Range<usize>,
}

/// Above this, a message goes along the tree, and is bulk to a slow neighbour. Below it, announcing
/// costs about as much as sending.
const BULK: usize = 1024;

impl Signed {
    /// Whether it goes along the tree.
    pub const fn is_large(&self) -> bool {
        self.payload.end - self.payload.start > BULK
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }
}

impl Signed {
    /// Decodes an envelope of ours, or one whose signature was checked.
    ///
    /// # Errors
    /// What decoding says.
    pub fn decode(bytes: &Arc<[u8]>) -> Result<Self, EnvelopeError> {
        Envelope::decode(bytes).map(|envelope| Self::new(&envelope, Arc::clone(bytes)))
    }

    /// An envelope whose signature was checked.
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
}

/// What is dropped first when a neighbour is slow, from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Passed on for others, large.
    ForwardedBulk,
    /// Passed on for others.
    Forwarded,
    /// Our own, large.
    OwnBulk,
    /// Our own.
    Own,
    /// Control, acknowledgements, direct messages: never dropped.
    Control,
}
