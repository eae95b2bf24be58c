//! The mesh: who our neighbours are and what is passed on to whom. A pure core: [`Input`]s and the
//! time go in by [`Mesh::handle`], [`Output`]s come out of [`Mesh::poll_output`] until there are
//! none, and [`Mesh::poll_timeout`] says when [`Input::Timeout`] is due. No socket, no clock, no
//! randomness but the seeded generator it is given; the same inputs give the same outputs.
//!
//! Its driver has checked what can be checked outside: a link's peer has proven its keys before
//! [`Input::LinkAdmitted`], a broadcast's signature fits before [`Input::Gossip`].
//!
//! Invariants: a link counts only after both sides accepted it; never more than `max_peers` links and
//! two more are accepted; a message is given to the application once and never sent to a neighbour
//! that is known to have it; every map is bounded.
//!
//! - `interface`: what goes in and comes out.
//! - `membership`: finding links over the mesh, taking newcomers in, exchanging neighbours.
//! - `links`: accepting, counting, probing and closing links.
//! - `gossip`: broadcasts, those of ours that wait included.
//! - `tree`: who is sent larger broadcasts and who only hears of them.
//! - `digest`: neighbours compare what they have; `cache` is what they have.
//! - `beacon`: signs of life of the mesh as a whole.
//! - `rates`: how much an author may say; reputation of neighbours.
//! - `chunks`: broadcasts too large for one message.
//! - `direct`: keys, routes, sealed messages and their acknowledgements.

mod beacon;
mod cache;
mod chunks;
mod digest;
mod direct;
pub mod gossip;
mod interface;
mod links;
mod membership;
pub mod message;
mod rates;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::VecDeque;
use std::time::Duration;

use easypeers_proto::wire::frame::{self, Frame, Neighbor};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::map::Map;

use beacon::Beacons;
use chunks::Chunks;
use direct::Direct;
use gossip::Gossip;
use links::Link;
use membership::Membership;
use message::Class;
use rates::Rates;
use tree::Tree;

pub use crate::rate::{AUTHOR_RATE, Rate};
pub use crate::time::Now;
pub use direct::MAX_SENDS;
pub use interface::{Counters, Goodbye, Input, Output, Reason, Settings, Unsent};
pub use links::NeighborView;

/// Between two exchanges of neighbours that a page in a browser starts, on average: it may not afford many
/// connections.
pub const BROWSER_FLIP_INTERVAL: Duration = Duration::from_secs(7200);

/// A link, as its driver numbers it. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Most links that a frame may go along. Messages take the fastest ways, not the shortest: with
/// 100,000 members, twenty links and more, and along a tree half as many again.
pub const HOP_LIMIT: u8 = 64;

/// The core.
#[derive(Debug)]
pub struct Mesh {
    settings: Settings,
    links: Map<LinkId, Link>,
    /// When a link wants something done; earlier only when it wants that no more.
    links_due: Now,
    membership: Membership,
    gossip: Gossip,
    tree: Tree,
    beacons: Beacons,
    rates: Rates,
    chunks: Chunks,
    direct: Direct,
    /// Peers in the swarm by a tracker's count; 0 if none told.
    swarm_size: usize,
    /// How late a timer of ours was, and when.
    late: (Duration, Now),
    /// When something else is due.
    others_due: Now,
    counters: Counters,
    rng: StdRng,
    out: VecDeque<Output>,
}

