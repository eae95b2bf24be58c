//! Packets on their way: what travels along links, each stored once for all its receivers.

use std::sync::Arc;

use easypeers_core::message::Signed;
use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::wire::frame::{Frame, Gossip, Pushed};
use easypeers_proto::{MessageId, PeerId};
use slab::Slab;

use crate::index::index;

/// The length of a native peer's session description with three candidates, in bytes. A description
/// of the simulator is only a number.
const SDP_BYTES: u64 = 700;

/// Length, type and number before each frame, in bytes.
const FRAME_HEADER: u64 = 6;

/// What travels along links.
#[derive(Debug, Clone)]
pub(crate) enum Packet {
    Frame(Frame),
    /// A GOSSIP frame. Its envelope stays decoded, because a thousand receivers would decode the same
    /// bytes.
    Gossip {
        hops: u8,
        pushed: Pushed,
        has: Vec<PeerId>,
        message: Arc<Signed>,
    },
}

impl Packet {
    /// Whether the packet counts as control traffic: everything but messages and their chunks.
    pub(crate) fn is_control(&self) -> bool {
        match self {
            Self::Gossip { message, .. } => message.kind == Kind::Beacon,
            Self::Frame(Frame::Chunk(_)) => false,
            Self::Frame(_) => true,
        }
    }

    /// Whether a peer sends this packet on behalf of other peers.
    pub(crate) fn is_relayed_by(&self, me: PeerId) -> bool {
        let frame = match self {
            Self::Gossip { message, .. } => return message.origin != me,
            Self::Frame(frame) => frame,
        };
        match frame {
            Frame::IHave(_) | Frame::Chunk(_) | Frame::Who(_) | Frame::Keys(_) => true,
            Frame::Route(route) => route.sealed.from != me,
            Frame::Ack(ack) => ack.from != me,
            _ => false,
        }
    }
}

/// A packet that arrived.
#[derive(Debug)]
pub(crate) enum Arrived {
    /// A copy of a broadcast that the receiver has.
    Duplicate {
        id: MessageId,
        pushed: Pushed,
    },
    Packet(Packet),
}

#[derive(Debug)]
struct Parcel {
    packet: Packet,
    /// Receivers that the packet has not reached yet.
    receivers: u32,
}

/// The packets under way.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    parcels: Slab<Parcel>,
    /// Where frames are encoded to learn their length.
    scratch: Vec<u8>,
}

impl Packets {
    /// The bytes that a packet takes on a link.
    pub(crate) fn frame_len(&mut self, packet: &Packet) -> u64 {
        self.scratch.clear();
        let mut described = 0;
        match packet {
            Packet::Frame(frame) => {
                frame.encode(&mut self.scratch);
                if let Frame::Signal(signal) = frame
                    && !signal.sdp.is_empty()
                {
                    described = SDP_BYTES;
                }
            }
            Packet::Gossip {
                hops,
                pushed,
                has,
                message,
            } => {
                let gossip = Gossip {
                    hops: *hops,
                    pushed: *pushed,
                    has: has.clone(),
                    envelope: Arc::clone(&message.bytes),
                };
                Frame::from(gossip).encode(&mut self.scratch);
            }
        }
        self.scratch.len() as u64 + FRAME_HEADER + described
    }

    /// Stores a packet. [`Packets::set_receivers`] must follow.
    pub(crate) fn insert(&mut self, packet: Packet) -> u32 {
        let receivers = 0;
        index(self.parcels.insert(Parcel { packet, receivers }))
    }

    /// How many receivers the packet will reach. Without any it is forgotten.
    pub(crate) fn set_receivers(&mut self, parcel: u32, receivers: u32) {
        match self.parcels.get_mut(parcel as usize) {
            Some(waiting) if receivers > 0 => waiting.receivers = receivers,
            _ => drop(self.parcels.try_remove(parcel as usize)),
        }
    }

    /// The broadcast in a packet, if it is one.
    pub(crate) fn message(&self, parcel: u32) -> Option<&Signed> {
        match &self.parcels.get(parcel as usize)?.packet {
            Packet::Gossip { message, .. } => Some(message),
            Packet::Frame(_) => None,
        }
    }

    /// A packet reaches one of its receivers. Returns nothing if the receiver does not want it.
    /// `knows` says whether the receiver has a broadcast.
    pub(crate) fn arrive(
        &mut self,
        parcel: u32,
        wanted: bool,
        knows: impl FnOnce(&MessageId) -> bool,
    ) -> Option<Arrived> {
        let waiting = self.parcels.get_mut(parcel as usize)?;
        waiting.receivers -= 1;
        let last = waiting.receivers == 0;
        let known = match &waiting.packet {
            Packet::Gossip {
                message, pushed, ..
            } if wanted && knows(&message.id) => Some((message.id, *pushed)),
            _ => None,
        };
        let shared = (wanted && !last && known.is_none()).then(|| waiting.packet.clone());
        let whole = if last {
            let parcel = self.parcels.try_remove(parcel as usize);
            parcel.map(|parcel| parcel.packet)
        } else {
            shared
        };
        match known {
            Some((id, pushed)) => Some(Arrived::Duplicate { id, pushed }),
            None => whole.filter(|_| wanted).map(Arrived::Packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use easypeers_proto::wire::frame::Pull;

    use super::*;

    #[test]
    fn a_packet_reaches_each_receiver_once() {
        let mut packets = Packets::default();
        let packet = Packet::Frame(Pull { ids: Vec::new() }.into());
        assert!(packets.frame_len(&packet) > FRAME_HEADER);
        let parcel = packets.insert(packet);
        packets.set_receivers(parcel, 3);
        assert!(packets.arrive(parcel, true, |_| false).is_some());
        assert!(packets.arrive(parcel, false, |_| false).is_none(), "closed");
        assert!(packets.arrive(parcel, true, |_| false).is_some());
        assert!(packets.arrive(parcel, true, |_| false).is_none(), "gone");
    }

    #[test]
    fn a_packet_without_receivers_is_forgotten() {
        let mut packets = Packets::default();
        let parcel = packets.insert(Packet::Frame(Pull { ids: Vec::new() }.into()));
        packets.set_receivers(parcel, 0);
        assert!(packets.parcels.is_empty());
    }
}
