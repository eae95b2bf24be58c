//! Frames that carry direct messages and find the keys they are sealed with.

use std::sync::Arc;

use super::{FLOODED, FrameError, FrameFields, HEADER_LEN, MAX_BODY, read_rest, write_bytes};
use crate::crypto::PublicKeys;
use crate::id::ID_LEN;
use crate::wire::varint::Reader;
use crate::{MessageId, PeerId};

/// ROUTE: a sealed message on its way to its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Links that it has gone along.
    pub hops: u8,
    /// Most links that it may go along.
    pub hop_limit: u8,
    /// Whether it goes to all neighbours, because no route is known.
    pub flood: bool,
    /// The message, shared by all links that it goes along.
    pub sealed: Arc<Sealed>,
}

impl FrameFields for Route {
    const KIND: u8 = 0x30;
    const MAX_LEN: usize = HEADER_LEN + 2 + 3 * ID_LEN + MAX_BODY;

    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            hops: reader.u8()?,
            hop_limit: reader.u8()?,
            flood: flags & FLOODED != 0,
            sealed: Arc::new(Sealed {
                id: reader.message_id()?,
                from: reader.peer_id()?,
                to: reader.peer_id()?,
                body: read_rest(reader, MAX_BODY)?,
            }),
        })
    }

    fn flags(&self) -> u8 {
        if self.flood { FLOODED } else { 0 }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let Sealed { id, from, to, body } = &*self.sealed;
        out.extend_from_slice(&[self.hops, self.hop_limit]);
        write_bytes(&[id.as_bytes(), from.as_bytes(), to.as_bytes(), body], out);
    }
}

/// A sealed message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-1 of the body. Decoding does not compute it.
    pub id: MessageId,
    /// The sender by its own word. Only the receiver, which can open the body, has a proof.
    pub from: PeerId,
    /// The receiver.
    pub to: PeerId,
    /// The ciphertext, at most [`MAX_BODY`] bytes; see [`seal`](crate::crypto::seal).
    pub body: Arc<[u8]>,
}

/// ACK: the receiver of a sealed message has opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The sealed message.
    pub id: MessageId,
    /// Its receiver, the sender of this frame.
    pub from: PeerId,
    /// Its sender, the receiver of this frame.
    pub to: PeerId,
    /// Links that this frame has gone along.
    pub hops: u8,
    /// Most links that it may go along.
    pub hop_limit: u8,
    /// What only a peer that opened the message knows.
    pub proof: [u8; 16],
}

impl FrameFields for Ack {
    const KIND: u8 = 0x31;
    const MAX_LEN: usize = HEADER_LEN + 3 * ID_LEN + 2 + size_of::<[u8; 16]>();

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            from: reader.peer_id()?,
            to: reader.peer_id()?,
            hops: reader.u8()?,
            hop_limit: reader.u8()?,
            proof: reader.array()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(
            &[
                self.id.as_bytes(),
                self.from.as_bytes(),
                self.to.as_bytes(),
                &[self.hops, self.hop_limit],
                &self.proof,
            ],
            out,
        );
    }
}

/// ROUTE_ERROR: a member on the way of a sealed message knows no further way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteError {
    /// The sealed message.
    pub id: MessageId,
    /// The member that knows no further way.
    pub from: PeerId,
}

impl FrameFields for RouteError {
    const KIND: u8 = 0x32;
    const MAX_LEN: usize = HEADER_LEN + 2 * ID_LEN;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            from: reader.peer_id()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&[self.id.as_bytes(), self.from.as_bytes()], out);
    }
}

/// WHO: asks the mesh for the keys of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    /// The question.
    pub id: MessageId,
    /// The member whose keys are wanted.
    pub to: PeerId,
    /// Links that it has gone along.
    pub hops: u8,
    /// Most links that it may go along.
    pub hop_limit: u8,
}

impl FrameFields for Who {
    const KIND: u8 = 0x33;
    const MAX_LEN: usize = HEADER_LEN + 2 * ID_LEN + 2;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            to: reader.peer_id()?,
            hops: reader.u8()?,
            hop_limit: reader.u8()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let hops = [self.hops, self.hop_limit];
        write_bytes(&[self.id.as_bytes(), self.to.as_bytes(), &hops], out);
    }
}

/// KEYS: the answer to a [`Who`], along the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    /// The question.
    pub id: MessageId,
    /// The keys, whose hash is the member's address.
    pub keys: PublicKeys,
    /// Links between the member and the receiver of this frame.
    pub hops: u8,
}

impl FrameFields for Keys {
    const KIND: u8 = 0x34;
    const MAX_LEN: usize = HEADER_LEN + ID_LEN + size_of::<PublicKeys>() + 1;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            keys: PublicKeys::new(reader.array()?),
            hops: reader.u8()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(
            &[self.id.as_bytes(), self.keys.as_bytes(), &[self.hops]],
            out,
        );
    }
}
