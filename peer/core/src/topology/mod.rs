//! Topology: which members we are linked to. How links are found without a tracker, how a full mesh takes a
//! newcomer in, how it stays random, and how two meshes become one. Everything here travels along links
//! that exist.
//!
//! - `demand`: how many links are wanted.
//! - `walk`: a walk through the mesh that finds a member for a purpose.
//! - `exchange`: the offer and the answer of the two ends of a walk, along its way.
//! - `surplus`: a full member takes a newcomer in by splitting an edge, or lets a link go.
//! - `flip`: two full members exchange neighbours, which keeps the mesh random and joins two meshes by many
//!   edges.
//! - `bulk_link`: a link of its own for heavy traffic between two members.
//! - `shuffle`: members that are not neighbours, for when walks find nobody.
//! - `beacons`: signs of life of the mesh as a whole.
//!
//! Invariants: there are at most [`SLACK`](crate::neighbors::SLACK) links above `max_peers`. A link is closed
//! for a split or a flip only after the one in its place is up. A neighbour with fewer than two links is not
//! let go. Everything ends by a deadline, and every map is bounded.

mod beacons;
mod bulk_link;
mod demand;
mod exchange;
mod flip;
mod interface;
mod shuffle;
mod surplus;
#[cfg(test)]
mod tests;
mod walk;

use std::time::Duration;

use easypeers_proto::wire::frame::{
    Beacons as BeaconsFrame, Flip, FlipStep, Frame, LinkRequest, Purpose, Shuffle, ShuffleReply,
    Signal, SignalKind, Split, WalkTarget,
};
use easypeers_proto::{MessageId, PeerId};
use rand::RngExt;

use crate::message::{LinkId, Signed};
use crate::neighbors::{Neighbors, Reason, SLACK};
use crate::time::Now;
use beacons::{Beacons, Verdict};
use bulk_link::BulkLinks;
use demand::Demand;
use exchange::Exchanges;
use flip::Flips;
use shuffle::PassiveView;
use surplus::{Surplus, counted_up};
use walk::Search;

pub use interface::{Context, Input, Output};

/// Average time between two exchanges of neighbours that a page in a browser starts. It may not afford many
/// connections.
pub const BROWSER_FLIP_INTERVAL: Duration = Duration::from_secs(7200);

/// Which links we have and want.
#[derive(Debug)]
pub struct Topology {
    exchanges: Exchanges,
    search: Search,
    surplus: Surplus,
    flips: Flips,
    bulk: BulkLinks,
    passive: PassiveView,
    beacons: Beacons,
    /// Peers in the swarm as a tracker counts them. 0 if none has told.
    swarm_size: usize,
    merges: u64,
    out: Vec<Output>,
}

impl Topology {
    /// Starts with no links. `started_ms` is the start in milliseconds since 1970, `flip_interval` the average
    /// time between two exchanges of neighbours.
    #[must_use]
    pub fn new(started_ms: u64, flip_interval: Duration) -> Self {
        Self {
            exchanges: Exchanges::new(),
            search: Search::new(),
            surplus: Surplus::new(),
            flips: Flips::new(flip_interval),
            bulk: BulkLinks::default(),
            passive: PassiveView::default(),
            beacons: Beacons::new(started_ms),
            swarm_size: 0,
            merges: 0,
            out: Vec::new(),
        }
    }