impl Mesh {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            links: Map::default(),
            links_due: Now::MAX,
            membership: Membership::new(),
            gossip: Gossip::new(&settings),
            tree: Tree::default(),
            beacons: Beacons::default(),
            rates: Rates::new(),
            chunks: Chunks::new(),
            direct: Direct::new(),
            swarm_size: 0,
            late: (Duration::ZERO, Now::ZERO),
            others_due: Now::MAX,
            counters: Counters::default(),
            rng: StdRng::seed_from_u64(settings.seed),
            out: VecDeque::new(),
        }
    }

    /// Takes an input. Follow with [`poll_output`](Self::poll_output).
    pub fn handle(&mut self, now: Now, input: Input) {
        self.note_lateness(now, self.due());
        // Most of what comes to a mesh at rest. Nothing but the time to ask again changes.
        let sign_of_life = matches!(
            input,
            Input::Frame {
                frame: Frame::Ping(_) | Frame::Pong(_),
                ..
            }
        );
        match input {
            Input::LinkAdmitted {
                link,
                peer,
                keys,
                offered,
                token,
            } => self.on_admitted(now, link, Link::new(now, peer, keys, offered, token)),
            Input::LinkClosed(link) => self.remove_link(now, link),
            Input::LinkSuspect(link) => self.on_suspect(now, link),
            Input::Frame { link, frame } => self.handle_frame(now, link, frame),
            Input::Gossip(arrival) => self.on_gossip(now, arrival),
            Input::Duplicate { link, id, pushed } => self.on_duplicate(now, link, id, pushed),
            Input::Excess { link, origin } => self.on_excess(now, link, origin),
            Input::Fault(link) => self.penalize(now, link, rates::FAULT),
            Input::Hints(peers) => self.remember_peers(peers),
            Input::SwarmSize(size) => self.swarm_size = size,
            Input::Chunk {
                link,
                message,
                index,
                data,
            } => self.on_chunk(now, link, message, index, data),
            Input::Publish { message, chunks } => self.on_publish(now, message, chunks),
            Input::FindKeys(peer) => self.on_find_keys(now, peer),
            Input::Direct(sealed) => self.on_direct(now, sealed),
            Input::Acknowledge { id, proof } => self.on_acknowledge(now, id, proof),
            Input::Acknowledged(id) => self.direct.on_acknowledged(id),
            Input::Signal { id, to, kind, sdp } => self.send_signal(id, to, kind, sdp),
            Input::ExchangeFailed(id) => self.on_exchange_failed(now, id),
            Input::SetMaxPeers(max_peers) => self.on_max_peers(max_peers),
            Input::Timeout => {}
        }
        if !sign_of_life {
            self.others_due = self.next_due();
        }
        if self.due() <= now {
            self.on_time(now);
            self.links_due = self.next_link_due();
            self.others_due = self.next_due();
        }
        debug_assert!(
            self.links_due <= self.next_link_due() && self.others_due == self.next_due(),
            "something waits in vain"
        );
    }

    fn handle_frame(&mut self, now: Now, link: LinkId, frame: Frame) {
        let Some(state) = self.links.get_mut(&link) else {
            return;
        };
        state.heard(now);
        match frame {
            Frame::Neighbor(neighbor) => self.on_neighbor(now, link, neighbor),
            Frame::Ping(ping) => self.on_ping(now, link, ping),
            Frame::Pong(pong) => self.on_pong(now, link, pong),
            _ if !self.is_up(link) => self.counters.rejected += 1,
            Frame::LinkRequest(request) => self.on_need(now, link, request),
            Frame::Signal(signal) => self.on_signal(now, link, signal),
            Frame::Split(frame::Split { id, peer }) => self.on_split(now, link, id, peer),
            Frame::Shuffle(frame::Shuffle {
                id,
                from,
                hops,
                peers,
            }) => self.on_shuffle(now, link, id, from, hops, peers),
            Frame::ShuffleReply(frame::ShuffleReply { id, peers }) => {
                self.on_shuffle_reply(id, peers);
            }
            Frame::Flip(frame::Flip { id, step, peer }) => self.on_flip(now, link, id, step, peer),
            Frame::IHave(frame::IHave { ids, pull }) => self.on_i_have(now, link, ids, pull),
            Frame::Graft(_) => self.set_eager(link, true),
            Frame::Prune(_) => self.set_eager(link, false),
            Frame::Digest(digest) => self.on_digest(now, link, digest),
            Frame::Pull(pull) => self.on_pull(link, &pull.ids),
            Frame::Beacons(beacons) => self.on_marks(now, link, &beacons.beacons),
            Frame::ChunkRequest(request) => {
                self.on_chunk_request(link, request.message, &request.indices);
            }
            Frame::Route(frame::Route {
                hops,
                hop_limit,
                flood,
                sealed,
            }) => self.on_route(now, link, hops, hop_limit, flood, sealed),
            Frame::Ack(ack) => self.on_ack(now, link, ack),
            Frame::RouteError(frame::RouteError { id, from }) => {
                self.on_route_error(now, link, id, from);
            }
            Frame::Who(frame::Who {
                id,
                to,
                hops,
                hop_limit,
            }) => self.on_who(now, link, id, to, hops, hop_limit),
            Frame::Keys(frame::Keys { id, keys, hops }) => self.on_keys(now, link, id, keys, hops),
            // The first two have inputs of their own, after their checks. The driver takes the others.
            Frame::Gossip(_)
            | Frame::Chunk(_)
            | Frame::Auth(_)
            | Frame::Goodbye(_)
            | Frame::Unknown(_) => self.counters.rejected += 1,
        }
    }

    fn on_time(&mut self, now: Now) {
        self.probe_links(now);
        self.flush_pending(now);
        self.tend_tree(now);
        self.tend_digests(now);
        self.tend_beacons(now);
        self.retry_chunks(now);
        self.retry_direct(now);
        self.tend(now);
        self.expire_bans(now);
    }

    /// The next thing to be done or known.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.out.pop_front();
        if output.is_none() {
            // An idle peer keeps nothing for the next burst.
            self.out = VecDeque::new();
        }
        output
    }

    /// Once a minute: what is too old goes, even where nothing new comes.
    fn expire(&mut self, now: Now) {
        self.membership.expire(now);
        self.gossip.expire(now);
        self.rates.expire(now);
        self.direct.expire(now);
    }

    /// When [`Input::Timeout`] is due, at the latest.
    pub fn poll_timeout(&self) -> Option<Now> {
        let due = self.due();
        (due < Now::MAX).then_some(due)
    }

    fn due(&self) -> Now {
        self.links_due.min(self.others_due)
    }

    fn next_due(&self) -> Now {
        [
            self.gossip_deadline(),
            self.tree.deadline(),
            self.beacon_deadline(),
            self.chunks.deadline(),
            self.direct.deadline(),
            self.membership_deadline(),
        ]
        .into_iter()
        .flatten()
        .fold(Now::MAX, Now::min)
    }

    fn next_link_due(&self) -> Now {
        let deadlines = self.links.values().map(Link::deadline);
        deadlines.fold(Now::MAX, Now::min)
    }

    /// What is to be done for a link has changed.
    fn wake_for(&mut self, link: LinkId) {
        if let Some(link) = self.links.get(&link) {
            self.links_due = self.links_due.min(link.deadline());
        }
    }

    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    pub const fn max_peers(&self) -> usize {
        self.settings.max_peers
    }

    pub const fn swarm_size(&self) -> usize {
        self.swarm_size
    }

    /// Milliseconds since 1970.
    fn wall_ms(&self, now: Now) -> u64 {
        let passed = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        self.settings.started_ms.saturating_add(passed)
    }

    fn send(&mut self, links: Vec<LinkId>, frame: impl Into<Frame>, class: Class) {
        if !links.is_empty() {
            self.out.push_back(Output::Send {
                links,
                frame: frame.into(),
                class,
            });
        }
    }

    fn send_control(&mut self, link: LinkId, frame: impl Into<Frame>) {
        self.send(vec![link], frame, Class::Control);
    }

    fn neighbor(&self) -> Neighbor {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Neighbor {
            epoch: self.settings.started_ms,
            links: count(self.up_links().count()),
            max_links: count(self.settings.max_peers),
        }
    }
}
