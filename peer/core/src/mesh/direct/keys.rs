//! Keys of members: asked for by WHO, answered by KEYS.

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Keys, Who};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;

use super::{Lookup, MAX_LOOKUPS};
use crate::mesh::message::Class;
use crate::mesh::{HOP_LIMIT, LinkId, Mesh, Now, Output};

impl Mesh {
    pub(in crate::mesh) fn on_find_keys(&mut self, now: Now, peer: PeerId) {
        let mut links = self.links.values();
        let neighbor = links.find(|link| link.peer == peer);
        let neighbor = neighbor.and_then(|link| link.keys);
        if let Some(keys) = neighbor.or_else(|| self.direct.keys.get(&peer).copied()) {
            let keys = Some(keys);
            return self.out.push_back(Output::Keys { peer, keys });
        }
        if self.direct.lookups.contains_key(&peer) {
            return;
        }
        if self.direct.lookups.len() >= MAX_LOOKUPS {
            return self.out.push_back(Output::Keys { peer, keys: None });
        }
        let lookup = Lookup {
            ids: Vec::new(),
            since: now,
            next: now,
        };
        self.direct.lookups.insert(peer, lookup);
    }

    /// Floods a question for a member.
    pub(super) fn ask_who(&mut self, now: Now, to: PeerId) {
        let id = MessageId::new(self.rng.random());
        self.direct.flooded.insert(now, id, ());
        if let Some(lookup) = self.direct.lookups.get_mut(&to) {
            lookup.ids.push(id);
        }
        let who = Who {
            id,
            to,
            hops: 0,
            hop_limit: HOP_LIMIT,
        };
        self.send(self.others(None), who, Class::Control);
    }

    pub(in crate::mesh) fn on_who(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        to: PeerId,
        hops: u8,
        hop_limit: u8,
    ) {
        if !self.direct.flooded.insert(now, id, ()) {
            return;
        }
        self.direct.back.insert(now, id, (link, to));
        let hops = hops.saturating_add(1);
        let neighbor = self.mesh_links().find(|(_, link)| link.peer == to);
        let answer = if to == self.settings.me {
            Some((self.settings.keys, 0))
        } else {
            neighbor.and_then(|(_, link)| Some((link.keys?, 1)))
        };
        if let Some((keys, hops)) = answer {
            self.send_control(link, Keys { id, keys, hops });
        } else if hops < hop_limit.min(HOP_LIMIT) {
            let who = Who {
                id,
                to,
                hops,
                hop_limit,
            };
            self.send(self.others(Some(link)), who, Class::Control);
        }
    }

    pub(in crate::mesh) fn on_keys(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        keys: PublicKeys,
        hops: u8,
    ) {
        let peer = keys.address();
        let hops = hops.saturating_add(1);
        let ours = self
            .direct
            .lookups
            .get(&peer)
            .is_some_and(|lookup| lookup.ids.contains(&id))
            || self
                .direct
                .sends
                .values()
                .any(|send| send.sealed.to == peer);
        let back = self.direct.back.get(&id).copied();
        if !ours && back.is_none_or(|(_, to)| to != peer) {
            self.counters.rejected += 1;
            return;
        }
        self.learn_route(now, peer, link, hops);
        self.direct.learn_keys(now, peer, keys);
        if self.direct.lookups.remove(&peer).is_some() {
            let keys = Some(keys);
            self.out.push_back(Output::Keys { peer, keys });
        }
        if let Some((back, _)) = back
            && hops < HOP_LIMIT
            && self.is_up(back)
        {
            self.send_control(back, Keys { id, keys, hops });
        }
        // Whatever waits for a way to this member has one.
        for send in self.direct.sends.values_mut() {
            if send.sealed.to == peer && !send.reachable {
                send.next = now;
            }
        }
    }
}
