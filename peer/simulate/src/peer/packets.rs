//! What goes along links: charged, delayed, lost; what arrives is checked as a node does.

use std::sync::Arc;

use easypeers_proto::PeerId;
use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::wire::frame::{Frame, Gossip, Pushed};

use super::{Turn, VERIFY};
use crate::check;
use crate::index;
use crate::network::Stage;
use crate::world::{Packet, Parcel, What, World};
use easypeers_core::broadcast::Arrival;
use easypeers_core::mesh::{Input, LinkId};
use easypeers_core::message::Class;

/// A session description of a native peer with three candidates; ours here are but a number.
const SDP_BYTES: u64 = 700;

/// Length, type and number before each frame.
const FRAME_HEADER: u64 = 6;

impl World {
    pub(crate) fn on_packet(&mut self, c: u32, side: usize, parcel: u32) {
        let end = self.conns[c as usize].ends[side];
        let p = end.peer;
        let link = LinkId(c.into());
        let Some(waiting) = self.parcels.get_mut(parcel as usize) else {
            return;
        };
        waiting.receivers -= 1;
        let last = waiting.receivers == 0;
        let mut packet = None;
        let mut known = None;
        if end.stage == Stage::Admitted
            && let Some(core) = &self.peers[p as usize].core
        {
            match &waiting.packet {
                Packet::Gossip {
                    message, pushed, ..
                } if core.mesh.knows(&message.id) => {
                    known = Some((message.id, *pushed));
                }
                shared if !last => packet = Some(shared.clone()),
                _ => {}
            }
        }
        if last {
            let whole = self.parcels.try_remove(parcel as usize);
            let whole = whole.map(|parcel| parcel.packet);
            if end.stage == Stage::Admitted && known.is_none() {
                packet = whole;
            }
        }
        if let Some((id, pushed)) = known {
            self.count_copy(&id);
            if check::ON {
                self.checks.on_duplicate((c, side), id);
            }
            self.turn(p, |turn| turn.mesh(Input::Duplicate { link, id, pushed }));
        } else if let Some(packet) = packet {
            if let Packet::Gossip { message, .. } = &packet {
                self.count_copy(&message.id);
            }
            self.turn(p, |turn| turn.on_packet(c, side, packet));
        }
    }

    /// What a packet takes on a link.
    fn frame_len(&mut self, packet: &Packet) -> u64 {
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
}

impl Turn<'_> {
    /// Sends what the mesh wants sent.
    pub(super) fn send(&mut self, links: &[LinkId], packet: Packet, class: Class) {
        if check::ON {
            for link in links {
                let c = index(link.0 as usize);
                let conn = &self.world.conns[c as usize];
                let side = conn.side_of(self.p);
                let far = conn.ends[1 - side].peer;
                if conn.ends[side].stage == Stage::Admitted {
                    let to = self.world.peers[far as usize].id;
                    let checks = &mut self.world.checks;
                    let verdict = checks.on_sent(self.p, (c, side), to, &packet);
                    check::hold(self.world, self.p, verdict);
                }
            }
        }
        self.transmit(links, packet, class);
    }

    pub(super) fn transmit(&mut self, links: &[LinkId], packet: Packet, class: Class) {
        if self.world.peers[self.p as usize].dropper && is_for_others(&packet, self.me()) {
            return;
        }
        let bytes = self.world.frame_len(&packet);
        if let Packet::Frame(Frame::Route(route)) = &packet {
            self.world.count_send(&route.sealed.id, links.len());
        }
        let control = match &packet {
            Packet::Gossip { message, .. } => message.kind == Kind::Beacon,
            Packet::Frame(Frame::Chunk(_)) => false,
            Packet::Frame(_) => true,
        };
        let now = self.core.clock;
        let parcel = index(self.world.parcels.insert(Parcel {
            packet,
            receivers: 0,
        }));
        let mut receivers = 0;
        for link in links {
            let c = index(link.0 as usize);
            let world = &mut *self.world;
            let conn = &mut world.conns[c as usize];
            let side = conn.side_of(self.p);
            let far = 1 - side;
            if conn.ends[side].stage != Stage::Admitted {
                continue;
            }
            world.costs.frames += 1;
            *(if control {
                &mut world.costs.control_bytes
            } else {
                &mut world.costs.gossip_bytes
            }) += bytes;
            let to = conn.ends[far].peer;
            if conn.ends[far].stage == Stage::Closed || world.split && !world.reaches(self.p, to) {
                continue;
            }
            let conn = &mut world.conns[c as usize];
            let may_drop = class != Class::Control;
            if may_drop && world.distances.drops(&mut world.rng) {
                world.costs.dropped += 1;
                continue;
            }
            let extra = world.distances.loss(conn.latency, &mut world.rng);
            match conn.pass(far, now, extra, may_drop) {
                Some(at) => {
                    receivers += 1;
                    let side = far as u8;
                    let packet = What::Packet {
                        conn: c,
                        side,
                        parcel,
                    };
                    world.queue.push(at, packet);
                }
                None => world.costs.dropped += 1,
            }
        }
        match self.world.parcels.get_mut(parcel as usize) {
            Some(waiting) if receivers > 0 => waiting.receivers = receivers,
            _ => drop(self.world.parcels.try_remove(parcel as usize)),
        }
    }

    fn on_packet(&mut self, c: u32, side: usize, packet: Packet) {
        let link = LinkId(c.into());
        if let Packet::Gossip {
            pushed, message, ..
        } = &packet
            && *pushed != Pushed::Pulled
            && !self.core.mesh.is_within_rate(self.now(), message.origin)
        {
            let origin = message.origin;
            return self.mesh(Input::OverRate { link, origin });
        }
        if check::ON {
            let up = self.core.mesh.up_peer(link).is_some();
            self.world.checks.on_taken(self.p, (c, side), up, &packet);
        }
        let input = match packet {
            Packet::Gossip {
                hops,
                pushed,
                has,
                message,
            } => {
                self.core.clock += VERIFY;
                self.world.costs.verified += 1;
                Input::Gossip(Arrival {
                    link,
                    hops,
                    pushed,
                    has,
                    message,
                })
            }
            Packet::Frame(Frame::Chunk(chunk)) => Input::Chunk {
                link,
                message: chunk.message,
                index: chunk.index,
                data: chunk.data,
            },
            Packet::Frame(frame) => Input::Frame { link, frame },
        };
        self.mesh(input);
    }
}

/// What a peer that relays nothing drops.
fn is_for_others(packet: &Packet, me: PeerId) -> bool {
    let frame = match packet {
        Packet::Gossip { message, .. } => return message.origin != me,
        Packet::Frame(frame) => frame,
    };
    match frame {
        Frame::IHave(_) | Frame::Chunk(_) | Frame::Who(_) | Frame::Keys(_) => true,
        Frame::Route(route) => route.sealed.from != me,
        Frame::Ack(ack) => ack.from != me,
        _ => false,
    }
}
