//! Frames that shape the mesh: they find links, replace them and exchange neighbours.

use std::sync::Arc;

use super::{
    FrameError, FrameFields, HEADER_LEN, MAX_BEACONS, MAX_PEERS, MAX_SDP, U32_LEN, U64_LEN,
    list_len, read_ids, read_list, read_rest, write_bytes, write_ids,
};
use crate::id::ID_LEN;
use crate::wire::varint::{self, Reader};
use crate::{MessageId, PeerId};

/// LINK_REQUEST: walks through the mesh until it finds a member for its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkRequest {
    /// The walk, and the exchange that follows it.
    pub id: MessageId,
    /// The member that looks for links.
    pub from: PeerId,
    /// Links that it has gone along.
    pub hops: u8,
    /// What it looks for.
    pub purpose: Purpose,
    /// Links that the member wants beyond those it has.
    pub missing: u32,
    /// Where it goes.
    pub target: WalkTarget,
}

impl LinkRequest {
    const TO: u8 = 1;
    const ALONG: u8 = 2;
}

impl FrameFields for LinkRequest {
    const KIND: u8 = 0x11;
    const MAX_LEN: usize = HEADER_LEN + 2 * ID_LEN + 2 + U32_LEN + ID_LEN;

    fn decode(flags: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            from: reader.peer_id()?,
            hops: reader.u8()?,
            purpose: Purpose::from_number(reader.u8()?).ok_or(FrameError::Unknown)?,
            missing: reader.u32()?,
            target: match flags & (Self::TO | Self::ALONG) {
                0 => WalkTarget::Random,
                Self::TO => WalkTarget::To(reader.peer_id()?),
                Self::ALONG => WalkTarget::Along(reader.message_id()?),
                _ => return Err(FrameError::Unknown),
            },
        })
    }

    fn flags(&self) -> u8 {
        match self.target {
            WalkTarget::Random => 0,
            WalkTarget::To(_) => Self::TO,
            WalkTarget::Along(_) => Self::ALONG,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let step = [self.hops, self.purpose as u8];
        write_bytes(&[self.id.as_bytes(), self.from.as_bytes(), &step], out);
        varint::write(self.missing.into(), out);
        match &self.target {
            WalkTarget::Random => {}
            WalkTarget::To(peer) => out.extend_from_slice(peer.as_bytes()),
            WalkTarget::Along(walk) => out.extend_from_slice(walk.as_bytes()),
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
pub enum WalkTarget {
    /// To any neighbour.
    Random,
    /// Towards one member.
    To(PeerId),
    /// Back the way of another walk, then on at random.
    Along(MessageId),
}

/// SIGNAL: a session description on its way between the two ends of an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// The exchange: its walk, split or flip.
    pub id: MessageId,
    /// What it carries.
    pub kind: SignalKind,
    /// The member that made it.
    pub from: PeerId,
    /// The member that it is for.
    pub to: PeerId,
    /// The description (SDP, RFC 8866): at most [`MAX_SDP`] bytes, not checked to be text. Empty in a
    /// refusal.
    pub sdp: Arc<[u8]>,
}

impl FrameFields for Signal {
    const KIND: u8 = 0x12;
    const MAX_LEN: usize = HEADER_LEN + ID_LEN + 1 + 2 * ID_LEN + MAX_SDP;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            kind: SignalKind::from_number(reader.u8()?).ok_or(FrameError::Unknown)?,
            from: reader.peer_id()?,
            to: reader.peer_id()?,
            sdp: read_rest(reader, MAX_SDP)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(
            &[
                self.id.as_bytes(),
                &[self.kind as u8],
                self.from.as_bytes(),
                self.to.as_bytes(),
                &self.sdp,
            ],
            out,
        );
    }
}

/// What a [`Signal`] carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalKind {
    /// An offer, from the member that was found to the one that looks for links.
    Offer,
    /// Its answer.
    Answer,
    /// The exchange failed.
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

/// SPLIT: asks a neighbour to link to another peer in place of the sender. One link becomes two, with
/// the newcomer between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The exchange: the newcomer's walk.
    pub id: MessageId,
    /// The newcomer.
    pub peer: PeerId,
}