    /// Takes an input. Follow with [`take_outputs`](Self::take_outputs).
    pub fn handle(&mut self, now: Now, cx: &mut Context<'_>, input: Input) {
        match input {
            Input::LinkRequest(link, request) => self.on_link_request(now, cx, link, request),
            Input::Signal(link, signal) => self.on_signal(now, cx, link, signal),
            Input::Split(link, split) => self.on_split(now, cx, link, split),
            Input::Flip(link, flip) => self.on_flip(now, cx, link, flip),
            Input::Shuffle(link, shuffle) => self.on_shuffle(now, cx, link, shuffle),
            Input::ShuffleReply(reply) => self.on_shuffle_reply(cx, reply),
            Input::Beacons(link, frame) => self.on_beacons(now, cx, link, &frame.beacons),
            Input::Hints(peers) => self.passive.remember(cx.neighbors.me(), cx.rng, peers),
            Input::Describe(signal) => self.describe(cx.neighbors, signal),
            Input::ExchangeFailed(id) => self.on_exchange_failed(now, cx, id),
            Input::LinkUp(link) => self.on_link_up(now, cx, link),
            Input::LinkSettled => self.search.wait_for_host(now),
            Input::LinkLost => self.on_link_lost(now, cx.neighbors),
            Input::Deprived => self.on_deprived(now, cx),
            Input::Bulk(peer) => self.request_bulk_link(now, cx, peer),
            Input::Used(link, peer) => {
                if cx.neighbors.get(link).is_some_and(|link| link.peer == peer) {
                    self.bulk.note_used(now, link);
                }
            }
            Input::BeaconTimeout => self.on_beacon_timeout(now, cx),
            Input::Timeout => self.end_late(now, cx),
            Input::Search => self.look_for_links(now, cx),
        }
    }

    /// What is to be done since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Timeout`] or [`Input::BeaconTimeout`] is due.
    #[must_use]
    pub fn deadline(&self, neighbors: &Neighbors) -> Option<Now> {
        let next = self.may_request(neighbors).then(|| self.search.next());
        let idle = neighbors.has_mesh_link().then(|| {
            let idle = self.passive.due().min(self.flips.due());
            idle.min(self.beacons.deadline())
        });
        (self.exchanges.deadlines())
            .chain(self.surplus.deadlines())
            .chain(self.bulk.deadlines())
            .chain(next)
            .chain(idle)
            .min()
    }

    pub(crate) fn expire(&mut self, now: Now) {
        self.exchanges.expire(now);
        self.surplus.expire(now);
        self.flips.expire(now);
    }

    pub(crate) const fn set_swarm_size(&mut self, size: usize) {
        self.swarm_size = size;
    }

    /// Peers in the swarm as a tracker counts them. 0 if none has told.
    #[must_use]
    pub const fn swarm_size(&self) -> usize {
        self.swarm_size
    }

    /// Other meshes of the same topic that we touched.
    #[must_use]
    pub const fn merges(&self) -> u64 {
        self.merges
    }

    /// Links worth an offer to strangers.
    #[must_use]
    pub fn offers_to_publish(&self, neighbors: &Neighbors) -> usize {
        self.demand(neighbors).offers_to_publish()
    }

    /// Links that could be accepted now.
    #[must_use]
    pub fn acceptable_links(&self, neighbors: &Neighbors) -> usize {
        self.demand(neighbors).acceptable_links()
    }

    /// The link that takes this one's place.
    pub(crate) fn heir(&self, link: LinkId) -> Option<LinkId> {
        self.surplus.heir(link)
    }

    pub(crate) fn forget_link(&mut self, link: LinkId) {
        self.surplus.forget(link);
        self.bulk.forget(link);
    }

    /// A beacon is here, ours or another one. Whether it is to be passed on; `None` if it is not of this time.
    pub(crate) fn on_beacon(&mut self, now: Now, me: PeerId, beacon: &Signed) -> Option<bool> {
        self.beacons.on_beacon(now, me, beacon)
    }

    /// What we tell a new neighbour about beacons.
    pub(crate) fn beacons(&self) -> Option<BeaconsFrame> {
        let beacons = self.beacons.latest();
        (!beacons.is_empty()).then_some(BeaconsFrame { beacons })
    }

    /// A link to let go while there are more than `most`.
    pub(crate) fn let_go(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        most: usize,
    ) -> Option<LinkId> {
        let (link, ended) = (self.surplus).least_needed(now, neighbors, &self.bulk, most)?;
        if let Some(ended) = ended {
            self.refuse(neighbors, link, ended.id, ended.target);
        }
        Some(link)
    }

