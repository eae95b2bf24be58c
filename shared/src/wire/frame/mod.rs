//! Frames of the protocol `ep2`: a type, flags, and the fields of that type, one after the other.
//!
//! Numbers are unsigned LEB128 in the shortest form, ids 20 bytes, lists and byte strings
//! have their length before them; the last byte string of a frame ends with the frame. What follows
//! the known fields is an error, so that one frame has one form; additions get a type or a flag.
//! Unknown flags are ignored. Unknown types below 128 are [skipped](Frame::Unknown), those from 128
//! on close the link.

mod list;
#[cfg(test)]
mod tests;

pub use list::{Ids, Indices};

use super::varint::{self, ReadError, Reader};
use crate::crypto::PublicKeys;
use crate::crypto::admission::Proof;
use crate::crypto::manifest::CHUNK;
use crate::{MessageId, PeerId};

/// Bytes of an envelope or a sealed message: the largest message, 64 KiB, and what is around it.
pub const MAX_BODY: usize = (64 << 10) + 1024;

/// Ids in `has`: with six links each, a sender's neighbours and those of the one before.
pub const MAX_HAS: usize = 32;

/// Peers in a goodbye.
pub const MAX_PEERS: usize = 16;

/// Pieces asked for at once: 1 MiB.
pub const MAX_INDICES: usize = 64;

/// Types from here on may not be skipped.
const MUST_UNDERSTAND: u8 = 128;

const FLOOD: u8 = 1;

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
        missing: u32,
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
    /// 0x20: a broadcast.
    Gossip {
        hops: u8,
        has: Ids<'a>,
        envelope: &'a [u8],
    },
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
    /// A type that this version does not know and may skip.
    Unknown(u8),
}

