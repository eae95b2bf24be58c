//! What is measured: messages on their way, the graph, costs.

use easypeers_proto::MessageId;

use super::world::World;
use super::{Time, seconds};

/// Bits by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn set(&mut self, at: u32) {
        let (word, bit) = (at as usize / 64, 1 << (at % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    pub(super) fn has(&self, at: u32) -> bool {
        let word = self.0.get(at as usize / 64);
        word.is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

/// A broadcast that is followed.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) step: u32,
    pub(super) origin: u32,
    pub(super) at: Time,
    /// Who was there to get it.
    pub(super) expected: Bits,
    pub(super) got: Bits,
    pub(super) delivered: u64,
    pub(super) copies: u64,
    pub(super) last_hop: u8,
    pub(super) last: Time,
    /// Links from its author to the farthest, along the shortest ways that there were.
    pub(super) depth: usize,
}

/// A direct message that is followed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direct {
    pub(super) step: u32,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) size: usize,
    pub(super) at: Time,
    pub(super) sends: u64,
    pub(super) arrived: Option<Time>,
    pub(super) receipt: Option<Time>,
    pub(super) hops: u8,
}

impl Direct {
    pub(super) const fn new(step: u32, from: u32, to: u32, size: usize, at: Time) -> Self {
        Self {
            step,
            from,
            to,
            size,
            at,
            sends: 0,
            arrived: None,
            receipt: None,
            hops: 0,
        }
    }
}

/// A peer that sends more than anybody may.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flood {
    pub(super) step: u32,
    pub(super) peer: u32,
    pub(super) since: Time,
    /// When it had lost all its links.
    pub(super) cut: Option<Time>,
}

impl Flood {
    pub(super) const fn new(step: u32, peer: u32, since: Time) -> Self {
        Self {
            step,
            peer,
            since,
            cut: None,
        }
    }
}

/// A state of the graph that is waited for.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) step: u32,
    pub(super) since: Time,
    pub(super) whole: bool,
    pub(super) share: f64,
    pub(super) mean_degree: f64,
    pub(super) bridges: usize,
    pub(super) reached: Option<Time>,
}

/// Of all peers together, since the last time they were set to zero.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Costs {
    /// Frames handed to links; bytes on links: gossip and its pieces, all others.
    pub(super) frames: u64,
    pub(super) control_bytes: u64,
    pub(super) gossip_bytes: u64,
    /// Connections made, each side counted; those that both sides came to count.
    pub(super) connections: u64,
    pub(super) links: u64,
    /// Neighbours taken for dead that were not.
    pub(super) accused: u64,
    /// Signatures checked.
    pub(super) verified: u64,
    /// Frames that found a full queue.
    pub(super) dropped: u64,
    pub(super) peer_seconds: f64,
    looked: Time,
}

/// The graph of the living.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Graph {
    pub(super) components: usize,
    pub(super) largest: usize,
    pub(super) edges: usize,
    pub(super) isolated: usize,
    /// Between the sides of a partition.
    pub(super) bridges: usize,
    pub(super) highest: u32,
    pub(super) below_two: usize,
}

impl World {
    pub(super) fn count_costs(&mut self) {
        self.costs = Costs {
            looked: self.now,
            ..Costs::default()
        };
    }

    /// Follows a broadcast from here on.
    pub(super) fn track(&mut self, step: u32, origin: u32, id: MessageId, at: Time) {
        let mut expected = Bits::default();
        for p in &self.live {
            if self.peers[*p as usize].first_link.is_some() && *p != origin {
                expected.set(*p);
            }
        }
        self.by_id.insert(id, super::index(self.tracked.len()));
        self.tracked.push(Tracked {
            step,
            origin,
            at,
            expected,
            got: Bits::default(),
            delivered: 0,
            copies: 0,
            last_hop: 0,
            last: at,
            depth: self.depth(origin),
        });
    }

    pub(super) fn count_copy(&mut self, id: &MessageId) {
        if let Some(tracked) = self.by_id.get(id) {
            self.tracked[*tracked as usize].copies += 1;
        }
    }

    pub(super) fn count_delivery(&mut self, p: u32, id: &MessageId, hops: u8, at: Time) {
        if let Some(tracked) = self.by_id.get(id) {
            let tracked = &mut self.tracked[*tracked as usize];
            tracked.got.set(p);
            tracked.delivered += 1;
            // Who came later and asked for what was before is not the last of those who were there.
            if tracked.expected.has(p) {
                tracked.last_hop = tracked.last_hop.max(hops);
                tracked.last = tracked.last.max(at);
            }
        }
    }

