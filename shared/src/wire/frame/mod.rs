//! Frames of the protocol `ep2`: a type, flags, and the fields of that type, one after the other.
//!
//! Numbers are unsigned LEB128 in the shortest form, ids 20 bytes, lists and byte strings
//! have their length before them; the last byte string of a frame ends with the frame. What follows
//! the known fields is an error, so that one frame has one form; additions get a type or a flag.
//! Unknown flags are ignored. Unknown types below 128 are [skipped](Frame::Unknown), those from 128
//! on close the link.

mod codec;
mod list;
#[cfg(test)]
mod tests;

pub use list::{Ids, Indices, Marks};

use super::varint::ReadError;
use crate::crypto::PublicKeys;
use crate::crypto::admission::Proof;
use crate::{MessageId, PeerId};

/// Bytes of an envelope or a sealed message: the largest message, 64 KiB, and what is around it.
pub const MAX_BODY: usize = (64 << 10) + 1024;

/// Ids in `has`: with six links each, a sender's neighbours and those of the one before.
pub const MAX_HAS: usize = 32;

/// Peers in a goodbye.
pub const MAX_PEERS: usize = 16;

/// Pieces asked for at once: 1 MiB.
pub const MAX_INDICES: usize = 64;

/// Messages announced or pulled at once.
pub const MAX_MESSAGES: usize = 64;

/// Messages in a digest: as many as are kept for others.
pub const MAX_DIGEST: usize = 256;

/// Slots in a list of beacons.
pub const MAX_MARKS: usize = 8;

/// Bytes of a session description on its way.
pub const MAX_SDP: usize = 16 << 10;

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It ends inside a field.
    #[error("frame is truncated")]
    Truncated,
    /// A number is not in its shortest form or too large.
    #[error("malformed number")]
    Number,
    /// Bytes follow the last field.
    #[error("bytes after the last field")]
    Trailing,
    /// A list or byte string is longer than its limit.
    #[error("field is too long")]
    TooLong,
    /// A type that must not be skipped.
    #[error("unknown frame that must be understood")]
    Unknown,
}

impl FrameError {
    /// Every reason, for initialising counters.
    pub const ALL: [Self; 5] = [
        Self::Truncated,
        Self::Number,
        Self::Trailing,
        Self::TooLong,
        Self::Unknown,
    ];

    /// A stable name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Number => "number",
            Self::Trailing => "trailing",
            Self::TooLong => "too_long",
            Self::Unknown => "unknown",
        }
    }
}

impl From<ReadError> for FrameError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Truncated => Self::Truncated,
            ReadError::Number => Self::Number,
        }
    }
}

/// Why a peer closes a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// It leaves the swarm.
    Leaving,
    /// It has links enough.
    Full,
    /// There is another link between the two.
    Duplicate,
    /// The other side broke the protocol.
    Protocol,
    /// Another link took the place of this one, see [`Frame::Split`].
    Split,
    /// A reason of a newer version.
    Other(u8),
}

/// What a [`Frame::Signal`] brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// An offer, from whoever was found to whoever looks for links.
    Offer,
    /// Its answer.
    Answer,
    /// Nothing will come of it.
    Refusal,
}

impl SignalKind {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Offer),
            1 => Some(Self::Answer),
            2 => Some(Self::Refusal),
            _ => None,
        }
    }
}

/// What a walk looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Links that its sender misses.
    Links,
    /// A far member to exchange neighbours with.
    Flip,
    /// A link to one member, for heavy traffic.
    Direct,
    /// A member that starts a flip on its own, along the way back and beyond it.
    Merge,
}

impl Purpose {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Links),
            1 => Some(Self::Flip),
            2 => Some(Self::Direct),
            3 => Some(Self::Merge),
            _ => None,
        }
    }
}

/// Where a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Course {
    /// To any neighbour.
    Random,
    /// Towards one member.
    To(PeerId),
    /// Back the way of another walk, then on at random.
    Along(MessageId),
}

/// What a [`Frame::Flip`] asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlipStep {
    /// Have a neighbour of yours link to this neighbour of mine.
    Propose,
    /// An offer will come along me: link to its maker in place of me.
    Prepare,
}

/// Why a broadcast comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pushed {
    /// Along the tree: a receiver that has it prunes.
    Tree,
    /// To every neighbour: copies are expected.
    Flood,
    /// It was asked for.
    Pulled,
    /// To every neighbour, so that the tree grows anew: a receiver that has it prunes.
    Renewed,
}