    fn demand(&self, neighbors: &Neighbors) -> Demand {
        let (invited, requested) = (
            self.exchanges.links_invited(),
            self.exchanges.links_requested(),
        );
        Demand::new(neighbors, self.bulk.len(), invited, requested)
    }

    /// Whether this peer may become a neighbour.
    fn is_stranger(&self, neighbors: &Neighbors, peer: PeerId) -> bool {
        peer != neighbors.me()
            && !neighbors.has(peer)
            && !self.exchanges.involves(peer)
            && !neighbors.is_banned(peer)
    }

    fn send(&mut self, link: LinkId, frame: impl Into<Frame>) {
        self.out.push(Output::Send(link, frame.into()));
    }

    // Walks.

    fn may_request(&self, neighbors: &Neighbors) -> bool {
        self.demand(neighbors).links_to_request() > 0
            && self.exchanges.requests() < walk::REQUESTS
            && neighbors.has_mesh_link()
    }

    /// Starts walks for the links that are missing.
    fn request_links(&mut self, now: Now, cx: &mut Context<'_>) {
        while now >= self.search.next() && self.may_request(cx.neighbors) {
            let missing = self.demand(cx.neighbors).links_to_request();
            let target = match self.passive.any(cx.rng) {
                Some(peer) if self.search.is_fruitless() => WalkTarget::To(peer),
                _ => WalkTarget::Random,
            };
            if !self.start_walk(now, cx, Purpose::Links, target, missing.min(2), missing) {
                return;
            }
        }
    }

    /// Sends out a walk that may bring this many links. Whether there is a way for it.
    fn start_walk(
        &mut self,
        now: Now,
        cx: &mut Context<'_>,
        purpose: Purpose,
        target: WalkTarget,
        links: usize,
        missing: usize,
    ) -> bool {
        let me = cx.neighbors.me();
        let Some(link) = walk::next_hop(now, cx, &self.exchanges, target, None, me) else {
            return false;
        };
        let id = MessageId::new(cx.rng.random());
        self.exchanges.request(now, id, purpose, links);
        let request = LinkRequest {
            id,
            from: me,
            hops: 0,
            purpose,
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
            target,
        };
        self.send(link, request);
        true
    }

    fn on_link_request(
        &mut self,
        now: Now,
        cx: &mut Context<'_>,
        link: LinkId,
        request: LinkRequest,
    ) {
        let LinkRequest { id, from, .. } = request;
        let ours = from == cx.neighbors.me() || self.exchanges.has_request(id);
        if !ours && !self.exchanges.has_path(id) {
            self.exchanges.remember_walk(now, id, link);
        }
        let hops = request.hops.saturating_add(1);
        if !ours && self.ends_here(cx.neighbors, hops, &request) {
            return self.end_walk(now, cx, link, request);
        }
        if hops < walk::WALK {
            let target = match request.target {
                // It has arrived where the other walk came from, or nobody knows that walk.
                WalkTarget::Along(walk) if !self.exchanges.has_path(walk) => WalkTarget::Random,
                target => target,
            };
            let next = walk::next_hop(now, cx, &self.exchanges, target, Some(link), from);
            if let Some(next) = next {
                let request = LinkRequest {
                    hops,
                    target,
                    ..request
                };
                self.send(next, request);
            }
        }
    }

    fn ends_here(&self, neighbors: &Neighbors, hops: u8, request: &LinkRequest) -> bool {
        let invitations = self.exchanges.invitations();
        let free = || invitations < walk::INVITATIONS && self.is_stranger(neighbors, request.from);
        let is_target = request.target == WalkTarget::To(neighbors.me());
        let demand = self.demand(neighbors);
        match request.purpose {
            Purpose::Merge => hops >= walk::SPREAD,
            Purpose::Direct => is_target && free(),
            Purpose::Flip => hops == walk::WALK && demand.acceptable_links() > 0 && free(),
            Purpose::Links => {
                let may_host = (hops > walk::PAIRING || is_target) && request.missing > 1;
                free() && (demand.links_to_request() > 0 || (may_host && self.may_host(neighbors)))
            }
        }
    }

