//! Sealed messages and acknowledgements that pass, or that are here.

use std::sync::Arc;

use easypeers_proto::wire::frame::{Ack, RouteError, Sealed};
use easypeers_proto::{MessageId, PeerId};
use rand::seq::IteratorRandom;

use super::{Arrived, DETOUR, WAYS, route};
use crate::mesh::message::Class;
use crate::mesh::{HOP_LIMIT, LinkId, Mesh, Now, Output};

impl Mesh {
    pub(in crate::mesh) fn on_route(
        &mut self,
        now: Now,
        link: LinkId,
        hops: u8,
        hop_limit: u8,
        flood: bool,
        sealed: Arc<Sealed>,
    ) {
        let (id, from, to) = (sealed.id, sealed.from, sealed.to);
        let me = self.settings.me;
        if from == me || from == to {
            self.counters.rejected += 1;
            return;
        }
        let hops = hops.saturating_add(1);
        self.learn_route(now, from, link, hops);
        if to == me {
            return self.on_arrived(now, link, hops, sealed);
        }
        if flood && !self.direct.flooded.insert(now, id, ()) {
            return;
        }
        // It is here again: our way led in a circle. The way back is still the first.
        let back = self.direct.back.get(&id).map(|(link, _)| *link);
        let again = !flood && back.is_some_and(|back| back != link && self.is_up(back));
        if !again {
            self.direct.back.insert(now, id, (link, to));
        }
        let neighbor = self.link_to(to);
        let way = (self.way(now, to, Some(link))).filter(|way| !again || neighbor == Some(*way));
        let mut hop_limit = hop_limit.min(HOP_LIMIT);
        let spent = hops >= hop_limit;
        if flood && spent {
            return;
        }
        let (links, flood) = match way {
            Some(way) if !spent && (!flood || neighbor == Some(way)) => (vec![way], false),
            _ if flood => (self.others(Some(link)), true),
            _ => {
                // Whoever else heard its receiver knows a way, most likely not through us.
                hop_limit = hop_limit.saturating_sub(DETOUR);
                let others = self.others(Some(link)).into_iter();
                let detour = others.filter(|other| Some(*other) != back);
                let detour = detour.choose(&mut self.rng).filter(|_| hops < hop_limit);
                let Some(detour) = detour else {
                    return self.send_control(link, RouteError { id, from: me });
                };
                (vec![detour], false)
            }
        };
        self.counters.forwarded += links.len() as u64;
        self.send(
            links,
            route(&sealed, hops, hop_limit, flood),
            Class::Control,
        );
    }

    fn on_arrived(&mut self, now: Now, link: LinkId, hops: u8, sealed: Arc<Sealed>) {
        let id = sealed.id;
        self.use_direct(now, link, sealed.from);
        self.direct.back.insert(now, id, (link, sealed.from));
        match self.direct.arrived.get(&id) {
            // Its acknowledgement was lost, or came another way: again.
            Some(arrived) => {
                if let Some(proof) = arrived.proof {
                    self.on_acknowledge(now, id, proof);
                }
            }
            None => {
                let arrived = Arrived {
                    from: sealed.from,
                    hops,
                    proof: None,
                };
                self.direct.arrived.insert(now, id, arrived);
                self.out.push_back(Output::Open { sealed, hops });
            }
        }
    }

    pub(in crate::mesh) fn on_acknowledge(&mut self, now: Now, id: MessageId, proof: [u8; 16]) {
        let Some(arrived) = self.direct.arrived.get_mut(&id) else {
            return;
        };
        arrived.proof = Some(proof);
        let Arrived { from, hops, .. } = *arrived;
        let ack = Ack {
            id,
            from: self.settings.me,
            to: from,
            hops,
            hop_limit: HOP_LIMIT,
            proof,
        };
        if let Some(link) = self.way_back(now, &id, from, None) {
            self.send_control(link, ack);
        }
    }

    /// The link that a message came along, or else any way to where it came from.
    fn way_back(
        &self,
        now: Now,
        id: &MessageId,
        to: PeerId,
        not: Option<LinkId>,
    ) -> Option<LinkId> {
        let back = self.direct.back.get(id).map(|(link, _)| *link);
        back.filter(|link| self.is_up(*link) && Some(*link) != not)
            .or_else(|| self.way(now, to, not))
    }

    pub(in crate::mesh) fn on_ack(&mut self, now: Now, link: LinkId, ack: Ack) {
        let Ack {
            id,
            from,
            to,
            hops,
            hop_limit,
            proof,
        } = ack;
        if to == self.settings.me {
            let awaited = self.direct.sends.get(&id);
            if awaited.is_some_and(|send| send.sealed.to == from) {
                self.out.push_back(Output::CheckAck { id, proof, hops });
            }
            return;
        }
        let Some(link) = self.way_back(now, &id, to, Some(link)) else {
            return;
        };
        if let Some(hop_limit) = hop_limit.min(HOP_LIMIT).checked_sub(1)
            && hop_limit > 0
        {
            self.send_control(link, Ack { hop_limit, ..ack });
        }
    }

    pub(in crate::mesh) fn on_route_error(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        from: PeerId,
    ) {
        if let Some(send) = self.direct.sends.get_mut(&id) {
            // A late one tells nothing, and no neighbour may have a message flooded again and again.
            if send.along != Some(link) || send.tries > WAYS || send.next <= now {
                self.counters.rejected += 1;
                return;
            }
            send.next = now;
            send.reachable = false;
            let to = send.sealed.to;
            self.direct.end_route(to, link);
        } else if let Some((back, to)) = self.direct.back.get(&id).copied()
            && back != link
        {
            self.direct.end_route(to, link);
            if self.is_up(back) {
                self.send_control(back, RouteError { id, from });
            }
        }
    }
}
