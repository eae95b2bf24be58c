//! Routing: direct messages are found a way, relayed and acknowledged.
//!
//! A member that wants to send to another one whose keys it does not know floods WHO. The other
//! member, or a neighbour of it, answers with KEYS along the way back, and every member on that way
//! learns where it is. Sealed messages then travel along learned routes, hop by hop. The
//! acknowledgement takes the way of its message back. A message without an acknowledgement is tried
//! again, along another way and at last by flooding.
//!
//! - `routes`: behind which link a member is.
//! - `keys`: the keys of members, known or looked for.
//! - `relay`: what passes through us.
//! - `receipts`: our messages that wait for an acknowledgement, and those that arrived here.

mod interface;
mod keys;
mod receipts;
mod relay;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Ack, Frame, Keys, Route, RouteError, Sealed, Who};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;
use rand::seq::IteratorRandom;

use crate::message::{HOP_LIMIT, LinkId};
use crate::neighbors::Neighbors;
use crate::time::Now;
use keys::KeyBook;
use receipts::Receipts;
use relay::Relay;

pub use interface::{Context, Input, Output};
pub use receipts::MAX_SENDS;
pub use routes::Routes;

/// Members whose routes are remembered, and members whose keys are, neighbours aside.
const MEMBERS: u32 = 4096;

/// Between two tries.
const RETRY: Duration = Duration::from_secs(2);

/// From the first try to giving up.
const PATIENCE: Duration = Duration::from_secs(10);

/// A message up to this many bytes that has no route is flooded at once, which is cheaper than to ask first.
const SMALL: usize = 1024;

/// What a detour costs of a message's hop limit. It keeps detours few.
const DETOUR: u8 = 4;

/// Direct messages on their way.
#[derive(Debug)]
pub struct Routing {
    /// Our own keys.
    keys: PublicKeys,
    routes: Routes,
    key_book: KeyBook,
    relay: Relay,
    receipts: Receipts,
    forwarded: u64,
    rejected: u64,
    out: Vec<Output>,
}

impl Routing {
    /// Knows nobody yet. `keys` are our own.
    #[must_use]
    pub fn new(keys: PublicKeys) -> Self {
        Self {
            keys,
            routes: Routes::new(),
            key_book: KeyBook::new(),
            relay: Relay::new(),
            receipts: Receipts::new(),
            forwarded: 0,
            rejected: 0,
            out: Vec::new(),
        }
    }

    /// Takes an input. Follow with [`take_outputs`](Self::take_outputs).
    pub fn handle(&mut self, now: Now, cx: &mut Context<'_>, input: Input) {
        match input {
            Input::Route(link, route) => self.on_route(now, cx, link, route),
            Input::Ack(link, ack) => self.on_ack(now, cx, link, ack),
            Input::RouteError(link, error) => self.on_route_error(now, cx, link, error),
            Input::Who(link, who) => self.on_who(now, cx, link, who),
            Input::Keys(link, keys) => self.on_keys(now, cx, link, keys),
            Input::FindKeys(peer) => self.on_find_keys(now, cx, peer),
            Input::Send(sealed) => self.on_send(now, sealed),
            Input::Acknowledge { id, proof } => self.acknowledge(now, cx, id, proof),
            Input::Acknowledged(id) => self.receipts.finish(id),
            Input::LinkUp => {
                self.key_book.ask_again(now);
                self.receipts.retry_all(now);
            }
            Input::Timeout => self.on_timeout(now, cx),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        let (lookups, sends) = (self.key_book.deadline(), self.receipts.deadline());
        lookups.into_iter().chain(sends).min()
    }

    /// The learned routes.
    #[must_use]
    pub const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// A member lies behind this link.
    pub(crate) fn learn_route(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        peer: PeerId,
        link: LinkId,
        hops: u8,
    ) {
        self.routes.learn(now, neighbors, peer, link, hops);
    }

    pub(crate) fn learn_keys(&mut self, now: Now, peer: PeerId, keys: PublicKeys) {
        self.key_book.learn(now, peer, keys);
    }

    /// Messages passed on.
    #[must_use]
    pub const fn forwarded(&self) -> u64 {
        self.forwarded
    }

    /// Frames that broke a rule.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.rejected
    }

    pub(crate) fn expire(&mut self, now: Now) {
        self.key_book.expire(now);
        self.routes.expire(now);
        self.relay.expire(now);
        self.receipts.expire(now);
    }

    fn send(&mut self, links: Vec<LinkId>, frame: impl Into<Frame>) {
        if !links.is_empty() {
            self.out.push(Output::Send(links, frame.into()));
        }
    }

    fn on_find_keys(&mut self, now: Now, cx: &Context<'_>, peer: PeerId) {
        let neighbor = cx.neighbors.keys_of(peer);
        let known = neighbor.or_else(|| self.key_book.get(peer));
        if known.is_some() || !self.key_book.look_for(now, peer) {
            self.out.push(Output::Keys { peer, keys: known });
        }
    }

