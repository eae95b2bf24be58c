//! A whole mesh of cores in virtual time, with links as queues. Every random choice comes from a seed that is
//! printed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::Identity;
use easypeers_proto::crypto::envelope::{Content, Kind};
use easypeers_proto::wire::frame::{Frame, SignalKind};
use easypeers_proto::{MessageId, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::broadcast;
use crate::mesh::{Input, LinkId, Mesh, Output, Settings};
use crate::message::Signed;
use crate::time::Now;

pub(super) const STARTED_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) mesh: Mesh,
    pub(super) me: PeerId,
    pub(super) identity: Identity,
    pub(super) events: Vec<Output>,
}

impl Node {
    /// The link towards a member.
    pub(super) fn way(&self, now: Now, to: PeerId) -> Option<LinkId> {
        let routes = self.mesh.routing.routes();
        routes.way(now, &self.mesh.neighbors, to, None)
    }

    /// All links that are up.
    pub(super) fn links(&self) -> Vec<LinkId> {
        let links = self.mesh.neighbors.up_links();
        links.map(|(id, _)| id).collect()
    }
}

/// What reaches a node at a time.
#[derive(Debug)]
pub(super) enum Arrival {
    Frame(LinkId, Frame),
    Gossip(broadcast::Arrival),
    Closed(LinkId),
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) max_peers: usize,
    /// The two ends of each link.
    pub(super) ends: BTreeMap<LinkId, [usize; 2]>,
    /// Links whose frames get lost, as with a silently dead neighbour.
    pub(super) dead: Vec<LinkId>,
    pub(super) queue: BinaryHeap<Reverse<(Now, u64, usize)>>,
    pub(super) arrivals: BTreeMap<u64, Arrival>,
    pub(super) now: Now,
    pub(super) serial: u64,
    pub(super) rng: StdRng,
    pub(super) copies: u64,
    /// Frames of direct messages that went to all neighbours.
    pub(super) flooded: u64,
}

