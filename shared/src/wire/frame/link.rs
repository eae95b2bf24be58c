//! Frames about one link: admission, acceptance, liveness and its end.

use super::{
    FrameError, FrameFields, HEADER_LEN, MAX_PEERS, U32_LEN, U64_LEN, list_len, read_ids,
    write_bytes, write_ids, write_numbers,
};
use crate::PeerId;
use crate::crypto::admission::Proof;
use crate::id::ID_LEN;
use crate::wire::varint::Reader;

/// AUTH, the first frame of both sides: proves the sender's identity and that it knows the topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth {
    /// Over the transcript of the link's handshakes.
    pub proof: Proof,
}

impl FrameFields for Auth {
    const KIND: u8 = 0x01;
    const MAX_LEN: usize = HEADER_LEN + size_of::<Proof>();

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            proof: Proof {
                signature: reader.array()?,
                mac: reader.array()?,
            },
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&[&self.proof.signature, &self.proof.mac], out);
    }
}

/// GOODBYE, the last frame of a link: its sender closes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Why it closes the link.
    pub reason: GoodbyeReason,
    /// At most [`MAX_PEERS`] members that the receiver may try instead.
    pub peers: Vec<PeerId>,
}

impl FrameFields for Goodbye {
    const KIND: u8 = 0x02;
    const MAX_LEN: usize = HEADER_LEN + 1 + list_len(MAX_PEERS, ID_LEN);

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            reason: GoodbyeReason::from_number(reader.u8()?),
            peers: read_ids(reader, MAX_PEERS)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.reason.number());
        write_ids(&self.peers, out);
    }
}

/// Why a peer closes a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoodbyeReason {
    /// It leaves the swarm.
    Leaving,
    /// It has enough links.
    Full,
    /// There is another link between the two.
    Duplicate,
    /// The other side broke the protocol.
    Protocol,
    /// Another link took the place of this one, see [`Split`](super::Split).
    Split,
    /// A reason of a newer version.
    Other(u8),
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

/// NEIGHBOR: a member accepts the link. Sent again when its numbers change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Milliseconds since 1970 when the sender started. Tells a restarted peer from a second link.
    pub epoch: u64,
    /// Links that the sender has.
    pub links: u32,
    /// Links that the sender wants.
    pub max_links: u32,
}

impl FrameFields for Neighbor {
    const KIND: u8 = 0x10;
    const MAX_LEN: usize = HEADER_LEN + U64_LEN + 2 * U32_LEN;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            epoch: reader.u64()?,
            links: reader.u32()?,
            max_links: reader.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_numbers(&[self.epoch, self.links.into(), self.max_links.into()], out);
    }
}

/// PING: asks a silent neighbour for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// The answer repeats it.
    pub token: u64,
    /// Links that the sender has.
    pub links: u32,
    /// How late the sender's timers run, in milliseconds (Lifeguard: Dadgar, Phillips and Currey,
    /// 2017).
    pub lateness_ms: u32,
}

impl FrameFields for Ping {
    const KIND: u8 = 0x50;
    const MAX_LEN: usize = HEADER_LEN + U64_LEN + 2 * U32_LEN;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            token: reader.u64()?,
            links: reader.u32()?,
            lateness_ms: reader.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_numbers(
            &[self.token, self.links.into(), self.lateness_ms.into()],
            out,
        );
    }
}

/// PONG: the answer to a [`Ping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong {
    /// The token of the PING.
    pub token: u64,
    /// Links that the sender has.
    pub links: u32,
    /// How late the sender's timers run, in milliseconds.
    pub lateness_ms: u32,
}

impl FrameFields for Pong {
    const KIND: u8 = 0x51;
    const MAX_LEN: usize = HEADER_LEN + U64_LEN + 2 * U32_LEN;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            token: reader.u64()?,
            links: reader.u32()?,
            lateness_ms: reader.u32()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_numbers(
            &[self.token, self.links.into(), self.lateness_ms.into()],
            out,
        );
    }
}
