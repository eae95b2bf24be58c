//! Frames that spread broadcasts and repair what was lost (Plumtree: Leitão, Pereira and Rodrigues,
//! 2007).

use std::sync::Arc;

use super::{
    FLOODED, FrameError, FrameFields, HEADER_LEN, MAX_BODY, MAX_DIGEST, MAX_HAS, MAX_INDICES,
    MAX_MESSAGES, PULLED, U32_LEN, U64_LEN, list_len, read_ids, read_list, read_rest, write_ids,
    write_numbers,
};
use crate::crypto::manifest::CHUNK;
use crate::id::ID_LEN;
use crate::wire::varint::{self, Reader};
use crate::{MessageId, PeerId};

/// GOSSIP: a broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gossip {
    /// Links that it has come along, this one included.
    pub hops: u8,
    /// Why it is sent.
    pub pushed: Pushed,
    /// At most [`MAX_HAS`] members that have it or are being sent it.
    pub has: Vec<PeerId>,
    /// The [envelope](crate::crypto::envelope), at most [`MAX_BODY`] bytes, not decoded yet.
    pub envelope: Arc<[u8]>,
}

impl Gossip {
    const RENEWED: u8 = 4;
}

impl FrameFields for Gossip {
    const KIND: u8 = 0x20;
    const MAX_LEN: usize = HEADER_LEN + 1 + list_len(MAX_HAS, ID_LEN) + MAX_BODY;

    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hops: reader.u8()?,
            pushed: match flags & (FLOODED | PULLED | Self::RENEWED) {
                0 => Pushed::Tree,
                FLOODED => Pushed::Flood,
                PULLED => Pushed::Pulled,
                Self::RENEWED => Pushed::Renewed,
                _ => return Err(FrameError::Unknown),
            },
            has: read_ids(reader, MAX_HAS)?,
            envelope: read_rest(reader, MAX_BODY)?,
        })
    }

    fn flags(&self) -> u8 {
        match self.pushed {
            Pushed::Tree => 0,
            Pushed::Flood => FLOODED,
            Pushed::Pulled => PULLED,
            Pushed::Renewed => Self::RENEWED,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.hops);
        write_ids(&self.has, out);
        out.extend_from_slice(&self.envelope);
    }
}

/// Why a broadcast is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pushed {
    /// Along the tree: a receiver that has it prunes.
    Tree,
    /// To every neighbour: copies are expected.
    Flood,
    /// The receiver asked for it.
    Pulled,
    /// To every neighbour, to grow the tree anew: a receiver that has it prunes.
    Renewed,
}

/// IHAVE: announces broadcasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IHave {
    /// At most [`MAX_MESSAGES`] broadcasts that the sender has.
    pub ids: Vec<MessageId>,
    /// Whether to pull at once those that are missing, because no other neighbour will send them.
    pub pull: bool,
}

impl FrameFields for IHave {
    const KIND: u8 = 0x21;
    const MAX_LEN: usize = HEADER_LEN + list_len(MAX_MESSAGES, ID_LEN);

    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            ids: read_ids(reader, MAX_MESSAGES)?,
            pull: flags & PULLED != 0,
        })
    }

    fn flags(&self) -> u8 {
        if self.pull { PULLED } else { 0 }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_ids(&self.ids, out);
    }
}

/// GRAFT: asks for broadcasts in whole along this link, which becomes eager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graft;

impl FrameFields for Graft {
    const KIND: u8 = 0x22;
    const MAX_LEN: usize = HEADER_LEN;

    fn decode(_: u8, _: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self)
    }

    fn encode(&self, _: &mut Vec<u8>) {}
}

/// PRUNE: asks for announcements in place of broadcasts along this link, which becomes lazy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prune;

impl FrameFields for Prune {
    const KIND: u8 = 0x23;
    const MAX_LEN: usize = HEADER_LEN;

    fn decode(_: u8, _: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self)
    }

    fn encode(&self, _: &mut Vec<u8>) {}
}

/// DIGEST: what the sender has of a window of time. Neighbours compare it with what they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// Start of the window, by the authors' clocks: milliseconds since 1970.
    pub from_ms: u64,
    /// End of the window, by the authors' clocks: milliseconds since 1970.
    pub to_ms: u64,
    /// Broadcasts that the sender has of the window.
    pub count: u32,
    /// Exclusive or of the first 8 bytes of their ids, big-endian.
    pub xor_hash: u64,
    /// Whether this answers a digest that differed.
    pub reply: bool,
    /// The ids themselves, at most [`MAX_DIGEST`]. Only a reply has them.
    pub ids: Vec<MessageId>,
}

impl Digest {
    const REPLY: u8 = 1;
}

impl FrameFields for Digest {
    const KIND: u8 = 0x24;
    const MAX_LEN: usize =
        HEADER_LEN + 2 * U64_LEN + U32_LEN + size_of::<u64>() + list_len(MAX_DIGEST, ID_LEN);

    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            from_ms: reader.u64()?,
            to_ms: reader.u64()?,
            count: reader.u32()?,
            xor_hash: u64::from_be_bytes(reader.array()?),
            reply: flags & Self::REPLY != 0,
            ids: read_ids(reader, MAX_DIGEST)?,
        })
    }

    fn flags(&self) -> u8 {
        if self.reply { Self::REPLY } else { 0 }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_numbers(&[self.from_ms, self.to_ms, self.count.into()], out);
        out.extend_from_slice(&self.xor_hash.to_be_bytes());
        write_ids(&self.ids, out);
    }
}

/// PULL: asks for broadcasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// At most [`MAX_MESSAGES`] broadcasts.
    pub ids: Vec<MessageId>,
}

impl FrameFields for Pull {
    const KIND: u8 = 0x25;
    const MAX_LEN: usize = HEADER_LEN + list_len(MAX_MESSAGES, ID_LEN);

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            ids: read_ids(reader, MAX_MESSAGES)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_ids(&self.ids, out);
    }
}

/// CHUNK_REQUEST: asks for pieces of a large broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRequest {
    /// The broadcast's [manifest](crate::crypto::manifest).
    pub message: MessageId,
    /// At most [`MAX_INDICES`] pieces, counted from 0.
    pub indices: Vec<u32>,
}

impl FrameFields for ChunkRequest {
    const KIND: u8 = 0x26;
    const MAX_LEN: usize = HEADER_LEN + ID_LEN + list_len(MAX_INDICES, U32_LEN);

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            message: reader.message_id()?,
            indices: read_list(reader, MAX_INDICES, 1, |reader| reader.u32())?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.message.as_bytes());
        varint::write(self.indices.len() as u64, out);
        for index in &self.indices {
            varint::write((*index).into(), out);
        }
    }
}

/// CHUNK: a piece of a large broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The broadcast's [manifest](crate::crypto::manifest).
    pub message: MessageId,
    /// The piece, counted from 0.
    pub index: u32,
    /// At most [`CHUNK`] bytes, not compared with the manifest yet.
    pub data: Arc<[u8]>,
}

impl FrameFields for Chunk {
    const KIND: u8 = 0x27;
    const MAX_LEN: usize = HEADER_LEN + ID_LEN + U32_LEN + CHUNK;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            message: reader.message_id()?,
            index: reader.u32()?,
            data: read_rest(reader, CHUNK)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.message.as_bytes());
        varint::write(self.index.into(), out);
        out.extend_from_slice(&self.data);
    }
}
