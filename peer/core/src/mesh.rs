//! The mesh: which members we are linked to, and what is passed on to whom. A pure core. [`Input`]s and
//! the time go in through [`Mesh::handle`], [`Output`]s come out of [`Mesh::poll_output`] until there are no
//! more, and [`Mesh::poll_timeout`] says when [`Input::Timeout`] is due. There is no socket, no clock and
//! no randomness but the seeded generator. The same inputs give the same outputs.
//!
//! The driver has checked what can be checked outside: a link's peer has proven its keys before
//! [`Input::LinkAdmitted`], and a broadcast's signature fits before [`Input::Gossip`].
//!
//! The mesh is composed of four states that own their fields. This file hands them inputs and carries out
//! what they want, nothing else:
//!
//! ```text
//! neighbors   the links, from admission to their end. Read by the others
//! topology    which links we want: walks, splits, flips, shuffles, beacons
//! broadcast   broadcasts and the tree along which they travel
//! routing     direct messages and the routes along which they travel
//! ```

mod interface;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use easypeers_proto::crypto::envelope::Kind;
use easypeers_proto::wire::frame::{Chunk, Frame, Signal};
use easypeers_proto::{MessageId, PeerId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::broadcast::{self, Broadcast};
use crate::message::{Class, Signed};
use crate::neighbors::{self, Neighbors, Penalty, Stays};
use crate::routing::{self, Routing};
use crate::time::Now;
use crate::topology::{self, Topology};

pub use crate::broadcast::Unsent;
pub use crate::message::LinkId;
pub use crate::neighbors::{Goodbye, NeighborView, Reason};
pub use crate::routing::MAX_SENDS;
pub use interface::{Counters, Input, Output, Settings};

/// The states of a mesh, and what they want done.
#[derive(Debug)]
pub struct Mesh {
    neighbors: Neighbors,
    topology: Topology,
    broadcast: Broadcast,
    routing: Routing,
    /// When something is due that belongs to no link.
    due: Now,
    /// Frames that this dispatcher refused.
    rejected: u64,
    rng: StdRng,
    out: VecDeque<Output>,
}

impl Mesh {
    /// A mesh without links.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings {
            me,
            keys,
            started_ms,
            max_peers,
            rate,
            history,
            flip_interval,
            seed,
        } = settings;
        Self {
            neighbors: Neighbors::new(me, started_ms, max_peers),
            topology: Topology::new(started_ms, flip_interval),
            broadcast: Broadcast::new(started_ms, rate, history),
            routing: Routing::new(keys),
            due: Now::MAX,
            rejected: 0,
            rng: StdRng::seed_from_u64(seed),
            out: VecDeque::new(),
        }
    }

    /// Takes an input. Follow with [`poll_output`](Self::poll_output).
    pub fn handle(&mut self, now: Now, input: Input) {
        self.neighbors.note_lateness(now, self.next_due());
        // Signs of life are most of what comes to a mesh at rest. They change nothing but the time to probe again.
        let sign_of_life = matches!(
            input,
            Input::Frame {
                frame: Frame::Ping(_) | Frame::Pong(_),
                ..
            }
        );
        self.dispatch(now, input);
        if !sign_of_life {
            self.due = self.deadline();
        }
        if self.next_due() <= now {
            self.on_timeout(now);
            self.neighbors.plan();
            self.broadcast.plan_links();
            self.due = self.deadline();
        }
        debug_assert!(
            self.neighbors.due() <= self.neighbors.next_due()
                && self.broadcast.links_due() <= self.broadcast.next_link_due()
                && self.due == self.deadline(),
            "a timer would fire too late"
        );
    }

    fn dispatch(&mut self, now: Now, input: Input) {
        match input {
            Input::LinkAdmitted {
                link,
                peer,
                keys,
                offered,
                token,
            } => self.neighbors_input(
                now,
                neighbors::Input::Admitted {
                    link,
                    peer,
                    keys,
                    offered,
                    token,
                },
            ),
            Input::LinkClosed(link) => self.remove_link(now, link),
            Input::LinkSuspect(link) => self.neighbors_input(now, neighbors::Input::Suspect(link)),
            Input::SetMaxPeers(max_peers) => {
                self.neighbors_input(now, neighbors::Input::SetMaxPeers(max_peers));
            }
            Input::BrokenRule(link) => self.penalize(now, link, Penalty::BrokenRule),
            Input::Frame { link, frame } => self.on_frame(now, link, frame),
            Input::Gossip(arrival) => {
                if self.neighbors.heard(now, arrival.link) {
                    self.broadcast_input(now, broadcast::Input::Gossip(arrival));
                }
            }
            Input::Duplicate { link, id, pushed } => {
                self.neighbors.heard(now, link);
                let input = broadcast::Input::Duplicate { link, id, pushed };
                self.broadcast_input(now, input);
            }
            Input::OverRate { link, origin } => {
                self.broadcast_input(now, broadcast::Input::OverRate { link, origin });
            }
            Input::Chunk {
                link,
                message,
                index,
                data,
            } => {
                self.neighbors.heard(now, link);
                let chunk = Chunk {
                    message,
                    index,
                    data,
                };
                self.broadcast_input(now, broadcast::Input::Chunk(chunk));
            }
            Input::Publish { message, chunks } => {
                if message.kind == Kind::Beacon {
                    let me = self.neighbors.me();
                    self.topology.on_beacon(now, me, &message);
                }
                self.broadcast_input(now, broadcast::Input::Publish { message, chunks });
            }
            Input::Hints(peers) => self.topology_input(now, topology::Input::Hints(peers)),
            Input::SwarmSize(size) => self.topology.set_swarm_size(size),
            Input::Signal { id, to, kind, sdp } => {
                let from = self.neighbors.me();
                let signal = Signal {
                    id,
                    kind,
                    from,
                    to,
                    sdp,
                };
                self.topology_input(now, topology::Input::Describe(signal));
            }
            Input::ExchangeFailed(id) => {
                self.topology_input(now, topology::Input::ExchangeFailed(id));
            }
            Input::FindKeys(peer) => self.routing_input(now, routing::Input::FindKeys(peer)),
            Input::Direct(sealed) => self.routing_input(now, routing::Input::Send(sealed)),
            Input::Acknowledge { id, proof } => {
                self.routing_input(now, routing::Input::Acknowledge { id, proof });
            }
            Input::Acknowledged(id) => self.routing_input(now, routing::Input::Acknowledged(id)),
            Input::Timeout => {}
        }
    }

    fn on_frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        if !self.neighbors.heard(now, link) {
            return;
        }
        match frame {
            Frame::Neighbor(said) => {
                self.neighbors_input(now, neighbors::Input::Neighbor(link, said));
            }
            Frame::Ping(ping) => self.neighbors_input(now, neighbors::Input::Ping(link, ping)),
            Frame::Pong(pong) => self.neighbors_input(now, neighbors::Input::Pong(link, pong)),
            _ if !self.neighbors.is_up(link) => self.rejected += 1,
            Frame::LinkRequest(request) => {
                self.topology_input(now, topology::Input::LinkRequest(link, request));
            }
            Frame::Signal(signal) => {
                self.topology_input(now, topology::Input::Signal(link, signal));
            }
            Frame::Split(split) => self.topology_input(now, topology::Input::Split(link, split)),
            Frame::Flip(flip) => self.topology_input(now, topology::Input::Flip(link, flip)),
            Frame::Shuffle(shuffle) => {
                self.topology_input(now, topology::Input::Shuffle(link, shuffle));
            }
            Frame::ShuffleReply(reply) => {
                self.topology_input(now, topology::Input::ShuffleReply(reply));
            }
            Frame::Beacons(beacons) => {
                self.topology_input(now, topology::Input::Beacons(link, beacons));
            }
            Frame::IHave(have) => self.broadcast_input(now, broadcast::Input::IHave(link, have)),
            Frame::Graft(_) => self.broadcast_input(now, broadcast::Input::Graft(link)),
            Frame::Prune(_) => self.broadcast_input(now, broadcast::Input::Prune(link)),
            Frame::Digest(digest) => {
                self.broadcast_input(now, broadcast::Input::Digest(link, digest));
            }
            Frame::Pull(pull) => self.broadcast_input(now, broadcast::Input::Pull(link, pull)),
            Frame::ChunkRequest(request) => {
                self.broadcast_input(now, broadcast::Input::ChunkRequest(link, request));
            }
            Frame::Route(route) => self.routing_input(now, routing::Input::Route(link, route)),
            Frame::Ack(ack) => self.routing_input(now, routing::Input::Ack(link, ack)),
            Frame::RouteError(error) => {
                self.routing_input(now, routing::Input::RouteError(link, error));
            }
            Frame::Who(who) => self.routing_input(now, routing::Input::Who(link, who)),
            Frame::Keys(keys) => self.routing_input(now, routing::Input::Keys(link, keys)),
            // These have inputs of their own, or are for the driver.
            Frame::Auth(_)
            | Frame::Goodbye(_)
            | Frame::Gossip(_)
            | Frame::Chunk(_)
            | Frame::Unknown(_) => self.rejected += 1,
        }
    }

    fn on_timeout(&mut self, now: Now) {
        for link in self.neighbors.overdue(now) {
            self.neighbors_input(now, neighbors::Input::Overdue(link));
        }
        self.broadcast_input(now, broadcast::Input::Timeout);
        self.topology_input(now, topology::Input::BeaconTimeout);
        self.broadcast_input(now, broadcast::Input::LargeTimeout);
        self.routing_input(now, routing::Input::Timeout);
        self.topology_input(now, topology::Input::Timeout);
        self.topology_input(now, topology::Input::Search);
        self.neighbors.expire(now);
    }

    // Inputs of the states, and what they want.

    fn neighbors_input(&mut self, now: Now, input: neighbors::Input) {
        self.neighbors.handle(now, &mut self.rng, input);
        self.route_neighbors(now);
    }

    fn route_neighbors(&mut self, now: Now) {
        for output in self.neighbors.take_outputs() {
            match output {
                neighbors::Output::Send(links, frame) => self.send_control(links, frame),
                neighbors::Output::Accepted(link) => self.on_accepted(now, link),
                neighbors::Output::Close(link, reason) => self.close_link(now, link, reason),
            }
        }
    }

    fn topology_input(&mut self, now: Now, input: topology::Input) {
        let mut cx = topology::Context {
            neighbors: &self.neighbors,
            routes: self.routing.routes(),
            rng: &mut self.rng,
        };
        self.topology.handle(now, &mut cx, input);
        self.route_topology(now);
    }

    fn route_topology(&mut self, now: Now) {
        use topology::Output as Wanted;
        for output in self.topology.take_outputs() {
            match output {
                Wanted::Send(link, frame) => self.send_control(vec![link], frame),
                Wanted::Invite { id, peer } => self.out.push_back(Output::Invite { id, peer }),
                Wanted::Signal(signal) => self.out.push_back(Output::Signal(signal)),
                Wanted::Withdraw(id) => self.out.push_back(Output::Withdraw(id)),
                Wanted::SameMesh => self.out.push_back(Output::SameMesh),
                Wanted::SignBeacon => self.out.push_back(Output::Beacon),
                Wanted::SlotStarted => self.expire(now),
                Wanted::Replaced { old, new } => {
                    self.broadcast_input(now, broadcast::Input::Replaced { old, new });
                }
                Wanted::Close(link, reason) => self.close_link(now, link, Some(reason)),
                Wanted::Ban(link, peer) => {
                    self.neighbors.ban(now, peer);
                    self.close_link(now, link, Some(Reason::Protocol));
                }
                Wanted::TooManyLinks(most) => self.let_links_go(now, most),
                Wanted::Incomplete => self.broadcast_input(now, broadcast::Input::Incomplete),
                Wanted::RouteLearnt(peer, link, hops) => {
                    (self.routing).learn_route(now, &self.neighbors, peer, link, hops);
                }
            }
        }
    }

    fn let_links_go(&mut self, now: Now, most: usize) {
        while let Some(link) = self.topology.let_go(now, &self.neighbors, most) {
            self.route_topology(now);
            self.close_link(now, link, Some(Reason::Full));
        }
    }

    fn broadcast_input(&mut self, now: Now, input: broadcast::Input) {
        self.broadcast.handle(now, &self.neighbors, input);
        for output in self.broadcast.take_outputs() {
            self.route_broadcast(now, output);
        }
    }

    fn route_broadcast(&mut self, now: Now, output: broadcast::Output) {
        use broadcast::Output as Wanted;
        let output = match output {
            Wanted::Send {
                links,
                frame,
                class,
            } => Output::Send {
                links,
                frame,
                class,
            },
            Wanted::SendGossip {
                links,
                hops,
                pushed,
                has,
                message,
                class,
            } => Output::SendGossip {
                links,
                hops,
                pushed,
                has,
                message,
                class,
            },
            Wanted::Deliver { message, hops } => Output::Deliver { message, hops },
            Wanted::DeliverLarge {
                message,
                hops,
                data,
            } => Output::DeliverLarge {
                message,
                hops,
                data,
            },
            Wanted::Published(message) => Output::Published(message),
            Wanted::NotPublished { id, why } => Output::NotPublished { id, why },
            Wanted::Beacon(passing) => return self.on_beacon(now, passing),
            Wanted::AuthorSeen {
                message,
                link,
                hops,
            } => {
                let author = message.origin;
                (self.routing).learn_route(now, &self.neighbors, author, link, hops);
                return self.routing.learn_keys(now, author, message.keys);
            }
            Wanted::Penalize(link, penalty) => return self.penalize(now, link, penalty),
            Wanted::Deprived => return self.topology_input(now, topology::Input::Deprived),
        };
        self.out.push_back(output);
    }

    fn on_beacon(&mut self, now: Now, passing: Box<broadcast::Passing>) {
        let me = self.neighbors.me();
        match self.topology.on_beacon(now, me, passing.message()) {
            Some(true) => self.broadcast_input(now, broadcast::Input::PassOn(passing)),
            Some(false) => {}
            None => self.penalize(now, passing.link(), Penalty::BrokenRule),
        }
    }

    fn routing_input(&mut self, now: Now, input: routing::Input) {
        use routing::Output as Wanted;
        let mut cx = routing::Context {
            neighbors: &self.neighbors,
            rng: &mut self.rng,
        };
        self.routing.handle(now, &mut cx, input);
        for output in self.routing.take_outputs() {
            match output {
                Wanted::Send(links, frame) => self.send_control(links, frame),
                Wanted::Keys { peer, keys } => self.out.push_back(Output::Keys { peer, keys }),
                Wanted::Open { sealed, hops } => self.out.push_back(Output::Open { sealed, hops }),
                Wanted::CheckAck { id, proof, hops } => {
                    self.out.push_back(Output::CheckAck { id, proof, hops });
                }
                Wanted::Undelivered { id, reachable } => {
                    self.out.push_back(Output::Undelivered { id, reachable });
                }
                Wanted::Used(link, peer) => {
                    self.topology_input(now, topology::Input::Used(link, peer));
                }
                Wanted::Bulk(peer) => self.topology_input(now, topology::Input::Bulk(peer)),
            }
        }
    }

    // Links that come and go.

    /// Both sides have accepted a link: it counts, unless another one to the same peer stays.
    fn on_accepted(&mut self, now: Now, id: LinkId) {
        let Some(peer) = self.neighbors.get(id).map(|link| link.peer) else {
            return;
        };
        let connected = match self.neighbors.rival(id) {
            None => true,
            Some((_, Stays::Old)) => return self.close_link(now, id, Some(Reason::Duplicate)),
            Some((old, stays)) => {
                self.leave_tree(now, old);
                self.neighbors.remove(old);
                self.forget_link(old);
                let goodbye = Some(self.neighbors.goodbye(Reason::Duplicate));
                self.out.push_back(Output::Close { link: old, goodbye });
                // To the application it is the same neighbour, unless that has restarted.
                let restarted = stays == Stays::Restarted;
                if restarted {
                    self.out.push_back(Output::Disconnect(peer));
                }
                restarted
            }
        };
        self.neighbors.raise(now, id);
        if connected {
            self.out.push_back(Output::Connect(peer));
        }
        self.broadcast_input(now, broadcast::Input::LinkUp(id));
        self.topology_input(now, topology::Input::LinkUp(id));
        self.topology_input(now, topology::Input::LinkSettled);
        // The new neighbour was told before its link counted.
        self.tell_links(now);
        if self.neighbors.get(id).is_some_and(|link| !link.is_v1()) {
            self.broadcast_input(now, broadcast::Input::Compare(id));
            if let Some(beacons) = self.topology.beacons() {
                self.send_control(vec![id], beacons.into());
            }
            self.neighbors.probe(now, &mut self.rng, id);
            self.route_neighbors(now);
        }
        self.broadcast_input(now, broadcast::Input::Flush);
        self.routing_input(now, routing::Input::LinkUp);
    }

    fn close_link(&mut self, now: Now, link: LinkId, reason: Option<Reason>) {
        let goodbye = reason.map(|reason| self.neighbors.goodbye(reason));
        self.out.push_back(Output::Close { link, goodbye });
        self.remove_link(now, link);
    }

    fn remove_link(&mut self, now: Now, id: LinkId) {
        self.leave_tree(now, id);
        let Some(link) = self.neighbors.remove(id) else {
            return;
        };
        self.forget_link(id);
        if let Some(keys) = link.keys {
            self.routing.learn_keys(now, link.peer, keys);
        }
        if link.up_since.is_some() {
            self.topology_input(now, topology::Input::LinkLost);
            self.out.push_back(Output::Disconnect(link.peer));
            self.tell_links(now);
        }
    }

    fn leave_tree(&mut self, now: Now, link: LinkId) {
        let heir = self.topology.heir(link);
        self.broadcast_input(now, broadcast::Input::LinkLeaving { link, heir });
    }

    fn forget_link(&mut self, link: LinkId) {
        self.broadcast.forget_link(link);
        self.topology.forget_link(link);
    }

    fn tell_links(&mut self, now: Now) {
        self.neighbors.tell_links();
        self.route_neighbors(now);
    }

    fn penalize(&mut self, now: Now, link: LinkId, penalty: Penalty) {
        if self.neighbors.penalize(now, link, penalty) {
            self.close_link(now, link, Some(Reason::Protocol));
        }
    }

    fn send_control(&mut self, links: Vec<LinkId>, frame: Frame) {
        self.out.push_back(Output::Send {
            links,
            frame,
            class: Class::Control,
        });
    }

    /// Once a minute: forgets what is too old, even where nothing new comes.
    fn expire(&mut self, now: Now) {
        self.topology.expire(now);
        self.broadcast.expire(now);
        self.neighbors.expire(now);
        self.routing.expire(now);
    }

    // What the driver asks.

    /// The next thing to be done or known.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.out.pop_front();
        if output.is_none() {
            // An idle peer keeps no memory for the next burst.
            self.out = VecDeque::new();
        }
        output
    }

    /// When [`Input::Timeout`] is due, at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        let due = self.next_due();
        (due < Now::MAX).then_some(due)
    }

    fn next_due(&self) -> Now {
        let links = self.neighbors.due().min(self.broadcast.links_due());
        links.min(self.due)
    }

    fn deadline(&self) -> Now {
        [
            self.broadcast.deadline(&self.neighbors),
            self.routing.deadline(),
            self.topology.deadline(&self.neighbors),
        ]
        .into_iter()
        .flatten()
        .fold(Now::MAX, Now::min)
    }

    /// Counts since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let broadcast = self.broadcast.counters();
        Counters {
            links_opened: self.neighbors.opened(),
            delivered: broadcast.delivered,
            forwarded: broadcast.forwarded + self.routing.forwarded(),
            duplicates: broadcast.duplicates,
            rejected: self.rejected + broadcast.rejected + self.routing.rejected(),
            merges: self.topology.merges(),
        }
    }

    /// Links that we want.
    #[must_use]
    pub const fn max_peers(&self) -> usize {
        self.neighbors.max_peers()
    }

    /// Peers in the swarm as a tracker counts them. 0 if none has told.
    #[must_use]
    pub const fn swarm_size(&self) -> usize {
        self.topology.swarm_size()
    }

    /// Links that are worth an offer to strangers.
    #[must_use]
    pub fn offers_to_publish(&self) -> usize {
        self.topology.offers_to_publish(&self.neighbors)
    }

    /// Links that could be accepted now, those above the target included.
    #[must_use]
    pub fn acceptable_links(&self) -> usize {
        self.topology.acceptable_links(&self.neighbors)
    }

    /// The neighbours whose links are up.
    pub fn neighbors(&self) -> impl Iterator<Item = NeighborView> {
        self.neighbors.view()
    }

    /// Whether there is a link to this peer, up or being accepted.
    #[must_use]
    pub fn is_neighbor(&self, peer: PeerId) -> bool {
        self.neighbors.has(peer)
    }

    /// Whether this peer is not taken as a neighbour, because it broke the rules.
    #[must_use]
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.neighbors.is_banned(peer)
    }

    /// The peer at the other end of a link that is up.
    #[must_use]
    pub fn up_peer(&self, link: LinkId) -> Option<PeerId> {
        self.neighbors.up_peer(link)
    }

    /// Whether a broadcast has been here: its signature need not be checked again.
    #[must_use]
    pub fn knows(&self, id: &MessageId) -> bool {
        self.broadcast.knows(id)
    }

    /// Whether a broadcast is within its author's rate. Asked before its signature is checked.
    #[must_use]
    pub fn is_within_rate(&self, now: Now, origin: PeerId) -> bool {
        self.broadcast.is_within_rate(now, origin)
    }

    /// The manifest of a large broadcast that is under way, to check its pieces with.
    #[must_use]
    pub fn manifest(&self, id: &MessageId) -> Option<&Arc<Signed>> {
        self.broadcast.manifest(id)
    }
}
