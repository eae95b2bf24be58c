//! Whole meshes of cores in virtual time, with links as queues. Every random choice comes from a
//! seed that is printed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use shared::crypto::Identity;
use shared::crypto::envelope::{Content, Kind};
use shared::crypto::manifest::{CHUNK, Manifest};
use shared::wire::frame::{Pushed, SignalKind};
use shared::{MessageId, PeerId};

use super::message::{Packet, Sealed, Signed};
use super::{Input, LinkId, Mesh, Now, Output, Reason, Settings};

const STARTED_MS: u64 = 1_700_000_000_000;

#[derive(Debug)]
struct Node {
    mesh: Mesh,
    me: PeerId,
    identity: Identity,
    events: Vec<Output>,
}

/// What reaches a node at a time.
#[derive(Debug)]
enum Arrival {
    Packet(LinkId, Packet),
    Closed(LinkId),
}

#[derive(Debug)]
struct World {
    nodes: Vec<Node>,
    max_peers: usize,
    /// The two ends of each link.
    ends: BTreeMap<LinkId, [usize; 2]>,
    /// Links whose packets get lost, as with a silently dead neighbour.
    dead: Vec<LinkId>,
    queue: BinaryHeap<Reverse<(Now, u64, usize)>>,
    arrivals: BTreeMap<u64, Arrival>,
    now: Now,
    serial: u64,
    rng: StdRng,
    copies: u64,
}