impl<'a> Frame<'a> {
    /// Reads a whole frame.
    ///
    /// # Errors
    /// [`FrameError`]: the link is to be closed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let flags = reader.u8()?;
        let frame = Self::fields(kind, flags, &mut reader)?;
        if !reader.is_empty() && !matches!(frame, Self::Unknown(_)) {
            return Err(FrameError::Trailing);
        }
        Ok(frame)
    }

    fn fields(kind: u8, flags: u8, reader: &mut Reader<'a>) -> Result<Self, FrameError> {
        Ok(match kind {
            0x01 => Self::Auth(Proof {
                signature: reader.array()?,
                mac: reader.array()?,
            }),
            0x02 => Self::Goodbye {
                reason: GoodbyeReason::from_number(reader.u8()?),
                peers: ids(reader, MAX_PEERS)?,
            },
            0x10 => Self::Neighbor {
                epoch: reader.u64()?,
                links: reader.u32()?,
                max_links: reader.u32()?,
            },
            0x11 => Self::Need {
                id: reader.message_id()?,
                from: reader.peer_id()?,
                hops: reader.u8()?,
                missing: reader.u32()?,
            },
            0x12 => Self::Signal {
                id: reader.message_id()?,
                kind: SignalKind::from_number(reader.u8()?).ok_or(FrameError::Unknown)?,
                from: reader.peer_id()?,
                to: reader.peer_id()?,
                sdp: rest(reader, MAX_SDP)?,
            },
            0x13 => Self::Split {
                id: reader.message_id()?,
                peer: reader.peer_id()?,
            },
            0x20 => Self::Gossip {
                hops: reader.u8()?,
                has: ids(reader, MAX_HAS)?,
                envelope: rest(reader, MAX_BODY)?,
            },
            0x26 => Self::ChunkRequest {
                message: reader.message_id()?,
                indices: Indices::read(reader, MAX_INDICES)?.ok_or(FrameError::TooLong)?,
            },
            0x27 => Self::Chunk {
                message: reader.message_id()?,
                index: reader.u32()?,
                data: rest(reader, CHUNK)?,
            },
            0x30 => Self::Route {
                hops: reader.u8()?,
                hop_limit: reader.u8()?,
                flood: flags & FLOOD != 0,
                id: reader.message_id()?,
                from: reader.peer_id()?,
                to: reader.peer_id()?,
                body: rest(reader, MAX_BODY)?,
            },
            0x31 => Self::Ack {
                id: reader.message_id()?,
                from: reader.peer_id()?,
                to: reader.peer_id()?,
                hops: reader.u8()?,
                hop_limit: reader.u8()?,
                proof: reader.array()?,
            },
            0x32 => Self::RouteError {
                id: reader.message_id()?,
                from: reader.peer_id()?,
            },
            0x33 => Self::Who {
                id: reader.message_id()?,
                to: reader.peer_id()?,
                hops: reader.u8()?,
                hop_limit: reader.u8()?,
            },
            0x34 => Self::Keys {
                id: reader.message_id()?,
                keys: PublicKeys::new(reader.array()?),
                hops: reader.u8()?,
            },
            0x50 => Self::Ping {
                token: reader.u64()?,
                links: reader.u32()?,
                lateness_ms: reader.u32()?,
            },
            0x51 => Self::Pong {
                token: reader.u64()?,
                links: reader.u32()?,
                lateness_ms: reader.u32()?,
            },
            MUST_UNDERSTAND.. => return Err(FrameError::Unknown),
            other => Self::Unknown(other),
        })
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Auth(_) => 0x01,
            Self::Goodbye { .. } => 0x02,
            Self::Neighbor { .. } => 0x10,
            Self::Need { .. } => 0x11,
            Self::Signal { .. } => 0x12,
            Self::Split { .. } => 0x13,
            Self::Gossip { .. } => 0x20,
            Self::ChunkRequest { .. } => 0x26,
            Self::Chunk { .. } => 0x27,
            Self::Route { .. } => 0x30,
            Self::Ack { .. } => 0x31,
            Self::RouteError { .. } => 0x32,
            Self::Who { .. } => 0x33,
            Self::Keys { .. } => 0x34,
            Self::Ping { .. } => 0x50,
            Self::Pong { .. } => 0x51,
            Self::Unknown(kind) => *kind,
        }
    }

    /// Appends the frame. Its lists and bytes must be within the limits, or it will be refused.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = match self {
            Self::Route { flood: true, .. } => FLOOD,
            _ => 0,
        };
        out.extend_from_slice(&[self.kind(), flags]);
        match self {
            Self::Auth(proof) => {
                out.extend_from_slice(&proof.signature);
                out.extend_from_slice(&proof.mac);
            }
            Self::Goodbye { reason, peers } => {
                out.push(reason.number());
                peers.write(out);
            }
            Self::Neighbor {
                epoch,
                links,
                max_links,
            } => write_numbers(&[*epoch, (*links).into(), (*max_links).into()], out),
            Self::Need {
                id,
                from,
                hops,
                missing,
            } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(from.as_bytes());
                out.push(*hops);
                write_numbers(&[(*missing).into()], out);
            }
            Self::Signal {
                id,
                kind,
                from,
                to,
                sdp,
            } => {
                out.extend_from_slice(id.as_bytes());
                out.push(*kind as u8);
                out.extend_from_slice(from.as_bytes());
                out.extend_from_slice(to.as_bytes());
                out.extend_from_slice(sdp);
            }
            Self::Split { id, peer } => {
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(peer.as_bytes());
            }
            Self::Gossip {
                hops,
                has,
                envelope,
            } => {
                out.push(*hops);
                has.write(out);
                out.extend_from_slice(envelope);
            }
            Self::ChunkRequest { message, indices } => {
                out.extend_from_slice(message.as_bytes());
                indices.write(out);
            }
            Self::Chunk {
                message,
                index,
                data,
            } => {
                out.extend_from_slice(message.as_bytes());
                varint::write((*index).into(), out);
                out.extend_from_slice(data);
            }
            Self::Route {
                hops,
                hop_limit,
                id,
                from,
                to,
                body,
                ..
            } => {
                out.extend_from_slice(&[*hops, *hop_limit]);
                write_ids(id, &[from, to], out);
                out.extend_from_slice(body);
            }
            Self::Ack {
                id,
                from,
                to,
                hops,
                hop_limit,
                proof,
            } => {
                write_ids(id, &[from, to], out);
                out.extend_from_slice(&[*hops, *hop_limit]);
                out.extend_from_slice(proof);
            }
            Self::RouteError { id, from } => write_ids(id, &[from], out),
            Self::Who {
                id,
                to,
                hops,
                hop_limit,
            } => {
                write_ids(id, &[to], out);
                out.extend_from_slice(&[*hops, *hop_limit]);
            }
            Self::Keys { id, keys, hops } => {
                write_ids(id, &[], out);
                out.extend_from_slice(keys.as_bytes());
                out.push(*hops);
            }
            Self::Ping {
                token,
                links,
                lateness_ms,
            }
            | Self::Pong {
                token,
                links,
                lateness_ms,
            } => write_numbers(&[*token, (*links).into(), (*lateness_ms).into()], out),
            Self::Unknown(_) => {}
        }
    }
}

fn ids<'a>(reader: &mut Reader<'a>, most: usize) -> Result<Ids<'a>, FrameError> {
    Ids::read(reader, most)?.ok_or(FrameError::TooLong)
}

fn rest<'a>(reader: &mut Reader<'a>, most: usize) -> Result<&'a [u8], FrameError> {
    let length = reader.rest().len();
    if length > most {
        return Err(FrameError::TooLong);
    }
    Ok(reader.take(length)?)
}

fn write_ids(id: &MessageId, peers: &[&PeerId], out: &mut Vec<u8>) {
    out.extend_from_slice(id.as_bytes());
    for peer in peers {
        out.extend_from_slice(peer.as_bytes());
    }
}

fn write_numbers(numbers: &[u64], out: &mut Vec<u8>) {
    for number in numbers {
        varint::write(*number, out);
    }
}
