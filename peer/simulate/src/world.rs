//! The world of a run: the parts that peers act on, composed.
//!
//! Each part owns its state. A peer's turn and the script hand a part what it needs from the others.

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::check::{self, Checks, RunInfo, Verdict};
use crate::event::Event;
use crate::exchange::Exchanges;
use crate::graph::Edge;
use crate::index::IndexSet;
use crate::measure::{Broadcasts, Costs, Directs, Floods, Watches};
use crate::network::Network;
use crate::packet::Packets;
use crate::peers::Peers;
use crate::queue::Queue;
use crate::scenario::Scenario;
use crate::time::{SECOND, Time, from_seconds};
use crate::tracker::Tracker;

/// The parts of a run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) queue: Queue<Event>,
    pub(crate) rng: StdRng,
    pub(crate) network: Network,
    pub(crate) packets: Packets,
    pub(crate) exchanges: Exchanges,
    pub(crate) tracker: Tracker,
    pub(crate) peers: Peers,
    pub(crate) costs: Costs,
    pub(crate) broadcasts: Broadcasts,
    pub(crate) directs: Directs,
    pub(crate) floods: Floods,
    pub(crate) watches: Watches,
    pub(crate) checks: Checks,
    /// Links that a peer keeps.
    pub(crate) max_peers: usize,
    /// How far back a new peer asks for messages.
    pub(crate) history: Time,
    /// When the run ends.
    pub(crate) end: Time,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, size: usize, seed: u64, end: Time) -> Self {
        let max_peers = scenario.max_peers;
        Self {
            now: 0,
            queue: Queue::new(),
            rng: StdRng::seed_from_u64(seed),
            network: Network::new(scenario.network, seed),
            packets: Packets::default(),
            exchanges: Exchanges::default(),
            tracker: Tracker::new(),
            peers: Peers::default(),
            costs: Costs::default(),
            broadcasts: Broadcasts::default(),
            directs: Directs::default(),
            floods: Floods::default(),
            watches: Watches::default(),
            checks: Checks::new(RunInfo {
                seed,
                size,
                max_peers,
            }),
            max_peers,
            history: from_seconds(scenario.history_s),
            end,
        }
    }

    /// The links between living peers.
    pub(crate) fn edges(&self) -> impl Iterator<Item = Edge> {
        self.network.links().filter_map(|[a, b]| {
            let ends = [self.peers.live_at(a)?, self.peers.live_at(b)?];
            let bridge = self.network.are_apart(a, b);
            Some(Edge { ends, bridge })
        })
    }

    /// The living members except this one: the peers that should get its broadcast.
    pub(crate) fn members_except(&self, origin: u32) -> IndexSet {
        let mut members = IndexSet::default();
        for p in self.peers.live() {
            if self.peers[*p].first_link.is_some() && *p != origin {
                members.insert(*p);
            }
        }
        members
    }

    /// # Panics
    /// If the verdict is an error.
    pub(crate) fn hold(&self, p: u32, verdict: Verdict) {
        self.checks.hold(self.now, p, verdict);
    }

    /// Checks that no peer has been below two links for too long.
    pub(crate) fn check_low_peers(&self) {
        let live = self.peers.live();
        if !check::ON || !self.tracker.is_up() || self.network.is_split() || live.len() < 3 {
            return;
        }
        for p in live {
            let peer = &self.peers[*p];
            // Nothing is promised to a peer whose timers are a minute late, or that breaks the rules.
            let is_promised = peer.timer_grid <= SECOND && !self.floods.includes(*p);
            if let Some(since) = peer.low_since.filter(|_| is_promised) {
                self.hold(*p, self.checks.on_low(since, self.now));
            }
        }
    }
}
