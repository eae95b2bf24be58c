//! The bytes of frames.

use super::super::varint::{self, Reader};
use super::{
    Course, FlipStep, Frame, FrameError, GoodbyeReason, Ids, Indices, MAX_BODY, MAX_DIGEST,
    MAX_HAS, MAX_INDICES, MAX_MARKS, MAX_MESSAGES, MAX_PEERS, MAX_SDP, Marks, Purpose, Pushed,
    SignalKind,
};
use crate::crypto::PublicKeys;
use crate::crypto::admission::Proof;
use crate::crypto::manifest::CHUNK;
use crate::{MessageId, PeerId};

/// Types from here on may not be skipped.
const MUST_UNDERSTAND: u8 = 128;

/// Flags of GOSSIP and ROUTE, of GOSSIP and IHAVE, of DIGEST, of NEED.
const FLOOD: u8 = 1;
const PULLED: u8 = 2;
const RENEWED: u8 = 4;
const REPLY: u8 = 1;
const TO: u8 = 1;
const ALONG: u8 = 2;

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
                purpose: Purpose::from_number(reader.u8()?).ok_or(FrameError::Unknown)?,
                missing: reader.u32()?,
                course: match flags & (TO | ALONG) {
                    TO => Course::To(reader.peer_id()?),
                    ALONG => Course::Along(reader.message_id()?),
                    0 => Course::Random,
                    _ => return Err(FrameError::Unknown),
                },
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
            0x14 => Self::Shuffle {
                id: reader.message_id()?,
                from: reader.peer_id()?,
                hops: reader.u8()?,
                peers: ids(reader, MAX_PEERS)?,
            },
            0x15 => Self::ShuffleReply {
                id: reader.message_id()?,
                peers: ids(reader, MAX_PEERS)?,
            },
            0x16 => Self::Flip {
                id: reader.message_id()?,
                step: match reader.u8()? {
                    0 => FlipStep::Propose,
                    1 => FlipStep::Prepare,
                    _ => return Err(FrameError::Unknown),
                },
                peer: reader.peer_id()?,
            },
            0x20 => Self::Gossip {
                hops: reader.u8()?,
                pushed: match flags & (FLOOD | PULLED | RENEWED) {
                    0 => Pushed::Tree,
                    FLOOD => Pushed::Flood,
                    PULLED => Pushed::Pulled,
                    RENEWED => Pushed::Renewed,
                    _ => return Err(FrameError::Unknown),
                },
                has: ids(reader, MAX_HAS)?,
                envelope: rest(reader, MAX_BODY)?,
            },
            0x21 => Self::IHave {
                ids: ids(reader, MAX_MESSAGES)?,
                pull: flags & PULLED != 0,
            },
            0x22 => Self::Graft,
            0x23 => Self::Prune,
            0x24 => Self::Digest {
                from_ms: reader.u64()?,
                to_ms: reader.u64()?,
                count: reader.u32()?,
                fold: u64::from_be_bytes(reader.array()?),
                reply: flags & REPLY != 0,
                ids: ids(reader, MAX_DIGEST)?,
            },
            0x25 => Self::Pull {
                ids: ids(reader, MAX_MESSAGES)?,
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
            0x40 => Self::Beacons {
                marks: Marks::read(reader, MAX_MARKS)?.ok_or(FrameError::TooLong)?,
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
            Self::Shuffle { .. } => 0x14,
            Self::ShuffleReply { .. } => 0x15,
            Self::Flip { .. } => 0x16,
            Self::Gossip { .. } => 0x20,
            Self::IHave { .. } => 0x21,
            Self::Graft => 0x22,
            Self::Prune => 0x23,
            Self::Digest { .. } => 0x24,
            Self::Pull { .. } => 0x25,
            Self::ChunkRequest { .. } => 0x26,
            Self::Chunk { .. } => 0x27,
            Self::Route { .. } => 0x30,
            Self::Ack { .. } => 0x31,
            Self::RouteError { .. } => 0x32,
            Self::Who { .. } => 0x33,
            Self::Keys { .. } => 0x34,
            Self::Beacons { .. } => 0x40,
            Self::Ping { .. } => 0x50,
            Self::Pong { .. } => 0x51,
            Self::Unknown(kind) => *kind,
        }
    }

    /// Appends the frame. Its lists and bytes must be within the limits, or it will be refused.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = match self {
            Self::Need {
                course: Course::To(_),
                ..
            } => TO,
            Self::Need {
                course: Course::Along(_),
                ..
            } => ALONG,
            Self::Gossip {
                pushed: Pushed::Flood,
                ..
            }
            | Self::Route { flood: true, .. } => FLOOD,
            Self::Gossip {
                pushed: Pushed::Pulled,
                ..
            }
            | Self::IHave { pull: true, .. } => PULLED,
            Self::Gossip {
                pushed: Pushed::Renewed,
                ..
            } => RENEWED,
            Self::Digest { reply: true, .. } => REPLY,
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
                purpose,
                missing,
                course,
            } => {
                write_ids(id, &[from], out);
                out.extend_from_slice(&[*hops, *purpose as u8]);
                write_numbers(&[(*missing).into()], out);
                match course {
                    Course::Random => {}
                    Course::To(peer) => out.extend_from_slice(peer.as_bytes()),
                    Course::Along(walk) => out.extend_from_slice(walk.as_bytes()),
                }
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
            Self::Split { id, peer } => write_ids(id, &[peer], out),
            Self::Shuffle {
                id,
                from,
                hops,
                peers,
            } => {
                write_ids(id, &[from], out);
                out.push(*hops);
                peers.write(out);
            }
            Self::ShuffleReply { id, peers } => {
                write_ids(id, &[], out);
                peers.write(out);
            }
            Self::Flip { id, step, peer } => {
                write_ids(id, &[], out);
                out.push(*step as u8);
                out.extend_from_slice(peer.as_bytes());
            }
            Self::Gossip {
                hops,
                has,
                envelope,
                ..
            } => {
                out.push(*hops);
                has.write(out);
                out.extend_from_slice(envelope);
            }
            Self::IHave { ids, .. } | Self::Pull { ids } => ids.write(out),
            Self::Digest {
                from_ms,
                to_ms,
                count,
                fold,
                ids,
                ..
            } => {
                write_numbers(&[*from_ms, *to_ms, (*count).into()], out);
                out.extend_from_slice(&fold.to_be_bytes());
                ids.write(out);
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
            Self::Beacons { marks } => marks.write(out),
            Self::Graft | Self::Prune | Self::Unknown(_) => {}
        }
    }
}

fn ids<'a, T>(reader: &mut Reader<'a>, most: usize) -> Result<Ids<'a, T>, FrameError> {
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
