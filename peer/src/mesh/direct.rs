//! Direct messages: found, routed and acknowledged over other members.
//!
//! Who wants to send to a member whose keys it does not know floods WHO; the member, or a neighbour
//! of it, answers with KEYS along the way back, and every member on that way learns where it lies.
//! Sealed messages then go along learned routes, hop by hop; an acknowledgement goes back the way
//! that the message came. What gets none is tried again: another way, at last by flooding.
//!
//! Routes are hints, learned from signed broadcasts and from what passes by. A liar can lead messages
//! astray, not read or acknowledge them, and not stop the flood.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::seq::IteratorRandom;
use shared::crypto::PublicKeys;
use shared::{MessageId, PeerId};

use super::message::{Class, Packet, Sealed};
use super::seen::Recent;
use super::{HOP_LIMIT, LinkId, Mesh, Now, Output};
use crate::map::Map;

/// Members whose keys or routes are remembered; 64 and 40 bytes each.
const MEMBERS: usize = 4096;

/// How long keys are: they never change, so this bounds memory only.
const KEYS_AGE: Duration = Duration::from_secs(3600);

/// How long a route is used after it was last seen to work.
const ROUTE_AGE: Duration = Duration::from_secs(600);

/// Passing messages whose way back is remembered.
const PASSING: usize = 8192;

/// How long: a message and its acknowledgement take less.
const PASSING_AGE: Duration = Duration::from_secs(60);

/// How long a message for us is remembered, to acknowledge it again instead of delivering it twice.
const ARRIVED_AGE: Duration = Duration::from_secs(600);

/// Own messages that wait for an acknowledgement.
pub(crate) const MAX_SENDS: usize = 256;

/// Own questions for keys that wait for an answer.
const MAX_LOOKUPS: usize = 256;

/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// From the first try to giving up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Below this, a message without a route is flooded at once: cheaper than asking first.
const SMALL: usize = 1024;

/// Traffic to one member in [`HEAVY_AGE`] that deserves a link of its own.
const HEAVY: usize = 256 << 10;
const HEAVY_AGE: Duration = Duration::from_secs(10);
const RECEIVERS: usize = 64;

/// What a detour costs of a message's hop limit, so that there are few.
const DETOUR: u8 = 8;

/// Never up: a route along it is none.
const NO_LINK: LinkId = LinkId(u64::MAX);

#[derive(Debug, Clone, Copy)]
struct Route {
    link: LinkId,
    hops: u8,
    at: Now,
}

#[derive(Debug)]
struct Lookup {
    ids: Vec<MessageId>,
    since: Now,
    next: Now,
}

#[derive(Debug)]
struct Sending {
    sealed: Arc<Sealed>,
    since: Now,
    next: Now,
    tries: u32,
    reachable: bool,
}

#[derive(Debug, Clone, Copy)]
struct Arrived {
    from: PeerId,
    hops: u8,
    proof: Option<[u8; 16]>,
}

#[derive(Debug)]
pub(super) struct Direct {
    keys: Recent<PeerId, PublicKeys>,
    routes: Recent<PeerId, Route>,
    /// Where a passing message or question came from, and whom it is for.
    back: Recent<MessageId, (LinkId, PeerId)>,
    flooded: Recent<MessageId, ()>,
    arrived: Recent<MessageId, Arrived>,
    lookups: Map<PeerId, Lookup>,
    sends: Map<MessageId, Sending>,
    /// Bytes sent to each receiver of late.
    traffic: Recent<PeerId, usize>,
}

impl Direct {
    pub(super) fn new() -> Self {
        Self {
            keys: Recent::new(MEMBERS, KEYS_AGE),
            routes: Recent::new(MEMBERS, ROUTE_AGE),
            back: Recent::new(PASSING, PASSING_AGE),
            flooded: Recent::new(PASSING, PASSING_AGE),
            arrived: Recent::new(PASSING, ARRIVED_AGE),
            lookups: Map::default(),
            sends: Map::default(),
            traffic: Recent::new(RECEIVERS, HEAVY_AGE),
        }
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        let lookups = self.lookups.values().map(|lookup| lookup.next);
        lookups
            .chain(self.sends.values().map(|send| send.next))
            .min()
    }

