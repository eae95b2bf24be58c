//! All peers, all connections, and the events that move them.

use easypeers_proto::MessageId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use slab::Slab;
use std::collections::HashMap;
use std::hint::black_box;

use super::Progress;
use super::check::{self, Checks};
use super::exchange::Exchanges;
use super::measure::{Costs, Direct, Flood, Tracked, Watch};
use super::network::{Network, mix};
use super::packet::Packets;
use super::peer::{Peer, Timers};
use super::queue::Queue;
use super::scenario::{Scenario, Step};
use super::time::{SECOND, Time, from_seconds, to_seconds};
use super::tracker::Tracker;

/// Events whose memory is fetched together.
const AHEAD: usize = 32;

/// Something that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A peer's timer.
    Wake(u32),
    /// A parcel reaches a side of a connection.
    Packet {
        conn: u32,
        side: u8,
        parcel: u32,
    },
    /// A side's handshakes are done.
    Admitted {
        conn: u32,
        side: u8,
    },
    /// A side learns that the connection is gone.
    Closed {
        conn: u32,
        side: u8,
    },
    /// A side's connection hears nothing any more.
    Suspect {
        conn: u32,
        side: u8,
    },
    /// A connection breaks.
    Reset(u32),
    OfferMade(u32),
    AnswerMade(u32),
    /// The connection of an answer that was accepted opens.
    Open(u32),
    /// The time of an answer's offerer, or of its maker, is over.
    OfferDue(u32),
    AnswerDue(u32),
    /// A peer's connection to the tracker stands, breaks, is seen to be gone by the tracker.
    Connected(u32),
    Lost(u32),
    Gone(u32),
    /// At the tracker.
    Announce {
        peer: u32,
        offers: u32,
    },
    AnswerAtTracker(u32),
    /// From the tracker.
    Interval(u32),
    OfferFromTracker {
        offer: u32,
        to: u32,
    },
    AnswerFromTracker {
        answer: u32,
        to: u32,
    },
    /// A peer starts, for a step or at the start.
    Join(Option<u32>),
    /// A random peer is killed.
    Kill,
    /// A step of the scenario, the next of its broadcasts or messages.
    Step(u32),
    Publish {
        step: u32,
        left: u32,
    },
    Direct {
        step: u32,
        left: u32,
    },
    SendDirect(u32),
    Flood(u32),
    /// A partition ends.
    Heal,
    /// A look at the graph.
    Look,
    /// The measured part begins, ends.
    Begin,
    End,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) queue: Queue<What>,
    pub(super) rng: StdRng,
    pub(super) network: Network,
    pub(super) max_peers: usize,
    pub(super) history: Time,
    pub(super) seed: u64,
    /// As many as were asked for.
    pub(super) size: usize,
    pub(super) peers: Vec<Peer>,
    pub(super) live: Vec<u32>,
    /// Peers that are still to start.
    pub(super) coming: usize,
    pub(super) packets: Packets,
    pub(super) exchanges: Exchanges,
    pub(super) tracker: Tracker,
    pub(super) announced: Slab<Vec<u32>>,
    pub(super) steps: Vec<Step>,
    pub(super) end: Time,
    pub(super) look: Time,
    /// Everything that happened, in a number.
    pub(super) digest: u64,
    pub(super) events: u64,
    pub(super) announces: u64,
    // What is measured.
    pub(super) costs: Costs,
    pub(super) watches: Vec<Watch>,
    pub(super) tracked: Vec<Tracked>,
    pub(super) by_id: HashMap<MessageId, u32>,
    pub(super) directs: Vec<Direct>,
    pub(super) direct_by_id: HashMap<MessageId, u32>,
    pub(super) newcomers: Vec<(u32, u32)>,
    pub(super) floods: Vec<Flood>,
    pub(super) checks: Checks,
}

impl World {
    pub(super) fn new(scenario: &Scenario, size: usize, seed: u64) -> Self {
        let begun = from_seconds(scenario.start.over_s + scenario.start.settle_s);
        let mut world = Self {
            now: 0,
            queue: Queue::new(),
            rng: StdRng::seed_from_u64(seed),
            network: Network::new(scenario.network, seed),
            max_peers: scenario.max_peers,
            history: from_seconds(scenario.history_s),
            seed,
            size,
            peers: Vec::new(),
            live: Vec::new(),
            coming: 0,
            packets: Packets::default(),
            exchanges: Exchanges::default(),
            tracker: Tracker::new(),
            announced: Slab::new(),
            steps: scenario.steps.clone(),
            end: begun + from_seconds(scenario.run_s),
            look: from_seconds(scenario.look_s),
            digest: seed,
            events: 0,
            announces: 0,
            costs: Costs::default(),
            watches: Vec::new(),
            tracked: Vec::new(),
            by_id: HashMap::new(),
            directs: Vec::new(),
            direct_by_id: HashMap::new(),
            newcomers: Vec::new(),
            floods: Vec::new(),
            checks: Checks::default(),
        };
        let first = world.part(scenario.start.share);
        world.join(None, first, from_seconds(scenario.start.over_s));
        world.queue.push(begun, What::Begin);
        world.queue.push(world.end, What::End);
        world
    }

    pub(super) fn run(&mut self, progress: &mut dyn FnMut(Progress)) {
        let mut told = 0;
        while let Some((at, what)) = self.queue.pop() {
            debug_assert!(at >= self.now, "time runs forward");
            self.now = at;
            if self.events.is_multiple_of(AHEAD as u64) {
                self.warm();
            }
            self.events += 1;
            self.digest = mix(self.digest, at, number(what));
            if at >= told + SECOND {
                told = at;
                progress(Progress {
                    passed: to_seconds(at),
                    total: to_seconds(self.end),
                    peers: self.live.len(),
                });
            }
            if what == What::End {
                return self.look();
            }
            self.happen(what);
        }
    }