    pub(super) fn note_direct(&mut self, direct: u32, id: MessageId) {
        self.direct_by_id.insert(id, direct);
    }

    fn direct(&mut self, id: &MessageId) -> Option<&mut Direct> {
        let direct = self.direct_by_id.get(id)?;
        self.directs.get_mut(*direct as usize)
    }

    pub(super) fn count_send(&mut self, id: &MessageId, links: usize) {
        if let Some(direct) = self.direct(id) {
            direct.sends += links as u64;
        }
    }

    pub(super) fn count_arrival(&mut self, id: &MessageId, at: Time) {
        if let Some(direct) = self.direct(id) {
            direct.arrived = Some(at);
        }
    }

    pub(super) fn count_receipt(&mut self, id: &MessageId, hops: u8, at: Time) {
        if let Some(direct) = self.direct(id) {
            direct.receipt = Some(at);
            direct.hops = hops;
        }
    }

    /// Looks at the graph, and whether it is what is waited for.
    pub(super) fn look(&mut self) {
        let passed = seconds(self.now - self.costs.looked);
        self.costs.looked = self.now;
        let living = self.live.len() as f64;
        self.costs.peer_seconds += passed * living;
        if self.watches.iter().all(|watch| watch.reached.is_some()) {
            return;
        }
        let graph = self.graph();
        let (now, coming, live) = (self.now, self.coming, self.live.len());
        for watch in &mut self.watches {
            let reached = coming == 0
                && (!watch.whole || graph.components <= 1)
                && graph.bridges >= watch.bridges
                && graph.share(live) >= watch.share
                && graph.mean_degree(live) >= watch.mean_degree;
            if reached && watch.reached.is_none() {
                watch.reached = Some(now);
            }
        }
    }

    /// Links from a peer to the farthest that can be reached, breadth first.
    fn depth(&self, from: u32) -> usize {
        let mut neighbors = vec![Vec::new(); self.live.len()];
        for [a, b] in self.edges() {
            neighbors[a].push(b);
            neighbors[b].push(a);
        }
        let mut depth = 0;
        let mut level = vec![self.peers[from as usize].live_at];
        let mut seen = Bits::default();
        seen.set(super::index(level[0]));
        loop {
            let mut next = Vec::new();
            for at in level
                .drain(..)
                .flat_map(|at| std::mem::take(&mut neighbors[at]))
            {
                if !seen.has(super::index(at)) {
                    seen.set(super::index(at));
                    next.push(at);
                }
            }
            if next.is_empty() {
                return depth;
            }
            depth += 1;
            level = next;
        }
    }

    /// Links that both sides count, as places among the living.
    fn edges(&self) -> impl Iterator<Item = [usize; 2]> {
        let up = self.conns.iter().filter(|conn| conn.is_up());
        let peers = up.map(|conn| conn.ends.map(|end| &self.peers[end.peer as usize]));
        peers
            .filter(|peers| peers.iter().all(|peer| peer.alive))
            .map(|peers| peers.map(|peer| peer.live_at))
    }

    /// Components by union-find over the links that both sides count.
    pub(super) fn graph(&self) -> Graph {
        let mut parents: Vec<u32> = (0..super::index(self.live.len())).collect();
        let mut graph = Graph::default();
        let side = |at: usize| self.peers[self.live[at] as usize].side;
        for [a, b] in self.edges() {
            graph.edges += 1;
            graph.bridges += usize::from(side(a) != side(b));
            let (a, b) = (root(&mut parents, a), root(&mut parents, b));
            parents[a as usize] = b;
        }
        let mut sizes = vec![0usize; parents.len()];
        for at in 0..parents.len() {
            sizes[root(&mut parents, at) as usize] += 1;
        }
        graph.components = sizes.iter().filter(|size| **size > 0).count();
        graph.isolated = sizes.iter().filter(|size| **size == 1).count();
        graph.largest = sizes.into_iter().max().unwrap_or(0);
        let degrees = self.live.iter().map(|p| self.peers[*p as usize].degree);
        for degree in degrees {
            graph.highest = graph.highest.max(degree);
            graph.below_two += usize::from(degree < 2);
        }
        graph
    }
}

impl Graph {
    pub(super) fn share(&self, live: usize) -> f64 {
        self.largest as f64 / live.max(1) as f64
    }

    pub(super) fn mean_degree(&self, live: usize) -> f64 {
        2.0 * self.edges as f64 / live.max(1) as f64
    }
}

fn root(parents: &mut [u32], at: usize) -> u32 {
    let mut at = at;
    while parents[at] as usize != at {
        let above = parents[at] as usize;
        parents[at] = parents[above];
        at = above;
    }
    super::index(at)
}