    /// Whether another guest could be taken in.
    fn may_host(&self, neighbors: &Neighbors) -> bool {
        self.demand(neighbors).acceptable_links() > self.surplus.running()
            && neighbors.mesh_links().count() > 1
    }

    fn end_walk(&mut self, now: Now, cx: &mut Context<'_>, link: LinkId, request: LinkRequest) {
        let LinkRequest { id, from, .. } = request;
        match request.purpose {
            Purpose::Merge => self.flip_along(now, cx, id),
            Purpose::Direct if !self.may_link_in_bulk(cx.neighbors) => {
                self.refuse(cx.neighbors, link, id, from);
            }
            purpose => self.invite(now, id, from, purpose, None),
        }
    }

    // Exchanges.

    fn invite(
        &mut self,
        now: Now,
        id: MessageId,
        peer: PeerId,
        purpose: Purpose,
        host: Option<LinkId>,
    ) {
        self.exchanges.invite(now, id, peer, purpose, host);
        self.out.push(Output::Invite { id, peer });
    }

    /// Tells the other end of an exchange that nothing will come of it.
    fn refuse(&mut self, neighbors: &Neighbors, link: LinkId, id: MessageId, to: PeerId) {
        let refusal = refusal(neighbors, id, to);
        self.send(link, refusal);
    }

    /// A description for us, or one to be passed on along the way of its exchange.
    fn on_signal(&mut self, now: Now, cx: &mut Context<'_>, link: LinkId, signal: Signal) {
        if signal.to != cx.neighbors.me() {
            let next = self.exchanges.relay(link, &signal);
            if let Some(next) = next.filter(|next| cx.neighbors.is_up(*next)) {
                self.send(next, signal);
            }
            return;
        }
        match signal.kind {
            SignalKind::Offer => self.on_offer(now, cx.neighbors, link, signal),
            SignalKind::Answer => {
                if self.exchanges.has_invited(signal.id, signal.from) {
                    self.out.push(Output::Signal(signal));
                }
            }
            SignalKind::Refusal => {
                self.surplus.on_refused(link, signal.id);
                if self.exchanges.has_invitation(signal.id) {
                    self.out.push(Output::Withdraw(signal.id));
                    self.on_exchange_failed(now, cx, signal.id);
                }
            }
        }
    }

    fn on_offer(&mut self, now: Now, neighbors: &Neighbors, link: LinkId, signal: Signal) {
        let (id, from) = (signal.id, signal.from);
        self.exchanges.remember(now, id, None, Some(link));
        // For a flip that this neighbour has prepared, the new link takes its place.
        let host = self.flips.prepared(id, link);
        let acceptable = self.demand(neighbors).acceptable_links();
        if !self.is_stranger(neighbors, from) || acceptable == 0 {
            return self.refuse(neighbors, link, id, from);
        }
        self.exchanges.answer(now, id, from, host);
        self.out.push(Output::Signal(signal));
    }

    /// Sends our description along the way of its exchange.
    fn describe(&mut self, neighbors: &Neighbors, signal: Signal) {
        let link = self.exchanges.way(signal.id);
        if let Some(link) = link.filter(|link| neighbors.is_up(*link)) {
            self.send(link, signal);
        }
    }

    /// An exchange came to nothing: no offer could be made, or the connection failed.
    fn on_exchange_failed(&mut self, now: Now, cx: &mut Context<'_>, id: MessageId) {
        let failed = self.exchanges.fail(id);
        if let Some(host) = failed.host
            && let Some(peer) = cx.neighbors.up_peer(host)
        {
            self.refuse(cx.neighbors, host, id, peer);
        }
        if let Some(request) = failed.request {
            if let Some(peer) = request.peer {
                self.describe(cx.neighbors, refusal(cx.neighbors, id, peer));
            }
            if request.purpose == Purpose::Links {
                self.search.back_off(now, cx.rng);
            }
        }
    }

