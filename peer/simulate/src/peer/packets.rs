//! What goes along links: charged, delayed, lost; what arrives is checked as a node does.

use easypeers_proto::MessageId;
use easypeers_proto::wire::frame::{Frame, Pushed};

use super::{Turn, VERIFY};
use crate::check;
use crate::index::index;
use crate::network::{Sent, Stage};
use crate::packet::{Arrived, Packet};
use crate::world::{What, World};
use easypeers_core::broadcast::Arrival;
use easypeers_core::mesh::{Input, LinkId};
use easypeers_core::message::Class;

impl World {
    pub(crate) fn on_packet(&mut self, c: u32, side: usize, parcel: u32) {
        let p = self.network.peer_at(c, side);
        let link = LinkId(c.into());
        let admitted = self.network.stage_at(c, side) == Stage::Admitted;
        let core = self.peers[p as usize].core.as_ref();
        let knows = |id: &MessageId| core.is_some_and(|core| core.mesh.knows(id));
        match self.packets.arrive(parcel, admitted, knows) {
            Some(Arrived::Duplicate { id, pushed }) => {
                self.count_copy(&id);
                if check::ON {
                    self.checks.on_duplicate((c, side), id);
                }
                self.turn(p, |turn| turn.mesh(Input::Duplicate { link, id, pushed }));
            }
            Some(Arrived::Packet(packet)) => {
                if let Packet::Gossip { message, .. } = &packet {
                    self.count_copy(&message.id);
                }
                self.turn(p, |turn| turn.on_packet(c, side, packet));
            }
            None => {}
        }
    }
}

impl Turn<'_> {
    /// Sends what the mesh wants sent.
    pub(super) fn send(&mut self, links: &[LinkId], packet: Packet, class: Class) {
        if check::ON {
            for link in links {
                let c = index(link.0 as usize);
                let network = &self.world.network;
                let side = network.side_of(c, self.p);
                let far = network.peer_at(c, 1 - side);
                if network.stage_at(c, side) == Stage::Admitted {
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
        if self.world.peers[self.p as usize].dropper && packet.is_relayed_by(self.me()) {
            return;
        }
        let bytes = self.world.packets.frame_len(&packet);
        if let Packet::Frame(Frame::Route(route)) = &packet {
            self.world.count_send(&route.sealed.id, links.len());
        }
        let control = packet.is_control();
        let now = self.core.clock;
        let parcel = self.world.packets.insert(packet);
        let mut receivers = 0;
        for link in links {
            let c = index(link.0 as usize);
            let world = &mut *self.world;
            let may_drop = class != Class::Control;
            let sent = world.network.send(c, self.p, now, may_drop, &mut world.rng);
            if sent == Sent::NotAdmitted {
                continue;
            }
            world.costs.frames += 1;
            *(if control {
                &mut world.costs.control_bytes
            } else {
                &mut world.costs.gossip_bytes
            }) += bytes;
            match sent {
                Sent::Arrives { side, at } => {
                    receivers += 1;
                    let packet = What::Packet {
                        conn: c,
                        side,
                        parcel,
                    };
                    world.queue.push(at, packet);
                }
                Sent::Dropped => world.costs.dropped += 1,
                Sent::NotAdmitted | Sent::Unheard => {}
            }
        }
        self.world.packets.set_receivers(parcel, receivers);
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