    /// Floods a question for a member.
    fn ask_who(&mut self, now: Now, cx: &mut Context<'_>, to: PeerId) {
        let id = MessageId::new(cx.rng.random());
        self.relay.flood(now, id);
        self.key_book.asked(to, id);
        let who = Who {
            id,
            to,
            hops: 0,
            hop_limit: HOP_LIMIT,
        };
        self.send(cx.neighbors.others(None), who);
    }

    fn on_who(&mut self, now: Now, cx: &Context<'_>, link: LinkId, who: Who) {
        let Who { id, to, .. } = who;
        if !self.relay.flood(now, id) {
            return;
        }
        self.relay.remember(now, id, link, to);
        let hops = who.hops.saturating_add(1);
        let answer = if to == cx.neighbors.me() {
            Some((self.keys, 0))
        } else {
            let neighbor = cx.neighbors.mesh_links().find(|(_, link)| link.peer == to);
            neighbor.and_then(|(_, link)| Some((link.keys?, 1)))
        };
        if let Some((keys, hops)) = answer {
            self.send(vec![link], Keys { id, keys, hops });
        } else if hops < who.hop_limit.min(HOP_LIMIT) {
            self.send(cx.neighbors.others(Some(link)), Who { hops, ..who });
        }
    }

    fn on_keys(&mut self, now: Now, cx: &Context<'_>, link: LinkId, frame: Keys) {
        let Keys { id, keys, .. } = frame;
        let peer = keys.address();
        let hops = frame.hops.saturating_add(1);
        let ours = self.key_book.has_asked(peer, id) || self.receipts.has_message_to(peer);
        let origin = self.relay.origin(id);
        if !ours && origin.is_none_or(|origin| origin.to != peer) {
            self.rejected += 1;
            return;
        }
        self.routes.learn(now, cx.neighbors, peer, link, hops);
        self.key_book.learn(now, peer, keys);
        if self.key_book.finish(peer) {
            let keys = Some(keys);
            self.out.push(Output::Keys { peer, keys });
        }
        if let Some(origin) = origin
            && hops < HOP_LIMIT
            && cx.neighbors.is_up(origin.link)
        {
            self.send(vec![origin.link], Keys { id, keys, hops });
        }
        self.receipts.retry_to(now, peer);
    }

    fn on_send(&mut self, now: Now, sealed: Arc<Sealed>) {
        if self.receipts.is_full() {
            return self.out.push(Output::Undelivered {
                id: sealed.id,
                reachable: false,
            });
        }
        let (to, bytes) = (sealed.to, sealed.body.len());
        if self.receipts.count_traffic(now, to, bytes) {
            self.out.push(Output::Bulk(to));
        }
        self.receipts.start(now, sealed);
    }

    fn on_timeout(&mut self, now: Now, cx: &mut Context<'_>) {
        for peer in self.key_book.due(now) {
            match self.key_book.retry(now, peer) {
                Some(keys::Due::Ask) => self.ask_who(now, cx, peer),
                Some(keys::Due::GiveUp) => self.out.push(Output::Keys { peer, keys: None }),
                None => {}
            }
        }
        for id in self.receipts.due(now) {
            match self.receipts.retry(now, id) {
                Some(receipts::Due::Try {
                    sealed,
                    before,
                    last,
                }) => self.try_again(now, cx, &sealed, before, last),
                Some(receipts::Due::GiveUp { reachable }) => {
                    self.out.push(Output::Undelivered { id, reachable });
                }
                None => {}
            }
        }
    }

    fn try_again(
        &mut self,
        now: Now,
        cx: &mut Context<'_>,
        sealed: &Arc<Sealed>,
        before: Option<LinkId>,
        last: bool,
    ) {
        let (id, to) = (sealed.id, sealed.to);
        let known = self.routes.way(now, cx.neighbors, to, before);
        // What leads nowhere from one neighbour may lead somewhere from another.
        let way = known.or_else(|| {
            before?;
            let others = cx.neighbors.others(before).into_iter();
            others.choose(cx.rng)
        });
        self.receipts.note_way(id, way, known.is_some());
        if let Some(link) = way {
            self.out.push(Output::Used(link, to));
            self.send(vec![link], route(sealed, 0, HOP_LIMIT, false));
        }
        if way.is_none() || last {
            self.ask_who(now, cx, to);
            if last || sealed.body.len() <= SMALL {
                self.relay.flood(now, id);
                let links = cx.neighbors.others(None);
                self.send(links, route(sealed, 0, HOP_LIMIT, true));
            }
        }
    }