    /// A link is up: what it was for is done.
    fn on_link_up(&mut self, now: Now, cx: &mut Context<'_>, id: LinkId) {
        let Some(link) = cx.neighbors.get(id) else {
            return;
        };
        let settled = self.exchanges.settle(link.peer);
        if settled.bulk {
            self.bulk.start(now, id);
        }
        for host in &settled.replaced {
            if cx.neighbors.is_up(*host) {
                self.out.push(Output::Replaced {
                    old: *host,
                    new: id,
                });
                self.out.push(Output::Close(*host, Reason::Split));
            }
        }
        let said = link.said();
        let unneeded = self.demand(cx.neighbors).is_over_target()
            && said.links >= said.max_links
            && !link.is_v1();
        if unneeded && settled.replaced.is_empty() && !settled.bulk {
            // Neither side needs the other. They exchange neighbours, if that is what they met for, or
            // later if they turn out to be in two meshes.
            self.surplus.await_proposal(now, id);
            if link.offered && settled.asked {
                self.propose_flip(now, cx, id);
            }
        }
    }

    fn on_link_lost(&mut self, now: Now, neighbors: &Neighbors) {
        let missing = self.demand(neighbors).links_below_target();
        if missing > 1 {
            self.beacons.note_broken(now);
        }
        if missing > 0 {
            self.search.hurry(now);
            self.out.push(Output::Incomplete);
        }
    }

    // Splits and links that are too many.

    fn on_split(&mut self, now: Now, cx: &Context<'_>, link: LinkId, split: Split) {
        let Split { id, peer } = split;
        let Some(host) = cx.neighbors.up_peer(link) else {
            return;
        };
        if self.surplus.gives_up(link)
            || !self.is_stranger(cx.neighbors, peer)
            || self.exchanges.has_invitation(id)
        {
            return self.refuse(cx.neighbors, link, id, host);
        }
        self.exchanges.remember_walk(now, id, link);
        self.invite(now, id, peer, Purpose::Links, Some(link));
    }

    /// Ends what took too long, then splits edges for guests or says that there are too many links.
    fn end_late(&mut self, now: Now, cx: &mut Context<'_>) {
        for id in self.exchanges.late_invitations(now) {
            self.on_exchange_failed(now, cx, id);
        }
        if self.exchanges.end_late_requests(now) {
            self.search.back_off(now, cx.rng);
        }
        self.bulk.end_unused(now);
        self.surplus.end_late(now);
        loop {
            let max_peers = cx.neighbors.max_peers();
            let most = max_peers + self.surplus.running();
            let up = counted_up(cx.neighbors, &self.bulk);
            if up <= most {
                if up <= max_peers {
                    self.surplus.end_idle();
                }
                return;
            }
            let leaving = self.exchanges.leaving();
            let Some(hosting) = self.surplus.host(now, cx, &self.bulk, &leaving) else {
                return self.out.push(Output::TooManyLinks(most));
            };
            let (id, partner) = (hosting.id, hosting.partner);
            (self.exchanges).remember(now, id, Some(hosting.link), Some(partner));
            let peer = hosting.target;
            self.send(partner, Split { id, peer });
        }
    }

    fn look_for_links(&mut self, now: Now, cx: &mut Context<'_>) {
        self.request_links(now, cx);
        if self.flips.is_time(now, cx.rng) {
            self.start_flip(now, cx);
        }
        if self.passive.is_time(now, cx.rng) {
            self.start_shuffle(now, cx);
        }
    }

    // Flips.

    fn start_flip(&mut self, now: Now, cx: &mut Context<'_>) {
        let demand = self.demand(cx.neighbors);
        let settled = demand.links_to_request() == 0 && self.surplus.is_empty();
        if settled && demand.acceptable_links() > 0 {
            self.start_walk(now, cx, Purpose::Flip, WalkTarget::Random, 0, 0);
        }
    }

    /// Neighbours had messages and did not pass them on, because they would not or could not. Others may. If
    /// all of them are like that, nothing else would bring in one that is not.
    fn on_deprived(&mut self, now: Now, cx: &mut Context<'_>) {
        if self.flips.note_deprived(now) {
            for _ in 0..SLACK {
                self.start_flip(now, cx);
            }
        }
    }

