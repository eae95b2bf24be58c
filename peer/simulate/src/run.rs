//! A run: takes one event after the other and hands it to the peer, the tracker or the script that it
//! is for.

use std::hint::black_box;

use crate::connections;
use crate::event::Event;
use crate::graph::Graph;
use crate::measure::{Goal, Measures, float};
use crate::network::mix;
use crate::report::Report;
use crate::scenario::Scenario;
use crate::script::{self, Script};
use crate::time::{SECOND, Time, from_seconds, to_seconds};
use crate::turn::{self, Turn};
use crate::world::World;

/// Events whose memory is fetched together.
const AHEAD: usize = 32;

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Virtual seconds that have passed.
    pub passed: f64,
    /// Virtual seconds of the whole run.
    pub total: f64,
    /// Living peers.
    pub peers: usize,
}

/// A scenario that is being run.
#[derive(Debug)]
pub(crate) struct Run {
    world: World,
    script: Script,
    /// The time between two looks at the graph.
    look_every: Time,
    events: u64,
    /// All events in one number.
    digest: u64,
}

impl Run {
    pub(crate) fn new(scenario: &Scenario, size: usize, seed: u64) -> Self {
        let start = scenario.start;
        let begin = from_seconds(start.over_s + start.settle_s);
        let end = begin + from_seconds(scenario.run_s);
        let mut world = World::new(scenario, size, seed, end);
        let mut script = Script::new(scenario, size);
        script.start(&mut world, start.share, from_seconds(start.over_s));
        world.queue.push(begin, Event::Begin);
        world.queue.push(end, Event::End);
        Self {
            world,
            script,
            look_every: from_seconds(scenario.look_s),
            events: 0,
            digest: seed,
        }
    }

    pub(crate) fn run(&mut self, progress: &mut dyn FnMut(Progress)) {
        let mut reported = 0;
        while let Some((at, event)) = self.world.queue.pop() {
            debug_assert!(at >= self.world.now, "time runs forward");
            self.world.now = at;
            if self.events.is_multiple_of(AHEAD as u64) {
                self.warm();
            }
            self.events += 1;
            self.digest = mix(self.digest, at, event.number());
            if at >= reported + SECOND {
                reported = at;
                progress(Progress {
                    passed: to_seconds(at),
                    total: to_seconds(self.world.end),
                    peers: self.world.peers.live().len(),
                });
            }
            if event == Event::End {
                return self.look();
            }
            self.handle(event);
        }
    }

    /// Reads what the next events need. The data of many peers does not fit into a cache, and an event
    /// that follows pointers makes the processor wait for one read after the other. Here it fetches
    /// the data of many events at once.
    fn warm(&self) {
        let world = &self.world;
        let mut next = [(0, 0, None); AHEAD];
        for (place, event) in next.iter_mut().zip(world.queue.ahead(AHEAD)) {
            match event {
                Event::Packet { conn, side, parcel } => {
                    let p = world.network.peer_at(conn, side.into());
                    *place = (conn, p, world.packets.message(parcel));
                }
                Event::Wake(p) => *place = (0, p, None),
                _ => {}
            }
        }
        let nodes = next.iter().filter_map(|(conn, p, message)| {
            let node = world.peers.get(*p)?.node.as_ref()?;
            Some((*conn, node, *message))
        });
        let awaited = nodes.clone().filter(|(_, node, _)| node.is_awaited());
        let awaited = awaited.count();
        let counts = nodes.clone().filter(|(conn, node, _)| node.counts(*conn));
        let counts = counts.count();
        let taken = nodes.filter(|(.., node, message)| message.is_some_and(|it| node.takes(it)));
        black_box((awaited, counts, taken.count()));
    }