    fn on_route(&mut self, now: Now, cx: &mut Context<'_>, link: LinkId, frame: Route) {
        let Route {
            hop_limit,
            flood,
            sealed,
            ..
        } = frame;
        let neighbors = cx.neighbors;
        let (id, from, to) = (sealed.id, sealed.from, sealed.to);
        let me = neighbors.me();
        if from == me || from == to {
            self.rejected += 1;
            return;
        }
        let hops = frame.hops.saturating_add(1);
        self.routes.learn(now, neighbors, from, link, hops);
        if to == me {
            return self.on_arrived(now, cx, link, hops, sealed);
        }
        if flood && !self.relay.flood(now, id) {
            return;
        }
        // It was here before: our way led in a circle. The way back is still the first one.
        let back = self.relay.origin(id).map(|origin| origin.link);
        let again = !flood && back.is_some_and(|back| back != link && neighbors.is_up(back));
        if !again {
            self.relay.remember(now, id, link, to);
        }
        let neighbor = neighbors.link_to(to);
        let way = self.routes.way(now, neighbors, to, Some(link));
        let way = way.filter(|way| !again || neighbor == Some(*way));
        let mut hop_limit = hop_limit.min(HOP_LIMIT);
        let spent = hops >= hop_limit;
        if flood && spent {
            return;
        }
        let (links, flood) = match way {
            Some(way) if !spent && (!flood || neighbor == Some(way)) => (vec![way], false),
            _ if flood => (neighbors.others(Some(link)), true),
            _ => {
                // Another neighbour that has heard of the receiver knows a way, most likely not through us.
                hop_limit = hop_limit.saturating_sub(DETOUR);
                let others = neighbors.others(Some(link)).into_iter();
                let detour = others.filter(|other| Some(*other) != back);
                let detour = detour.choose(cx.rng).filter(|_| hops < hop_limit);
                let Some(detour) = detour else {
                    return self.send(vec![link], RouteError { id, from: me });
                };
                (vec![detour], false)
            }
        };
        self.forwarded += links.len() as u64;
        self.send(links, route(&sealed, hops, hop_limit, flood));
    }

    fn on_arrived(
        &mut self,
        now: Now,
        cx: &Context<'_>,
        link: LinkId,
        hops: u8,
        sealed: Arc<Sealed>,
    ) {
        let (id, from) = (sealed.id, sealed.from);
        self.out.push(Output::Used(link, from));
        self.relay.remember(now, id, link, from);
        match self.receipts.arrived(id) {
            // Its acknowledgement was lost, or the message came another way.
            Some(arrived) => {
                if let Some(proof) = arrived.proof {
                    self.acknowledge(now, cx, id, proof);
                }
            }
            None => {
                self.receipts.note_arrived(now, id, from, hops);
                self.out.push(Output::Open { sealed, hops });
            }
        }
    }

    fn acknowledge(&mut self, now: Now, cx: &Context<'_>, id: MessageId, proof: [u8; 16]) {
        let Some(arrived) = self.receipts.note_opened(id, proof) else {
            return;
        };
        let ack = Ack {
            id,
            from: cx.neighbors.me(),
            to: arrived.from,
            hops: arrived.hops,
            hop_limit: HOP_LIMIT,
            proof,
        };
        let message = (id, arrived.from);
        let link = (self.relay).way_back(now, cx.neighbors, &self.routes, message, None);
        self.send(link.into_iter().collect(), ack);
    }

    fn on_ack(&mut self, now: Now, cx: &Context<'_>, link: LinkId, ack: Ack) {
        let Ack {
            id,
            from,
            to,
            hops,
            proof,
            ..
        } = ack;
        if to == cx.neighbors.me() {
            if self.receipts.awaits(id, from) {
                self.out.push(Output::CheckAck { id, proof, hops });
            }
            return;
        }
        let way = (self.relay).way_back(now, cx.neighbors, &self.routes, (id, to), Some(link));
        let Some(way) = way else {
            return;
        };
        if let Some(hop_limit) = ack.hop_limit.min(HOP_LIMIT).checked_sub(1)
            && hop_limit > 0
        {
            self.send(vec![way], Ack { hop_limit, ..ack });
        }
    }

    fn on_route_error(&mut self, now: Now, cx: &Context<'_>, link: LinkId, error: RouteError) {
        let id = error.id;
        match self.receipts.on_route_error(now, id, link) {
            Some(Ok(to)) => self.routes.end(to, link),
            Some(Err(receipts::Stale)) => self.rejected += 1,
            None => {
                if let Some(origin) = self.relay.origin(id).filter(|origin| origin.link != link) {
                    self.routes.end(origin.to, link);
                    if cx.neighbors.is_up(origin.link) {
                        self.send(vec![origin.link], error);
                    }
                }
            }
        }
    }
}

fn route(sealed: &Arc<Sealed>, hops: u8, hop_limit: u8, flood: bool) -> Route {
    Route {
        hops,
        hop_limit,
        flood,
        sealed: Arc::clone(sealed),
    }
}
