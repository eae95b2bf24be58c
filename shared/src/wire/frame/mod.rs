//! Frames of the protocol `ep2`: a kind, flags, and the fields of that kind, one after the other.
//!
//! Numbers are unsigned LEB128 in the shortest form, ids 20 bytes, lists and byte strings
//! have their length before them; the last byte string of a frame ends with the frame. Bytes after
//! the known fields are an error, which gives a frame exactly one form; additions get a kind or a
//! flag. Unknown flags are ignored. Unknown kinds below 128 are [skipped](Frame::Unknown), those
//! from 128 on close the link. docs/peer-protocol.md describes the protocol.
//!
//! A kind is described in one place: a struct and, below it, its number, its largest length and its
//! bytes.
//!
//! - `link`: admission, acceptance, liveness and the end of a link.
//! - `topology`: finding, replacing and exchanging links.
//! - `broadcast`: broadcasts and their repair.
//! - `routing`: direct messages.

mod broadcast;
mod link;
mod routing;
#[cfg(test)]
mod tests;
mod topology;

pub use broadcast::{Chunk, ChunkRequest, Digest, Gossip, Graft, IHave, Prune, Pull, Pushed};
pub use link::{Auth, Goodbye, GoodbyeReason, Neighbor, Ping, Pong};
pub use routing::{Ack, Keys, Route, RouteError, Sealed, Who};
pub use topology::{
    Beacons, Flip, FlipStep, LinkRequest, Purpose, Shuffle, ShuffleReply, Signal, SignalKind,
    Split, WalkTarget,
};

use std::sync::Arc;

use super::varint::{self, ReadError, Reader};
use crate::id::{ID_LEN, Id};

/// Bytes of an envelope or a sealed message: the largest message, 64 KiB, and what is around it.
pub const MAX_BODY: usize = (64 << 10) + 1024;

/// Ids in `has`: with six links each, a sender's neighbours and those of the one before.
pub const MAX_HAS: usize = 32;

/// Peers in a goodbye or a shuffle.
pub const MAX_PEERS: usize = 16;

/// Pieces asked for at once: 1 MiB.
pub const MAX_INDICES: usize = 64;

/// Messages announced or pulled at once.
pub const MAX_MESSAGES: usize = 64;

/// Messages in a digest: as many as are kept for others.
pub const MAX_DIGEST: usize = 256;

/// Beacons in a beacon digest.
pub const MAX_BEACONS: usize = 8;

/// Bytes of a session description on its way.
pub const MAX_SDP: usize = 16 << 10;

/// Kinds from here on may not be skipped.
const MUST_UNDERSTAND: u8 = 128;

/// The kind and the flags.
const HEADER_LEN: usize = 2;

/// The longest numbers.
const U32_LEN: usize = varint::len(u32::MAX as u64);
const U64_LEN: usize = varint::len(u64::MAX);

/// A flag of GOSSIP and ROUTE.
const FLOODED: u8 = 1;
/// A flag of GOSSIP and IHAVE.
const PULLED: u8 = 2;

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
    /// A kind that must not be skipped, or a value that this version does not know.
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

/// A kind of frame as bytes.
trait FrameFields: Sized {
    /// Its number on the wire.
    const KIND: u8;

    /// Bytes of the largest frame that decodes, the kind and the flags included.
    const MAX_LEN: usize;

    /// Reads the fields. Bytes that it leaves are an error.
    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError>;

    fn flags(&self) -> u8 {
        0
    }

    /// Appends the fields.
    fn encode(&self, out: &mut Vec<u8>);
}

macro_rules! frames {
    ($($(#[$doc:meta])* $kind:ident),* $(,)?) => {
        /// A frame.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Frame {
            $($(#[$doc])* $kind($kind),)*
            /// A kind that this version does not know and may skip.
            Unknown(u8),
        }

        impl Frame {
            /// Reads a whole frame.
            ///
            /// # Errors
            /// [`FrameError`]: the link is to be closed.
            pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
                let mut reader = Reader::new(bytes);
                let kind = reader.u8()?;
                let flags = reader.u8()?;
                let frame = match kind {
                    $($kind::KIND => Self::$kind(FrameFields::decode(flags, &mut reader)?),)*
                    MUST_UNDERSTAND.. => return Err(FrameError::Unknown),
                    unknown => return Ok(Self::Unknown(unknown)),
                };
                if !reader.is_empty() {
                    return Err(FrameError::Trailing);
                }
                Ok(frame)
            }

            /// Its number on the wire.
            #[must_use]
            pub const fn kind(&self) -> u8 {
                match self {
                    $(Self::$kind(_) => $kind::KIND,)*
                    Self::Unknown(kind) => *kind,
                }
            }

            /// Bytes of the largest frame of this kind that decodes, the kind and the flags included.
            /// None for a kind that this version does not know.
            #[must_use]
            pub const fn max_len(kind: u8) -> Option<usize> {
                match kind {
                    $($kind::KIND => Some($kind::MAX_LEN),)*
                    _ => None,
                }
            }

            /// Appends the frame. A receiver refuses one whose lists or bytes exceed their limits.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$kind(fields) => {
                        out.extend_from_slice(&[$kind::KIND, fields.flags()]);
                        fields.encode(out);
                    })*
                    Self::Unknown(kind) => out.extend_from_slice(&[*kind, 0]),
                }
            }
        }

        $(
            impl $kind {
                /// The number of this kind on the wire.
                pub const KIND: u8 = <Self as FrameFields>::KIND;

                /// Bytes of the largest frame of this kind that decodes, the kind and the flags
                /// included.
                pub const MAX_LEN: usize = <Self as FrameFields>::MAX_LEN;
            }

            impl From<$kind> for Frame {
                fn from(fields: $kind) -> Self {
                    Self::$kind(fields)
                }
            }
        )*
    };
}