impl World {
    fn new(count: usize, max_peers: usize, seed: u64) -> Self {
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
                    rate: super::Rate::new(20.0, 100.0),
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
        }
    }

    /// A link that both ends have proven; `a` made the offer.
    fn link(&mut self, a: usize, b: usize) -> LinkId {
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

    fn input(&mut self, at: usize, input: Input) {
        self.nodes[at].mesh.handle(self.now, input);
        while let Some(output) = self.nodes[at].mesh.poll_output() {
            self.output(at, output);
        }
    }

    fn output(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { links, packet, .. } => {
                for link in links {
                    self.arrive(at, link, Arrival::Packet(link, packet.clone()));
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

    fn signal(&mut self, at: usize, id: MessageId, to: PeerId, kind: SignalKind) {
        let sdp = "".into();
        self.input(at, Input::Signal { id, to, kind, sdp });
    }

    fn arrive(&mut self, from: usize, link: LinkId, arrival: Arrival) {
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

    fn deliver(&mut self, at: usize, arrival: Arrival) {
        match arrival {
            Arrival::Closed(link) => self.input(at, Input::LinkClosed(link)),
            Arrival::Packet(
                link,
                Packet::Gossip {
                    hops,
                    pushed,
                    has,
                    message,
                },
            ) => {
                self.copies += 1;
                let id = message.id;
                let input = if self.nodes[at].mesh.knows(&id) {
                    Input::Duplicate { link, id, pushed }
                } else {
                    Input::Gossip(super::gossip::Arrival {
                        link,
                        hops,
                        pushed,
                        has,
                        message,
                    })
                };
                self.input(at, input);
            }
            Arrival::Packet(
                link,
                Packet::Chunk {
                    message,
                    index,
                    data,
                },
            ) => {
                let input = Input::Chunk {
                    link,
                    message,
                    index,
                    data,
                };
                self.input(at, input);
            }
            Arrival::Packet(link, packet) => self.input(at, Input::Packet { link, packet }),
        }
    }

    /// Runs until so much time has passed.
    fn run(&mut self, time: Duration) {
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
    fn check(&self) {
        for node in &self.nodes {
            let links = node.mesh.neighbors().count();
            let most = self.max_peers + super::membership::SLACK;
            assert!(links <= most, "more links than are allowed");
        }
    }

    fn message(&mut self, from: usize, kind: Kind, payload: &[u8]) -> Arc<Signed> {
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

    fn publish(&mut self, from: usize) -> MessageId {
        let message = self.message(from, Kind::Broadcast, b"hello");
        let id = message.id;
        let chunks = Vec::new();
        self.input(from, Input::Publish { message, chunks });
        id
    }

    fn delivered(&self, at: usize, id: MessageId) -> usize {
        let events = self.nodes[at].events.iter();
        events
            .filter(|event| matches!(event, Output::Deliver { message, .. } if message.id == id))
            .count()
    }

    fn degree(&self, at: usize) -> usize {
        self.nodes[at].mesh.neighbors().count()
    }

    /// A ring with random chords: connected, degrees near `degree`.
    fn connect_randomly(&mut self, degree: usize) {
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

#[test]
fn a_broadcast_reaches_everybody_once() {
    let mut world = World::new(60, 6, 11);
    world.connect_randomly(6);
    world.copies = 0;
    let id = world.publish(0);
    world.run(Duration::from_secs(5));
    assert_eq!(world.delivered(0, id), 0, "not to its author");
    for at in 1..60 {
        assert_eq!(world.delivered(at, id), 1, "node {at}");
    }
    let extra = world.copies as f64 / 59.0 - 1.0;
    println!("copies beyond the first, per peer: {extra:.2}");
    assert!(extra < 3.5, "what neighbours are known to have is not sent");
}

#[test]
fn a_broadcast_waits_for_the_first_link_and_then_gives_up() {
    let mut world = World::new(2, 6, 12);
    let first = world.publish(0);
    world.run(Duration::from_secs(9));
    world.link(0, 1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.delivered(1, first), 1);
    let published = |world: &World, at: usize, wanted: MessageId| {
        let mut events = world.nodes[at].events.iter();
        events.any(|event| matches!(event, Output::Published(message) if message.id == wanted))
    };
    assert!(published(&world, 0, first));
    let mut alone = World::new(1, 6, 13);
    let id = alone.publish(0);
    alone.run(Duration::from_secs(11));
    assert!(!published(&alone, 0, id));
    let refused =
        |event: &Output| matches!(event, Output::NotPublished { id: other, .. } if *other == id);
    assert!(alone.nodes[0].events.iter().any(refused));
}

#[test]
fn a_message_of_another_time_or_of_oneself_is_refused() {
    let mut world = World::new(2, 6, 14);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(1));
    for (origin, offset) in [(0, 400_000_u64), (1, 0)] {
        let mut message = world.message(origin, Kind::Broadcast, b"old");
        Arc::get_mut(&mut message).unwrap().time_ms -= offset;
        let id = message.id;
        let input = Input::Gossip(super::gossip::Arrival {
            link,
            hops: 0,
            pushed: Pushed::Flood,
            has: Vec::new(),
            message,
        });
        world.input(1, input);
        assert_eq!(world.delivered(1, id), 0);
    }
    assert_eq!(world.nodes[1].mesh.counters().rejected, 2);
}

#[test]
fn a_direct_message_finds_its_receiver_over_many_hops() {
    for seed in 20..24 {
        let mut world = World::new(40, 4, seed);
        world.connect_randomly(4);
        let (from, to) = (0, 20);
        let (sender, receiver) = (world.nodes[from].me, world.nodes[to].me);
        world.input(from, Input::FindKeys(receiver));
        world.run(Duration::from_secs(3));
        let found = world.nodes[from].events.iter().any(
            |event| matches!(event, Output::Keys { peer, keys: Some(_) } if *peer == receiver),
        );
        assert!(found, "keys");
        for size in [100, 20_000] {
            let id = MessageId::new(world.rng.random());
            let sealed = Sealed {
                id,
                from: sender,
                to: receiver,
                body: vec![0; size].into(),
            };
            world.input(from, Input::Direct(Arc::new(sealed)));
            world.run(Duration::from_secs(3));
            let opened = world.nodes[to].events.iter();
            let opened = opened
                .filter(|event| matches!(event, Output::Open { sealed, .. } if sealed.id == id))
                .count();
            assert_eq!(opened, 1, "opened once");
            let acknowledged = world.nodes[from].events.iter().any(|event| {
                matches!(event, Output::CheckAck { id: other, hops, .. } if *other == id && *hops > 0)
            });
            assert!(acknowledged);
        }
    }
}

#[test]
fn a_direct_message_to_nobody_ends() {
    let mut world = World::new(10, 4, 25);
    world.connect_randomly(4);
    let nobody = PeerId::new([9; 20]);
    world.input(0, Input::FindKeys(nobody));
    world.run(Duration::from_secs(12));
    let answered = world.nodes[0]
        .events
        .iter()
        .any(|event| matches!(event, Output::Keys { peer, keys: None } if *peer == nobody));
    assert!(answered);
}

#[test]
fn a_route_that_breaks_is_replaced() {
    let mut world = World::new(30, 4, 26);
    world.connect_randomly(4);
    let receiver = world.nodes[15].me;
    let sender = world.nodes[0].me;
    world.input(0, Input::FindKeys(receiver));
    world.run(Duration::from_secs(3));
    // The link that the message would take dies without a word.
    let way = world.nodes[0].mesh.way(world.now, receiver, None).unwrap();
    world.dead.push(way);
    let id = MessageId::new(world.rng.random());
    let body = vec![0; 5000].into();
    let sealed = Sealed {
        id,
        from: sender,
        to: receiver,
        body,
    };
    world.input(0, Input::Direct(Arc::new(sealed)));
    world.run(Duration::from_secs(10));
    let acknowledged = world.nodes[0]
        .events
        .iter()
        .any(|event| matches!(event, Output::CheckAck { id: other, .. } if *other == id));
    assert!(acknowledged);
}

#[test]
fn a_large_broadcast_flows_through_the_mesh() {
    let mut world = World::new(20, 4, 27);
    world.connect_randomly(4);
    let data: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    let message = world.message(3, Kind::Manifest, &Manifest::encode(&data));
    let chunks = data.chunks(CHUNK).map(Arc::from).collect();
    let id = message.id;
    world.input(3, Input::Publish { message, chunks });
    world.run(Duration::from_secs(20));
    for at in (0..20).filter(|at| *at != 3) {
        let whole: Vec<&Vec<u8>> = world.nodes[at]
            .events
            .iter()
            .filter_map(|event| match event {
                Output::DeliverLarge { message, data, .. } if message.id == id => Some(data),
                _ => None,
            })
            .collect();
        assert_eq!(whole, [&data], "node {at}");
    }
}

#[test]
fn two_links_to_one_peer_become_one_on_both_sides() {
    for (seed, both_offer) in [(30, true), (31, false), (32, true), (33, false)] {
        let mut world = World::new(2, 6, seed);
        world.link(0, 1);
        if both_offer {
            world.link(1, 0);
        } else {
            world.link(0, 1);
        }
        world.run(Duration::from_secs(2));
        assert_eq!(world.degree(0), 1);
        assert_eq!(world.degree(1), 1);
        assert_eq!(
            world.nodes[0].mesh.links.keys().collect::<Vec<_>>(),
            world.nodes[1].mesh.links.keys().collect::<Vec<_>>(),
            "the same one"
        );
        let id = world.publish(0);
        world.run(Duration::from_secs(1));
        assert_eq!(world.delivered(1, id), 1);
        for node in &world.nodes {
            let connects = node
                .events
                .iter()
                .filter(|event| matches!(event, Output::Connect(_)));
            assert_eq!(connects.count(), 1, "one to the application");
        }
    }
}

#[test]
fn a_full_mesh_takes_a_newcomer_in() {
    for seed in 34..38 {
        let mut world = World::new(31, 4, seed);
        for at in 0..30 {
            world.link(at, (at + 1) % 30);
            world.link(at, (at + 7) % 30);
        }
        world.run(Duration::from_secs(5));
        assert!((0..30).all(|at| world.degree(at) == 4));
        world.link(30, 11);
        world.link(30, 23);
        world.run(Duration::from_secs(20));
        assert_eq!(world.degree(30), 4, "two contacts, and a neighbour of each");
        for at in 0..30 {
            assert_eq!(world.degree(at), 4, "node {at}");
        }
        let id = world.publish(30);
        world.run(Duration::from_secs(5));
        assert!((0..30).all(|at| world.delivered(at, id) == 1));
    }
}

#[test]
fn beyond_its_slack_a_peer_refuses_and_names_others() {
    let mut world = World::new(6, 2, 34);
    for other in 1..6 {
        world.link(0, other);
    }
    let told = world.nodes[0].events.iter().any(|event| {
        matches!(event, Output::Close { goodbye: Some(goodbye), .. }
            if goodbye.reason == Reason::Full)
    });
    assert!(told);
    world.run(Duration::from_secs(30));
    assert!(
        world.degree(0) <= 3,
        "two links, and a neighbour that has no other"
    );
}

#[test]
fn fewer_links_cut_nobody_off() {
    let mut world = World::new(12, 8, 35);
    // A hub; five of its neighbours have another link, three have none.
    for other in 1..9 {
        world.link(0, other);
    }
    for other in 1..6 {
        world.link(other, other % 5 + 1);
    }
    world.run(Duration::from_secs(8));
    assert_eq!(world.degree(0), 8);
    world.input(0, Input::SetMaxPeers(2));
    for _ in 0..200 {
        world.run(Duration::from_millis(100));
        for at in 1..9 {
            assert!(world.degree(at) > 0, "node {at} was cut off");
        }
    }
    assert_eq!(world.degree(0), 2);
}

#[test]
fn a_silent_neighbour_is_given_up() {
    let mut world = World::new(2, 6, 36);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(60));
    assert_eq!(world.degree(0), 1, "idle is not dead");
    world.dead.push(link);
    world.run(Duration::from_secs(20));
    assert_eq!(world.degree(0), 0);
    assert_eq!(world.degree(1), 0);
    let lost = |event: &Output| matches!(event, Output::Disconnect(_));
    assert_eq!(
        world.nodes[0]
            .events
            .iter()
            .filter(|event| lost(event))
            .count(),
        1
    );
}

#[test]
fn a_suspected_neighbour_that_answers_stays() {
    let mut world = World::new(2, 6, 37);
    let link = world.link(0, 1);
    world.run(Duration::from_secs(1));
    world.input(0, Input::LinkSuspect(link));
    world.run(Duration::from_secs(4));
    assert_eq!(world.degree(0), 1);
    world.dead.push(link);
    world.input(0, Input::LinkSuspect(link));
    world.run(Duration::from_secs(4));
    assert_eq!(world.degree(0), 0, "one probe decides");
}

#[test]
fn any_inputs_keep_the_maps_bounded() {
    let mut world = World::new(5, 3, 38);
    world.connect_randomly(3);
    let links: Vec<LinkId> = world.ends.keys().copied().collect();
    let mut rng = StdRng::seed_from_u64(38);
    for _ in 0..20_000 {
        let link = *links.choose(&mut rng).unwrap();
        let id = MessageId::new(rng.random());
        let to = PeerId::new(rng.random());
        let packet = match rng.random_range(0..4) {
            0 => Packet::Who {
                id,
                to,
                hops: rng.random(),
                hop_limit: rng.random(),
            },
            1 => Packet::RouteError { id, from: to },
            2 => Packet::ChunkRequest {
                message: id,
                indices: vec![rng.random()],
            },
            _ => Packet::Route {
                hops: rng.random(),
                hop_limit: rng.random(),
                flood: rng.random(),
                sealed: Arc::new(Sealed {
                    id,
                    from: PeerId::new(rng.random()),
                    to,
                    body: vec![0; 10].into(),
                }),
            },
        };
        world.input(rng.random_range(0..5), Input::Packet { link, packet });
        world.run(Duration::from_millis(1));
    }
    world.run(Duration::from_secs(5));
    let id = world.publish(0);
    world.run(Duration::from_secs(5));
    for at in 1..5 {
        assert_eq!(world.delivered(at, id), 1, "it still works");
    }
}
