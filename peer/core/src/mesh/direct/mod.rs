//! Direct messages: found, routed and acknowledged over other members.
//!
//! Who wants to send to a member whose keys it does not know floods WHO; the member, or a neighbour
//! of it, answers with KEYS along the way back, and every member on that way learns where it lies.
//! Sealed messages then go along learned routes, hop by hop; an acknowledgement goes back the way
//! that the message came. What gets none is tried again: another way, at last by flooding.
//!
//! Routes are hints, learned from signed broadcasts and from what passes by. A liar can lead messages
//! astray, not read or acknowledge them, and not stop the flood.
//!
//! - `keys`: of members, asked for and answered.
//! - `passing`: what passes or has arrived.

mod keys;
mod passing;

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{self, Sealed};
use easypeers_proto::{MessageId, PeerId};
use rand::seq::IteratorRandom;

use super::message::Class;
use super::{HOP_LIMIT, LinkId, Mesh, Now, Output};
use crate::expiring_map::ExpiringMap;
use crate::map::Map;

/// Members, neighbours aside, whose keys are remembered, and members whose routes are; 64 and 40 bytes each.
const MEMBERS: u32 = 4096;

/// How long keys are: they never change, so this bounds memory only.
const KEYS_AGE: Duration = Duration::from_secs(3600);

/// How long a route is used after it was last seen to work.
const ROUTE_AGE: Duration = Duration::from_secs(600);

/// Passing messages whose way back is remembered.
const PASSING: u32 = 8192;

/// How long: a message and its acknowledgement take less.
const PASSING_AGE: Duration = Duration::from_secs(60);

/// How long a message for us is remembered, to acknowledge it again instead of delivering it twice.
const ARRIVED_AGE: Duration = Duration::from_secs(600);

/// Own messages that wait for an acknowledgement.
pub const MAX_SENDS: usize = 256;

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
const RECEIVERS: u32 = 64;

/// What a detour costs of a message's hop limit, so that there are few.
const DETOUR: u8 = 4;

/// Ways tried before a message that has one is flooded.
const WAYS: u32 = 2;

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
    /// The neighbour that it went to the last time.
    along: Option<LinkId>,
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
    keys: ExpiringMap<PeerId, PublicKeys>,
    routes: ExpiringMap<PeerId, Route>,
    /// Where a passing message or question came from, and whom it is for.
    back: ExpiringMap<MessageId, (LinkId, PeerId)>,
    flooded: ExpiringMap<MessageId, ()>,
    arrived: ExpiringMap<MessageId, Arrived>,
    lookups: Map<PeerId, Lookup>,
    sends: Map<MessageId, Sending>,
    /// Bytes sent to each receiver of late.
    traffic: ExpiringMap<PeerId, usize>,
}

impl Direct {
    pub(super) fn new() -> Self {
        Self {
            keys: ExpiringMap::new(MEMBERS, KEYS_AGE),
            routes: ExpiringMap::new(MEMBERS, ROUTE_AGE),
            back: ExpiringMap::new(PASSING, PASSING_AGE),
            flooded: ExpiringMap::new(PASSING, PASSING_AGE),
            arrived: ExpiringMap::new(PASSING, ARRIVED_AGE),
            lookups: Map::default(),
            sends: Map::default(),
            traffic: ExpiringMap::new(RECEIVERS, HEAVY_AGE),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.keys.expire(now);
        self.routes.expire(now);
        self.back.expire(now);
        self.flooded.expire(now);
        self.arrived.expire(now);
        self.traffic.expire(now);
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

    /// The way to a member leads nowhere, as the neighbour says that it led through. No other can say so.
    fn end_route(&mut self, to: PeerId, link: LinkId) {
        if let Some(route) = self.routes.get_mut(&to)
            && route.link == link
        {
            route.link = NO_LINK;
        }
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
            along: None,
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
        send.tries += 1;
        send.next = now + RETRY;
        let last = send.tries > WAYS;
        let (sealed, before) = (Arc::clone(&send.sealed), send.along);
        let known = self.way(now, sealed.to, before);
        // What led nowhere before does not lead there from every neighbour.
        let way = known.or_else(|| {
            before?;
            self.others(before).into_iter().choose(&mut self.rng)
        });
        if let Some(send) = self.direct.sends.get_mut(&id) {
            send.along = way;
            send.reachable |= known.is_some();
        }
        if let Some(link) = way {
            self.use_direct(now, link, sealed.to);
            self.send_control(link, route(&sealed, 0, HOP_LIMIT, false));
        }
        if way.is_none() || last {
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
}

fn route(sealed: &Arc<Sealed>, hops: u8, hop_limit: u8, flood: bool) -> frame::Route {
    frame::Route {
        hops,
        hop_limit,
        flood,
        sealed: Arc::clone(sealed),
    }
}