frames! {
    /// 0x01: proves the sender's identity and that it knows the topic.
    Auth,
    /// 0x02: the link is closed, with peers to try instead.
    Goodbye,
    /// 0x10: the link is accepted, or its sender's numbers changed.
    Neighbor,
    /// 0x11: LINK_REQUEST, a walk that looks for links.
    LinkRequest,
    /// 0x12: a session description on its way.
    Signal,
    /// 0x13: asks a neighbour to link to another peer in place of the sender.
    Split,
    /// 0x14: members that the sender knows of, on a random walk.
    Shuffle,
    /// 0x15: members in return, along the way back.
    ShuffleReply,
    /// 0x16: offers a neighbour for a flip, or prepares that neighbour for it.
    Flip,
    /// 0x20: a broadcast.
    Gossip,
    /// 0x21: broadcasts that the sender has.
    IHave,
    /// 0x22: asks for broadcasts in whole.
    Graft,
    /// 0x23: asks for announcements in place of broadcasts.
    Prune,
    /// 0x24: what the sender has of a window of time.
    Digest,
    /// 0x25: asks for broadcasts.
    Pull,
    /// 0x26: asks for pieces of a large broadcast.
    ChunkRequest,
    /// 0x27: a piece of a large broadcast.
    Chunk,
    /// 0x30: a sealed message on its way.
    Route,
    /// 0x31: a sealed message was opened.
    Ack,
    /// 0x32: a sealed message has no way to its receiver.
    RouteError,
    /// 0x33: asks for the keys of a member.
    Who,
    /// 0x34: the keys of a member.
    Keys,
    /// 0x40: the latest beacons that the sender heard.
    Beacons,
    /// 0x50: asks for a sign of life.
    Ping,
    /// 0x51: the sign of life.
    Pong,
}

/// Bytes of the largest list.
const fn list_len(most: usize, each: usize) -> usize {
    varint::len(most as u64) + most * each
}

/// The length of a list, within its limit.
fn read_count(reader: &mut Reader<'_>, most: usize) -> Result<usize, FrameError> {
    let count = reader.length()?;
    if count > most {
        return Err(FrameError::TooLong);
    }
    Ok(count)
}

fn read_ids<T: Id>(reader: &mut Reader<'_>, most: usize) -> Result<Vec<T>, FrameError> {
    let count = read_count(reader, most)?;
    let (ids, _) = reader.take(count * ID_LEN)?.as_chunks::<ID_LEN>();
    Ok(ids.iter().map(|id| T::from(*id)).collect())
}

/// Reads a list whose items take `least` bytes or more. It allocates no more than the bytes can fill.
fn read_list<T>(
    reader: &mut Reader<'_>,
    most: usize,
    least: usize,
    read: impl Fn(&mut Reader<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, FrameError> {
    let count = read_count(reader, most)?;
    let mut items = Vec::with_capacity(count.min(reader.rest().len() / least));
    for _ in 0..count {
        items.push(read(reader)?);
    }
    Ok(items)
}

/// Reads the byte string at the end of a frame.
fn read_rest(reader: &mut Reader<'_>, most: usize) -> Result<Arc<[u8]>, FrameError> {
    let length = reader.rest().len();
    if length > most {
        return Err(FrameError::TooLong);
    }
    Ok(reader.take(length)?.into())
}

/// Appends ids and other fields of fixed length.
fn write_bytes(fields: &[&[u8]], out: &mut Vec<u8>) {
    for field in fields {
        out.extend_from_slice(field);
    }
}

fn write_numbers(numbers: &[u64], out: &mut Vec<u8>) {
    for number in numbers {
        varint::write(*number, out);
    }
}

fn write_ids<T: Id>(ids: &[T], out: &mut Vec<u8>) {
    varint::write(ids.len() as u64, out);
    for id in ids {
        out.extend_from_slice(id.as_ref());
    }
}