    pub(super) fn learn_keys(&mut self, now: Now, peer: PeerId, keys: PublicKeys) {
        self.keys.insert(now, peer, keys);
    }

    pub(super) fn on_acknowledged(&mut self, id: MessageId) {
        self.sends.remove(&id);
    }
}

impl Mesh {
    /// Remembers that a member lies behind a link. A shorter way replaces a longer one, a living
    /// one a dead one.
    pub(super) fn learn_route(&mut self, now: Now, peer: PeerId, link: LinkId, hops: u8) {
        let better = match self.direct.routes.get(&peer) {
            Some(old) => {
                hops <= old.hops || !self.is_up(old.link) || now >= old.at + ROUTE_AGE / 10
            }
            None => true,
        };
        if better && peer != self.settings.me {
            let route = Route {
                link,
                hops,
                at: now,
            };
            self.direct.routes.insert(now, peer, route);
        }
    }

    /// The link towards a member: its own, or the one behind which it was last seen.
    pub(super) fn way(&self, now: Now, to: PeerId, not: Option<LinkId>) -> Option<LinkId> {
        let neighbor = self
            .mesh_links()
            .find(|(_, link)| link.peer == to)
            .map(|(id, _)| id);
        let learned = self
            .direct
            .routes
            .get(&to)
            .filter(|route| now < route.at + ROUTE_AGE && self.is_up(route.link))
            .map(|route| route.link);
        neighbor.or(learned).filter(|link| Some(*link) != not)
    }

    fn others(&self, not: Option<LinkId>) -> Vec<LinkId> {
        self.mesh_links()
            .map(|(id, _)| id)
            .filter(|id| Some(*id) != not)
            .collect()
    }

    pub(super) fn on_find_keys(&mut self, now: Now, peer: PeerId) {
        if let Some(keys) = self.direct.keys.get(&peer) {
            let keys = Some(*keys);
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
    fn ask_who(&mut self, now: Now, to: PeerId) {
        let id = MessageId::new(self.rng.random());
        self.direct.flooded.insert(now, id, ());
        if let Some(lookup) = self.direct.lookups.get_mut(&to) {
            lookup.ids.push(id);
        }
        let packet = Packet::Who {
            id,
            to,
            hops: 0,
            hop_limit: HOP_LIMIT,
        };
        self.send(self.others(None), packet, Class::Control);
    }

    pub(super) fn on_who(
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
            self.send_control(link, Packet::Keys { id, keys, hops });
        } else if hops < hop_limit.min(HOP_LIMIT) {
            let packet = Packet::Who {
                id,
                to,
                hops,
                hop_limit,
            };
            self.send(self.others(Some(link)), packet, Class::Control);
        }
    }

    pub(super) fn on_keys(
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
            self.send_control(back, Packet::Keys { id, keys, hops });
        }
        // Whatever waits for a way to this member has one.
        for send in self.direct.sends.values_mut() {
            if send.sealed.to == peer && !send.reachable {
                send.next = now;
            }
        }
    }

    pub(super) fn on_direct(&mut self, now: Now, sealed: Arc<Sealed>) {
        let id = sealed.id;
        if self.direct.sends.len() >= MAX_SENDS {
            let reachable = false;
            return self.out.push_back(Output::Undelivered { id, reachable });
        }
        self.note_traffic(now, sealed.to, sealed.body.len());
        let sending = Sending {
            sealed,
            since: now,
            next: now,
            tries: 0,
            reachable: false,
        };
        self.direct.sends.insert(id, sending);
    }

    /// Heavy traffic to one member gets a link of its own.
    fn note_traffic(&mut self, now: Now, to: PeerId, bytes: usize) {
        let traffic = &mut self.direct.traffic;
        traffic.expire(now);
        let before = traffic.get(&to).copied().unwrap_or(0);
        traffic.insert(now, to, before + bytes);
        if before + bytes >= HEAVY {
            self.seek_direct(now, to);
        }
    }

    /// A link came up: what waits may find its way now.
    pub(super) fn ask_again(&mut self, now: Now) {
        for lookup in self.direct.lookups.values_mut() {
            lookup.next = now;
        }
        for send in self.direct.sends.values_mut() {
            send.next = if send.reachable { send.next } else { now };
        }
    }