    /// Reads what the next events need. Of many peers nothing is in a cache, and where an event follows pointers the
    /// processor waits for one thing after the other; here it fetches those of many events at once.
    fn warm(&self) {
        let mut next = [(0, 0, None); AHEAD];
        for (place, what) in next.iter_mut().zip(self.queue.ahead(AHEAD)) {
            match what {
                What::Packet { conn, side, parcel } => {
                    let p = self.network.peer_at(conn, side.into());
                    *place = (conn, p, self.packets.message(parcel));
                }
                What::Wake(p) => *place = (0, p, None),
                _ => {}
            }
        }
        let peers = next
            .iter()
            .filter_map(|(conn, p, message)| Some((*conn, self.peers.get(*p as usize)?, *message)));
        let awaited = peers.clone().filter(|(_, peer, _)| peer.is_awaited());
        let awaited = awaited.count();
        let counts = peers.clone().filter(|(conn, peer, _)| peer.counts(*conn));
        let counts = counts.count();
        let taken = peers.filter(|(.., peer, message)| message.is_some_and(|it| peer.takes(it)));
        black_box((awaited, counts, taken.count()));
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Wake(p) => self.on_wake(p),
            What::Packet { conn, side, parcel } => self.on_packet(conn, side.into(), parcel),
            What::Admitted { conn, side } => {
                self.at_side(conn, side, |turn| turn.on_admitted(conn, side.into()));
            }
            What::Closed { conn, side } => {
                self.at_side(conn, side, |turn| turn.on_closed(conn, side.into()));
            }
            What::Suspect { conn, side } => {
                self.at_side(conn, side, |turn| turn.on_suspect(conn));
            }
            What::Reset(conn) => {
                for side in [0, 1] {
                    self.at_side(conn, side, |turn| turn.on_closed(conn, side.into()));
                }
            }
            What::OfferMade(offer) => {
                let p = self.exchanges.offered(offer).peer;
                self.turn(p, |turn| turn.on_offer_made(offer));
            }
            What::AnswerMade(answer) => {
                let p = self.exchanges.answered(answer).peer;
                self.turn(p, |turn| turn.on_answer_made(answer));
            }
            What::Open(answer) => self.on_open(answer),
            What::OfferDue(answer) => self.on_attempt_due(answer, true),
            What::AnswerDue(answer) => self.on_attempt_due(answer, false),
            What::Connected(p) => self.turn(p, |turn| turn.on_connected()),
            What::Lost(p) => self.turn(p, |turn| turn.on_lost()),
            What::Gone(p) => self.on_gone(p),
            What::Announce { peer, offers } => self.on_announce(peer, offers),
            What::AnswerAtTracker(answer) => self.on_answer_at_tracker(answer),
            What::Interval(p) => self.turn(p, |turn| turn.on_interval()),
            What::OfferFromTracker { offer, to } => {
                self.turn(to, |turn| turn.on_tracker_offer(offer));
            }
            What::AnswerFromTracker { answer, to } => {
                self.turn(to, |turn| turn.on_tracker_answer(answer));
            }
            What::Join(step) => self.on_join(step),
            What::Kill => self.on_kill(),
            What::Step(step) => self.on_step(step),
            What::Publish { step, left } => self.on_publish(step, left),
            What::Direct { step, left } => self.on_direct(step, left),
            What::SendDirect(direct) => self.on_send_direct(direct),
            What::Flood(step) => self.on_flood(step),
            What::Heal => {
                self.network.heal();
                self.disturb();
            }
            What::Look => {
                self.look();
                if check::ON {
                    check::on_look(self);
                }
                self.queue.push(self.now + self.look, What::Look);
            }
            What::Begin => self.begin(),
            What::End => {}
        }
    }

    fn at_side(&mut self, conn: u32, side: u8, act: impl FnOnce(&mut super::peer::Turn<'_>)) {
        let p = self.network.peer_at(conn, side.into());
        self.turn(p, act);
    }

    fn on_join(&mut self, step: Option<u32>) {
        self.coming -= 1;
        let timers = Timers(self.network.timer_grid(&mut self.rng));
        let p = self.start_peer(timers);
        if let Some(step) = step {
            self.newcomers.push((step, p));
        }
    }

    /// When this connection breaks by itself, if it does before the end.
    pub(super) fn schedule_reset(&mut self, c: u32) {
        if let Some(lifetime) = self.network.lifetime(&mut self.rng) {
            let at = self.now + lifetime;
            if at < self.end {
                self.queue.push(at, What::Reset(c));
            }
        }
    }

    /// The mesh is not at rest.
    pub(super) const fn disturb(&mut self) {
        self.checks.disturbed = self.now;
    }

    /// A part of all peers.
    pub(super) fn part(&self, share: f64) -> usize {
        (self.size as f64 * share).round() as usize
    }
}

/// An event as a number, for the digest.
fn number(what: What) -> u64 {
    let two = |a: u32, b: u32| (u64::from(a) << 32) | u64::from(b);
    match what {
        What::Packet { conn, side, parcel } => two(conn, parcel) ^ u64::from(side),
        What::Wake(p) => two(1, p),
        What::OfferFromTracker { offer, to } => two(offer, to),
        What::AnswerFromTracker { answer, to } => two(answer, to),
        _ => 2,
    }
}