impl GoodbyeReason {
    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Leaving,
            1 => Self::Full,
            2 => Self::Duplicate,
            3 => Self::Protocol,
            4 => Self::Split,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Leaving => 0,
            Self::Full => 1,
            Self::Duplicate => 2,
            Self::Protocol => 3,
            Self::Split => 4,
            Self::Other(other) => other,
        }
    }
}

/// A frame, borrowed from the bytes it was read from. docs/peer-protocol.md says what each is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are those of docs/peer-protocol.md")]
pub enum Frame<'a> {
    /// 0x01: who we are and that we know the topic.
    Auth(Proof),
    /// 0x02: the link is closed, and who else may be tried.
    Goodbye {
        reason: GoodbyeReason,
        peers: Ids<'a>,
    },
    /// 0x10: the link is accepted.
    Neighbor {
        epoch: u64,
        links: u32,
        max_links: u32,
    },
    /// 0x11: somebody looks for links.
    Need {
        id: MessageId,
        from: PeerId,
        hops: u8,
        purpose: Purpose,
        missing: u32,
        course: Course,
    },
    /// 0x12: a session description on its way.
    Signal {
        id: MessageId,
        kind: SignalKind,
        from: PeerId,
        to: PeerId,
        sdp: &'a [u8],
    },
    /// 0x13: asks a neighbour to link to another peer in place of us.
    Split { id: MessageId, peer: PeerId },
    /// 0x14: members that the sender knows of, on a random walk.
    Shuffle {
        id: MessageId,
        from: PeerId,
        hops: u8,
        peers: Ids<'a>,
    },
    /// 0x15: members in return, along the way back.
    ShuffleReply { id: MessageId, peers: Ids<'a> },
    /// 0x16: offers a neighbour for a flip, or prepares that neighbour for it.
    Flip {
        id: MessageId,
        step: FlipStep,
        peer: PeerId,
    },
    /// 0x20: a broadcast.
    Gossip {
        hops: u8,
        /// Why it comes: see [`Pushed`].
        pushed: Pushed,
        has: Ids<'a>,
        envelope: &'a [u8],
    },
    /// 0x21: broadcasts that the sender has.
    IHave {
        ids: Ids<'a, MessageId>,
        /// Pull at once what is missing: nobody else will bring it.
        pull: bool,
    },
    /// 0x22: send broadcasts in whole.
    Graft,
    /// 0x23: announce broadcasts instead of sending them.
    Prune,
    /// 0x24: what the sender has of a window of time: the number of messages and the exclusive or of
    /// the first 8 bytes of their ids; in a reply the ids themselves.
    Digest {
        from_ms: u64,
        to_ms: u64,
        count: u32,
        fold: u64,
        reply: bool,
        ids: Ids<'a, MessageId>,
    },
    /// 0x25: send these broadcasts.
    Pull { ids: Ids<'a, MessageId> },
    /// 0x26: asks for pieces of a large broadcast.
    ChunkRequest {
        message: MessageId,
        indices: Indices<'a>,
    },
    /// 0x27: a piece.
    Chunk {
        message: MessageId,
        index: u32,
        data: &'a [u8],
    },
    /// 0x30: a sealed message on its way. Flag 1: flooded.
    Route {
        hops: u8,
        hop_limit: u8,
        flood: bool,
        id: MessageId,
        from: PeerId,
        to: PeerId,
        body: &'a [u8],
    },
    /// 0x31: a sealed message was opened.
    Ack {
        id: MessageId,
        from: PeerId,
        to: PeerId,
        hops: u8,
        hop_limit: u8,
        proof: [u8; 16],
    },
    /// 0x32: a sealed message cannot go on.
    RouteError { id: MessageId, from: PeerId },
    /// 0x33: asks for the keys of a member.
    Who {
        id: MessageId,
        to: PeerId,
        hops: u8,
        hop_limit: u8,
    },
    /// 0x34: the keys of a member.
    Keys {
        id: MessageId,
        keys: PublicKeys,
        hops: u8,
    },
    /// 0x50: are you there?
    Ping {
        token: u64,
        links: u32,
        lateness_ms: u32,
    },
    /// 0x51: yes.
    Pong {
        token: u64,
        links: u32,
        lateness_ms: u32,
    },
    /// 0x40: which beacons the sender heard last.
    Beacons { marks: Marks<'a> },
    /// A type that this version does not know and may skip.
    Unknown(u8),
}