    /// Offers a neighbour to the other side of a link that neither side needs.
    fn propose_flip(&mut self, now: Now, cx: &mut Context<'_>, link: LinkId) {
        let Some(other) = cx.neighbors.up_peer(link) else {
            return;
        };
        let leaving = self.exchanges.leaving();
        let partner = (self.surplus).partner(now, cx, link, other, &self.bulk, &leaving);
        let Some(partner) = partner else {
            return self.surplus.remove(link);
        };
        let Some(peer) = cx.neighbors.up_peer(partner) else {
            return;
        };
        let id = MessageId::new(cx.rng.random());
        self.exchanges.remember(now, id, Some(partner), Some(link));
        self.surplus.propose(now, link, id, partner);
        for (to, step, peer) in [
            (partner, FlipStep::Prepare, other),
            (link, FlipStep::Propose, peer),
        ] {
            self.send(to, Flip { id, step, peer });
        }
    }

    fn on_flip(&mut self, now: Now, cx: &Context<'_>, link: LinkId, flip: Flip) {
        let Flip { id, step, peer } = flip;
        match step {
            FlipStep::Prepare => self.flips.prepare(now, id, link),
            FlipStep::Propose => {
                if self.surplus.is_awaiting(link)
                    && self.flips.may_host(now)
                    && peer != cx.neighbors.me()
                {
                    self.flips.note_hosted(now);
                    self.surplus.host_flip(now, link, id, peer);
                } else if let Some(other) = cx.neighbors.up_peer(link) {
                    self.refuse(cx.neighbors, link, id, other);
                }
            }
        }
    }

    // Merges of two meshes.

    fn on_beacons(
        &mut self,
        now: Now,
        cx: &mut Context<'_>,
        link: LinkId,
        theirs: &[(u64, MessageId)],
    ) {
        let offered = cx.neighbors.get(link).is_some_and(|link| link.offered);
        match self.beacons.compare(now, theirs) {
            Verdict::Unknown => return,
            Verdict::Same => {
                // A link that neither side needs, made through a tracker, joins nothing. The side that made the offer
                // closes it.
                if self.surplus.is_awaiting(link) {
                    self.out.push(Output::SameMesh);
                    if offered {
                        self.out.push(Output::Close(link, Reason::Full));
                    }
                }
                return;
            }
            Verdict::Other => {}
            Verdict::Apart => self.merge(now, cx, link),
        }
        // It may join two meshes: the side that made the offer proposes a flip.
        if offered && self.surplus.is_awaiting(link) {
            self.propose_flip(now, cx, link);
        }
    }

    /// Two meshes touch along this link: random members on our side start flips across it.
    fn merge(&mut self, now: Now, cx: &mut Context<'_>, link: LinkId) {
        if !self.flips.may_merge(now) {
            return;
        }
        self.merges += 1;
        let me = cx.neighbors.me();
        for _ in 0..flip::MERGES {
            let random = WalkTarget::Random;
            let next = walk::next_hop(now, cx, &self.exchanges, random, Some(link), me);
            let Some(next) = next.filter(|next| *next != link) else {
                return;
            };
            let id = MessageId::new(cx.rng.random());
            // A walk that follows this one back goes across.
            self.exchanges.remember_walk(now, id, link);
            let request = LinkRequest {
                id,
                from: me,
                hops: 0,
                purpose: Purpose::Merge,
                missing: 0,
                target: random,
            };
            self.send(next, request);
        }
    }

    /// Starts a flip with a member on the other side of where a walk came from.
    fn flip_along(&mut self, now: Now, cx: &mut Context<'_>, walk: MessageId) {
        if self.demand(cx.neighbors).acceptable_links() > 0 {
            self.start_walk(now, cx, Purpose::Flip, WalkTarget::Along(walk), 0, 0);
        }
    }

