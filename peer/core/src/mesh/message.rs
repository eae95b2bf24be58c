//! What the core passes around: signed messages, sealed messages and the packets that carry them.
//! The core never looks inside a payload and never checks a signature: its driver does both, and
//! hands over what passed.

use std::sync::Arc;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::crypto::envelope::{Content, Envelope, EnvelopeError, Kind};
use easypeers_proto::wire::frame::{Course, FlipStep, Purpose, Pushed, SignalKind};
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

/// A sealed message on its way.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// SHA-1 of the body; the driver checked it.
    pub id: MessageId,
    /// Who says to have sent it. Proven only to the receiver, who can open the body.
    pub from: PeerId,
    /// Its receiver.
    pub to: PeerId,
    /// The ciphertext.
    pub body: Arc<[u8]>,
}

/// What a member says of itself when it accepts a link, and again when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Milliseconds since 1970 when its process started: tells a restarted peer from a second link.
    pub epoch: u64,
    /// Links it has.
    pub links: u32,
    /// Links it wants.
    pub max_links: u32,
}

/// A liveness probe, or its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Repeated in the answer.
    pub token: u64,
    /// Links the sender has.
    pub links: u32,
    /// How late the sender's timers run, in milliseconds.
    pub lateness_ms: u32,
}

/// A session description on its way along an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The exchange.
    pub id: MessageId,
    pub kind: SignalKind,
    pub from: PeerId,
    pub to: PeerId,
    /// Empty in a refusal.
    pub sdp: Arc<str>,
}

/// A walk through the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The walk, and the exchange that comes of it.
    pub id: MessageId,
    pub from: PeerId,
    /// Links that it has gone along.
    pub hops: u8,
    pub purpose: Purpose,
    /// Links that its sender misses.
    pub missing: u32,
    pub course: Course,
}

/// What a member has of a window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The window, by the authors' clocks: milliseconds since 1970.
    pub from_ms: u64,
    pub to_ms: u64,
    pub count: u32,
    /// Exclusive or of the first 8 bytes of the ids.
    pub fold: u64,
    pub reply: bool,
    /// In a reply.
    pub ids: Vec<MessageId>,
}

/// A frame that the core understands, owned.
#[derive(Debug, Clone)]
pub enum Packet {
    Neighbor(Neighbor),
    Need(Need),
    Signal(Signal),
    Split {
        id: MessageId,
        /// Who is to be linked to in place of the sender.
        peer: PeerId,
    },
    Shuffle {
        id: MessageId,
        from: PeerId,
        hops: u8,
        peers: Vec<PeerId>,
    },
    ShuffleReply {
        id: MessageId,
        peers: Vec<PeerId>,
    },
    Flip {
        id: MessageId,
        step: FlipStep,
        peer: PeerId,
    },
    IHave {
        ids: Vec<MessageId>,
        pull: bool,
    },
    Graft,
    Prune,
    Digest(Digest),
    Pull(Vec<MessageId>),
    /// Beacons by their slot.
    Beacons(Vec<(u64, MessageId)>),
    Gossip {
        /// Links that it has come along, this one included once received.
        hops: u8,
        pushed: Pushed,
        /// Peers that have it or are getting it.
        has: Vec<PeerId>,
        message: Arc<Signed>,
    },
    ChunkRequest {
        message: MessageId,
        indices: Vec<u32>,
    },
    Chunk {
        message: MessageId,
        index: u32,
        data: Arc<[u8]>,
    },
    Route {
        hops: u8,
        hop_limit: u8,
        /// Goes to everybody, since no way is known.
        flood: bool,
        sealed: Arc<Sealed>,
    },
    Ack {
        id: MessageId,
        from: PeerId,
        to: PeerId,
        /// Links that the message went along.
        hops: u8,
        hop_limit: u8,
        proof: [u8; 16],
    },
    RouteError {
        id: MessageId,
        from: PeerId,
    },
    Who {
        id: MessageId,
        to: PeerId,
        hops: u8,
        hop_limit: u8,
    },
    Keys {
        id: MessageId,
        keys: PublicKeys,
        hops: u8,
    },
    Ping(Probe),
    Pong(Probe),
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