impl FrameFields for Split {
    const KIND: u8 = 0x13;
    const MAX_LEN: usize = HEADER_LEN + 2 * ID_LEN;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            peer: reader.peer_id()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(&[self.id.as_bytes(), self.peer.as_bytes()], out);
    }
}

/// SHUFFLE: members that its sender knows of, on a random walk (HyParView: Leitão, Pereira and
/// Rodrigues, 2007).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shuffle {
    /// The walk.
    pub id: MessageId,
    /// The member that started it.
    pub from: PeerId,
    /// Links that it has gone along.
    pub hops: u8,
    /// At most [`MAX_PEERS`] members.
    pub peers: Vec<PeerId>,
}

impl FrameFields for Shuffle {
    const KIND: u8 = 0x14;
    const MAX_LEN: usize = HEADER_LEN + 2 * ID_LEN + 1 + list_len(MAX_PEERS, ID_LEN);

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            from: reader.peer_id()?,
            hops: reader.u8()?,
            peers: read_ids(reader, MAX_PEERS)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        write_bytes(
            &[self.id.as_bytes(), self.from.as_bytes(), &[self.hops]],
            out,
        );
        write_ids(&self.peers, out);
    }
}

/// SHUFFLE_REPLY: members in return for a [`Shuffle`], along the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShuffleReply {
    /// The walk of the SHUFFLE.
    pub id: MessageId,
    /// At most [`MAX_PEERS`] members.
    pub peers: Vec<PeerId>,
}

impl FrameFields for ShuffleReply {
    const KIND: u8 = 0x15;
    const MAX_LEN: usize = HEADER_LEN + ID_LEN + list_len(MAX_PEERS, ID_LEN);

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            peers: read_ids(reader, MAX_PEERS)?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        write_ids(&self.peers, out);
    }
}

/// FLIP: two members exchange a neighbour each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flip {
    /// The exchange: the walk on which the two members found each other.
    pub id: MessageId,
    /// What it asks.
    pub step: FlipStep,
    /// The neighbour that is offered, or the member to prepare for.
    pub peer: PeerId,
}

impl FrameFields for Flip {
    const KIND: u8 = 0x16;
    const MAX_LEN: usize = HEADER_LEN + ID_LEN + 1 + ID_LEN;

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            id: reader.message_id()?,
            step: FlipStep::from_number(reader.u8()?).ok_or(FrameError::Unknown)?,
            peer: reader.peer_id()?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let step = [self.step as u8];
        write_bytes(&[self.id.as_bytes(), &step, self.peer.as_bytes()], out);
    }
}

/// What a [`Flip`] asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FlipStep {
    /// Have one of your neighbours link to this neighbour of the sender.
    Propose,
    /// An offer will come along the sender: link to its maker in place of the sender.
    Prepare,
}

impl FlipStep {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Propose),
            1 => Some(Self::Prepare),
            _ => None,
        }
    }
}

/// BEACONS, a beacon digest: the latest beacons that the sender heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beacons {
    /// At most [`MAX_BEACONS`] slots of time, each with the id of its beacon.
    pub beacons: Vec<(u64, MessageId)>,
}

impl FrameFields for Beacons {
    const KIND: u8 = 0x40;
    const MAX_LEN: usize = HEADER_LEN + list_len(MAX_BEACONS, U64_LEN + ID_LEN);

    fn decode(_: u8, reader: &mut Reader<'_>) -> Result<Self, FrameError> {
        Ok(Self {
            beacons: read_list(reader, MAX_BEACONS, 1 + ID_LEN, |reader| {
                Ok((reader.u64()?, reader.message_id()?))
            })?,
        })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        varint::write(self.beacons.len() as u64, out);
        for (slot, id) in &self.beacons {
            varint::write(*slot, out);
            out.extend_from_slice(id.as_bytes());
        }
    }
}