    fn handle(&mut self, event: Event) {
        let (world, script) = (&mut self.world, &mut self.script);
        match event {
            Event::Wake(p) => turn::wake(world, p),
            Event::Packet { conn, side, parcel } => {
                connections::arrive(world, conn, side.into(), parcel)
            }
            Event::Admitted { conn, side } => {
                at_side(world, conn, side, |turn| {
                    turn.on_admitted(conn, side.into())
                });
            }
            Event::Closed { conn, side } => {
                at_side(world, conn, side, |turn| turn.on_closed(conn, side.into()));
            }
            Event::Suspect { conn, side } => {
                at_side(world, conn, side, |turn| turn.on_suspect(conn));
            }
            Event::Reset(conn) => {
                for side in [0, 1] {
                    at_side(world, conn, side, |turn| turn.on_closed(conn, side.into()));
                }
            }
            Event::OfferMade(offer) => {
                let p = world.exchanges.offered(offer).peer;
                turn::take(world, p, |turn| turn.on_offer_made(offer));
            }
            Event::AnswerMade(answer) => {
                let p = world.exchanges.answered(answer).peer;
                turn::take(world, p, |turn| turn.on_answer_made(answer));
            }
            Event::Open(answer) => connections::open(world, answer),
            Event::OfferDue(answer) => connections::expire(world, answer, true),
            Event::AnswerDue(answer) => connections::expire(world, answer, false),
            Event::Connected(p) => turn::take(world, p, |turn| turn.on_connected()),
            Event::Lost(p) => turn::take(world, p, |turn| turn.on_lost()),
            Event::Gone(p) => world.tracker.leave(p),
            Event::Announce { peer, announce } => on_announce(world, peer, announce),
            Event::AnswerAtTracker(answer) => {
                if world.tracker.is_up() {
                    let to = world.exchanges.offerer(answer);
                    from_tracker(world, to, Event::AnswerFromTracker { answer, to });
                }
            }
            Event::Interval(p) => turn::take(world, p, |turn| turn.on_interval()),
            Event::OfferFromTracker { offer, to } => {
                turn::take(world, to, |turn| turn.on_tracker_offer(offer));
            }
            Event::AnswerFromTracker { answer, to } => {
                turn::take(world, to, |turn| turn.on_tracker_answer(answer));
            }
            Event::Join(step) => script.on_join(world, step),
            Event::Kill => script::kill(world),
            Event::Step(step) => script.on_step(world, step),
            Event::Publish { step, left } => script.on_publish(world, step, left),
            Event::Direct { step, left } => script.on_direct(world, step, left),
            Event::SendDirect(direct) => {
                let from = world.directs.planned(direct).from;
                turn::take(world, from, |turn| turn.send_direct(direct));
            }
            Event::Flood(step) => script.on_flood(world, step),
            Event::Heal => {
                world.network.heal();
                world.checks.disturb(world.now);
            }
            Event::Look => {
                self.look();
                let world = &mut self.world;
                world.check_low_peers();
                world.queue.push(world.now + self.look_every, Event::Look);
            }
            Event::Begin => script.begin(world),
            Event::End => {}
        }
    }

    /// Brings the costs up to date and looks whether the graph is as a step waits for it.
    fn look(&mut self) {
        let world = &mut self.world;
        let live = world.peers.live().len();
        world.costs.pass_time(world.now, live);
        if !self.script.expects_peers() && world.watches.are_pending() {
            let graph = Graph::new(live, world.edges());
            let state = Goal {
                whole: graph.components <= 1,
                share: graph.largest_share(),
                mean_degree: graph.mean_degree(),
                bridges: graph.bridges,
            };
            world.watches.look(world.now, &state);
        }
    }

    /// Measures the run. `memory` is the number of bytes that were allocated before it and a function
    /// that returns how many are allocated now.
    pub(crate) fn report(
        mut self,
        scenario: &Scenario,
        peers: usize,
        seed: u64,
        memory: Option<(usize, fn() -> usize)>,
    ) -> Report {
        let mut all = Measures::default();
        measure_graph(&self.world, &mut all);
        self.world.costs.measure(&mut all);
        self.script.measure(&self.world, &mut all);
        if let Some((before, heap)) = memory {
            // The cores are dropped to learn what they took, and the rest is measured before.
            let taken = heap().saturating_sub(before);
            let living = float(self.world.peers.live().len());
            let cores = self.world.peers.weigh(heap);
            all.add("memory", "bytes_per_peer", float(taken) / living);
            all.add("memory", "core_bytes_per_peer", float(cores) / living);
        }
        Report::new(scenario, peers, seed, self.events, self.digest, all)
    }
}

/// Gives the peer at a side of a connection its turn.
fn at_side(world: &mut World, conn: u32, side: u8, act: impl FnOnce(&mut Turn<'_>)) {
    let p = world.network.peer_at(conn, side.into());
    turn::take(world, p, act);
}

/// An announce reaches the tracker, which hands its offers on and replies.
fn on_announce(world: &mut World, peer: u32, announce: u32) {
    let alive = world.peers[peer].alive;
    let network = &world.network;
    let reaches = |other: u32| network.reaches(peer, other);
    let tracker = &mut world.tracker;
    let handouts = tracker.receive(announce, peer, alive, reaches, &mut world.rng);
    let Some(handouts) = handouts else {
        return;
    };
    for handout in handouts {
        let (offer, to) = (handout.offer, handout.to);
        from_tracker(world, to, Event::OfferFromTracker { offer, to });
    }
    from_tracker(world, peer, Event::Interval(peer));
}

/// The tracker sends a message to a peer.
fn from_tracker(world: &mut World, to: u32, event: Event) {
    let latency = world.network.tracker_latency(to);
    world.queue.push(world.now + latency, event);
}

fn measure_graph(world: &World, all: &mut Measures) {
    let live = world.peers.live();
    let graph = Graph::new(live.len(), world.edges());
    let degrees = live.iter().map(|p| world.peers[*p].degree);
    let highest = degrees.clone().max().unwrap_or(0);
    let below_two = degrees.filter(|degree| *degree < 2).count();
    for (name, value) in [
        ("live", float(live.len())),
        ("components", float(graph.components)),
        ("bridges", float(graph.bridges)),
        ("isolated", float(graph.isolated)),
        ("largest_percent", 100.0 * graph.largest_share()),
        ("mean_degree", graph.mean_degree()),
        ("highest_degree", f64::from(highest)),
        ("below_two", float(below_two)),
    ] {
        all.add("graph", name, value);
    }
}