    pub(super) fn retry_direct(&mut self, now: Now) {
        let due = |next: Now| next <= now;
        let lookups: Vec<PeerId> = self
            .direct
            .lookups
            .iter()
            .filter(|(_, lookup)| due(lookup.next))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in lookups {
            let Some(lookup) = self.direct.lookups.get_mut(&peer) else {
                continue;
            };
            if now >= lookup.since + PATIENCE {
                self.direct.lookups.remove(&peer);
                self.out.push_back(Output::Keys { peer, keys: None });
            } else {
                lookup.next = now + RETRY;
                self.ask_who(now, peer);
            }
        }
        let sends: Vec<MessageId> = self
            .direct
            .sends
            .iter()
            .filter(|(_, send)| due(send.next))
            .map(|(id, _)| *id)
            .collect();
        for id in sends {
            self.try_direct(now, id);
        }
    }

    fn try_direct(&mut self, now: Now, id: MessageId) {
        let Some(send) = self.direct.sends.get_mut(&id) else {
            return;
        };
        if now >= send.since + PATIENCE {
            let reachable = send.reachable;
            self.direct.sends.remove(&id);
            return self.out.push_back(Output::Undelivered { id, reachable });
        }
        let first = send.tries == 0;
        send.tries += 1;
        send.next = now + RETRY;
        let last = send.tries > 2;
        let sealed = Arc::clone(&send.sealed);
        let way = self.way(now, sealed.to, None);
        if let Some(send) = self.direct.sends.get_mut(&id) {
            send.reachable |= way.is_some();
        }
        if let Some(link) = way {
            self.use_direct(now, link, sealed.to);
            self.send_control(link, route(&sealed, 0, HOP_LIMIT, false));
        }
        if way.is_none() || !first {
            // The way is unknown, or it led nowhere: look for another.
            self.ask_who(now, sealed.to);
            if last || sealed.body.len() <= SMALL {
                self.direct.flooded.insert(now, id, ());
                self.send(
                    self.others(None),
                    route(&sealed, 0, HOP_LIMIT, true),
                    Class::Control,
                );
            }
        }
    }

    pub(super) fn on_route(
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
                    return self.send_control(link, Packet::RouteError { id, from: me });
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

    pub(super) fn on_acknowledge(&mut self, now: Now, id: MessageId, proof: [u8; 16]) {
        let Some(arrived) = self.direct.arrived.get_mut(&id) else {
            return;
        };
        arrived.proof = Some(proof);
        let Arrived { from, hops, .. } = *arrived;
        let packet = Packet::Ack {
            id,
            from: self.settings.me,
            to: from,
            hops,
            hop_limit: HOP_LIMIT,
            proof,
        };
        if let Some(link) = self.way_back(now, &id, from, None) {
            self.send_control(link, packet);
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

    #[expect(clippy::too_many_arguments, reason = "the fields of one frame")]
    pub(super) fn on_ack(
        &mut self,
        now: Now,
        link: LinkId,
        id: MessageId,
        from: PeerId,
        to: PeerId,
        hops: u8,
        hop_limit: u8,
        proof: [u8; 16],
    ) {
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
            let packet = Packet::Ack {
                id,
                from,
                to,
                hops,
                hop_limit,
                proof,
            };
            self.send_control(link, packet);
        }
    }

    pub(super) fn on_route_error(&mut self, now: Now, link: LinkId, id: MessageId, from: PeerId) {
        if let Some(send) = self.direct.sends.get_mut(&id) {
            send.next = now;
            send.reachable = false;
            let to = send.sealed.to;
            // Only the neighbour that the route led through can end it.
            if let Some(route) = self.direct.routes.get_mut(&to)
                && route.link == link
            {
                route.link = NO_LINK;
            }
            return;
        }
        if let Some((back, _)) = self.direct.back.get(&id).copied()
            && back != link
            && self.is_up(back)
        {
            self.send_control(back, Packet::RouteError { id, from });
        }
    }
}

fn route(sealed: &Arc<Sealed>, hops: u8, hop_limit: u8, flood: bool) -> Packet {
    Packet::Route {
        hops,
        hop_limit,
        flood,
        sealed: Arc::clone(sealed),
    }
}