    fn on_beacon_timeout(&mut self, now: Now, cx: &mut Context<'_>) {
        if !cx.neighbors.has_mesh_link() {
            return;
        }
        if let Some(started) = self.beacons.start_slot(now, cx.rng, self.swarm_size) {
            if started.deaf {
                self.doubt_neighbors(now, cx.neighbors);
            }
            self.out.push(Output::SlotStarted);
        }
        if self.beacons.take_turn(now) {
            self.out.push(Output::SignBeacon);
        }
    }

    /// Nothing came from anybody for minutes: the neighbours that were there all the time are let go and not
    /// taken again soon. One stays until there are others.
    fn doubt_neighbors(&mut self, now: Now, neighbors: &Neighbors) {
        let old = (neighbors.mesh_links())
            .filter(|(_, link)| link.up_since.is_some_and(|up| now >= up + beacons::DOUBTED));
        let bans = old.skip(1).map(|(id, link)| Output::Ban(id, link.peer));
        self.out.extend(bans);
    }

    // Bulk links.

    /// Asks for a link of its own to a member, unless there is one or another bulk link.
    fn request_bulk_link(&mut self, now: Now, cx: &mut Context<'_>, to: PeerId) {
        if self.may_link_in_bulk(cx.neighbors) && self.is_stranger(cx.neighbors, to) {
            self.start_walk(now, cx, Purpose::Direct, WalkTarget::To(to), 0, 1);
        }
    }

    /// One at a time: the rest of the slack is for newcomers.
    fn may_link_in_bulk(&self, neighbors: &Neighbors) -> bool {
        !self.exchanges.requests_bulk_link()
            && self.bulk.is_empty()
            && self.demand(neighbors).acceptable_links() > 0
    }

    // Shuffles.

    fn start_shuffle(&mut self, now: Now, cx: &mut Context<'_>) {
        let me = cx.neighbors.me();
        let random = WalkTarget::Random;
        let next = walk::next_hop(now, cx, &self.exchanges, random, None, me);
        let Some(next) = next else {
            return;
        };
        let id = MessageId::new(cx.rng.random());
        self.passive.start(id);
        let shuffle = Shuffle {
            id,
            from: me,
            hops: 0,
            peers: self.passive.sample(cx.neighbors, cx.rng),
        };
        self.send(next, shuffle);
    }

    fn on_shuffle(&mut self, now: Now, cx: &mut Context<'_>, link: LinkId, shuffle: Shuffle) {
        let Shuffle { id, from, .. } = shuffle;
        let me = cx.neighbors.me();
        if from == me || self.exchanges.has_path(id) {
            return;
        }
        self.exchanges.remember_walk(now, id, link);
        let hops = shuffle.hops.saturating_add(1);
        self.out.push(Output::RouteLearnt(from, link, hops));
        let random = WalkTarget::Random;
        let next = walk::next_hop(now, cx, &self.exchanges, random, Some(link), from);
        if hops < shuffle::SHUFFLE_HOPS
            && let Some(next) = next.filter(|next| *next != link)
        {
            return self.send(next, Shuffle { hops, ..shuffle });
        }
        let peers = self.passive.sample(cx.neighbors, cx.rng);
        self.passive.remember(me, cx.rng, shuffle.peers);
        self.passive.remember(me, cx.rng, [from]);
        self.send(link, ShuffleReply { id, peers });
    }

    fn on_shuffle_reply(&mut self, cx: &mut Context<'_>, reply: ShuffleReply) {
        if self.passive.take_answer(reply.id) {
            return (self.passive).remember(cx.neighbors.me(), cx.rng, reply.peers);
        }
        let back = self.exchanges.seeker(reply.id);
        if let Some(link) = back.filter(|link| cx.neighbors.is_up(*link)) {
            self.send(link, reply);
        }
    }
}

fn refusal(neighbors: &Neighbors, id: MessageId, to: PeerId) -> Signal {
    Signal {
        id,
        kind: SignalKind::Refusal,
        from: neighbors.me(),
        to,
        sdp: (*b"").into(),
    }
}