impl World {
    pub(super) fn new(count: usize, max_peers: usize, seed: u64) -> Self {
        println!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..count)
            .map(|_| {
                let identity = Identity::from_seed(&rng.random());
                let me = identity.address();
                let mesh = Mesh::new(Settings {
                    me,
                    keys: *identity.public(),
                    started_ms: STARTED_MS,
                    max_peers,
                    rate: crate::rate::AUTHOR_RATE,
                    history: Duration::ZERO,
                    flip_interval: Duration::from_secs(300),
                    seed: rng.random(),
                });
                Node {
                    mesh,
                    me,
                    identity,
                    events: Vec::new(),
                }
            })
            .collect();
        Self {
            nodes,
            max_peers,
            ends: BTreeMap::new(),
            dead: Vec::new(),
            queue: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            now: Duration::ZERO,
            serial: 0,
            rng,
            copies: 0,
            flooded: 0,
        }
    }

    /// A link that both ends have proven; `a` made the offer.
    pub(super) fn link(&mut self, a: usize, b: usize) -> LinkId {
        self.serial += 1;
        let id = LinkId(self.serial);
        self.ends.insert(id, [a, b]);
        let token = self.rng.random();
        for (at, other, offered) in [(a, b, true), (b, a, false)] {
            let peer = self.nodes[other].me;
            let keys = Some(*self.nodes[other].identity.public());
            let input = Input::LinkAdmitted {
                link: id,
                peer,
                keys,
                offered,
                token,
            };
            self.input(at, input);
        }
        id
    }

    pub(super) fn input(&mut self, at: usize, input: Input) {
        self.nodes[at].mesh.handle(self.now, input);
        while let Some(output) = self.nodes[at].mesh.poll_output() {
            self.output(at, output);
        }
    }

    pub(super) fn output(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { links, frame, .. } => {
                for link in links {
                    self.arrive(at, link, Arrival::Frame(link, frame.clone()));
                }
            }
            Output::SendGossip {
                links,
                hops,
                pushed,
                has,
                message,
                ..
            } => {
                for link in links {
                    let arrival = broadcast::Arrival {
                        link,
                        hops,
                        pushed,
                        has: has.clone(),
                        message: Arc::clone(&message),
                    };
                    self.arrive(at, link, Arrival::Gossip(arrival));
                }
            }
            Output::Close { link, goodbye } => {
                self.arrive(at, link, Arrival::Closed(link));
                self.nodes[at].events.push(Output::Close { link, goodbye });
            }
            Output::Open { ref sealed, .. } => {
                let id = sealed.id;
                self.nodes[at].events.push(output);
                self.input(at, Input::Acknowledge { id, proof: [7; 16] });
            }
            Output::CheckAck { id, .. } => {
                self.nodes[at].events.push(output);
                self.input(at, Input::Acknowledged(id));
            }
            // Descriptions are empty, connections come at once.
            Output::Invite { id, peer } => self.signal(at, id, peer, SignalKind::Offer),
            Output::Signal(signal) if signal.kind == SignalKind::Offer => {
                self.signal(at, signal.id, signal.from, SignalKind::Answer);
                let from = self.nodes.iter().position(|node| node.me == signal.from);
                self.link(from.unwrap(), at);
            }
            Output::Beacon => {
                let message = self.message(at, Kind::Beacon, b"");
                let chunks = Vec::new();
                self.input(at, Input::Publish { message, chunks });
            }
            output => self.nodes[at].events.push(output),
        }
    }

    pub(super) fn signal(&mut self, at: usize, id: MessageId, to: PeerId, kind: SignalKind) {
        let sdp = Arc::default();
        self.input(at, Input::Signal { id, to, kind, sdp });
    }

    pub(super) fn arrive(&mut self, from: usize, link: LinkId, arrival: Arrival) {
        let Some(ends) = self.ends.get(&link) else {
            return;
        };
        if self.dead.contains(&link) {
            return;
        }
        let to = if ends[0] == from { ends[1] } else { ends[0] };
        self.serial += 1;
        // The latency of a link never changes: it keeps the order.
        let latency = Duration::from_millis(10 + link.0 * 7 % 90);
        self.queue
            .push(Reverse((self.now + latency, self.serial, to)));
        self.arrivals.insert(self.serial, arrival);
    }

    pub(super) fn deliver(&mut self, at: usize, arrival: Arrival) {
        match arrival {
            Arrival::Closed(link) => self.input(at, Input::LinkClosed(link)),
            Arrival::Gossip(arrival) => {
                self.copies += 1;
                let id = arrival.message.id;
                let input = if self.nodes[at].mesh.knows(&id) {
                    let broadcast::Arrival { link, pushed, .. } = arrival;
                    Input::Duplicate { link, id, pushed }
                } else {
                    Input::Gossip(arrival)
                };
                self.input(at, input);
            }
            Arrival::Frame(link, Frame::Chunk(chunk)) => {
                let input = Input::Chunk {
                    link,
                    message: chunk.message,
                    index: chunk.index,
                    data: chunk.data,
                };
                self.input(at, input);
            }
            Arrival::Frame(link, frame) => {
                let all = match &frame {
                    Frame::Who(_) => true,
                    Frame::Route(route) => route.flood,
                    _ => false,
                };
                self.flooded += u64::from(all);
                self.input(at, Input::Frame { link, frame });
            }
        }
    }

    /// Runs until so much time has passed.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timers = self.nodes.iter().enumerate();
            let timer = timers
                .filter_map(|(at, node)| Some((node.mesh.poll_timeout()?.max(self.now), at)))
                .min();
            let arrival = self.queue.peek().map(|Reverse((at, ..))| *at);
            let next = arrival.into_iter().chain(timer.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = next;
            if arrival == Some(next) {
                if let Some(Reverse((_, serial, to))) = self.queue.pop()
                    && let Some(arrival) = self.arrivals.remove(&serial)
                {
                    self.deliver(to, arrival);
                }
            } else if let Some((_, at)) = timer {
                self.input(at, Input::Timeout);
            }
            self.check();
        }
        self.now = end;
    }

    /// What must hold at every step.
    pub(super) fn check(&self) {
        for node in &self.nodes {
            let links = node.mesh.neighbors().count();
            let most = self.max_peers + crate::neighbors::SLACK;
            assert!(links <= most, "more links than are allowed");
        }
    }

    pub(super) fn message(&mut self, from: usize, kind: Kind, payload: &[u8]) -> Arc<Signed> {
        let node = &self.nodes[from];
        self.serial += 1;
        Arc::new(Signed {
            id: MessageId::new(self.rng.random()),
            origin: node.me,
            keys: *node.identity.public(),
            kind,
            content: Content::Binary,
            epoch: STARTED_MS,
            sequence: self.serial,
            time_ms: STARTED_MS + u64::try_from(self.now.as_millis()).unwrap(),
            bytes: payload.into(),
            payload: 0..payload.len(),
        })
    }

    pub(super) fn publish(&mut self, from: usize) -> MessageId {
        let message = self.message(from, Kind::Broadcast, b"hello");
        let id = message.id;
        let chunks = Vec::new();
        self.input(from, Input::Publish { message, chunks });
        id
    }

    pub(super) fn delivered(&self, at: usize, id: MessageId) -> usize {
        let events = self.nodes[at].events.iter();
        events
            .filter(|event| matches!(event, Output::Deliver { message, .. } if message.id == id))
            .count()
    }

    pub(super) fn degree(&self, at: usize) -> usize {
        self.nodes[at].mesh.neighbors().count()
    }

    /// A ring with random chords: connected, degrees near `degree`.
    pub(super) fn connect_randomly(&mut self, degree: usize) {
        let count = self.nodes.len();
        for at in 0..count {
            self.link(at, (at + 1) % count);
        }
        for _ in 0..count * (degree - 2) / 2 {
            let (a, b) = (
                self.rng.random_range(0..count),
                self.rng.random_range(0..count),
            );
            if a != b && self.degree(a) < degree && self.degree(b) < degree {
                self.link(a, b);
                self.run(Duration::from_millis(200));
            }
        }
        self.run(Duration::from_secs(1));
    }
}
