//! The network between the peers: which pairs can connect, how long frames travel, what is lost, and
//! the connections themselves.
//!
//! In: connections that open and close, frames that leave, a partition. Out: when each frame arrives,
//! or that it does not. Every property of a pair of peers is a hash of the pair and the seed, which
//! makes it the same each time they try.

use std::f64::consts::TAU;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::index::{IndexSet, index};
use crate::scenario::{Latency, NetworkModel};
use crate::time::{MS, SECOND, Time, from_seconds};

/// How far a side of a connection has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The connection is open and the handshakes are under way.
    Open,
    /// The handshakes are done and the mesh knows the link.
    Admitted,
    Closed,
}

/// One side of a connection.
#[derive(Debug, Clone, Copy)]
struct End {
    peer: u32,
    stage: Stage,
    /// The mesh of this side counts the link.
    up: bool,
    /// When the last frame towards this side arrives. Later frames do not overtake it.
    last: Time,
    /// When the reader of this side has read everything that is under way.
    read: Time,
}

/// Frames that a peer reads from one link in a second, and frames that it reads at once.
const READS: Time = 200;
const READ_BURST: Time = 400;

/// Frames that fit in the outbox of a sender.
const OUTBOX: Time = 512;

/// A connection: a data channel that is open, or was. It fits in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Connection {
    /// The side that offered, then the side that answered.
    ends: [End; 2],
    latency: Time,
    token: u64,
}

impl Connection {
    const fn new(offerer: u32, answerer: u32, latency: Time, token: u64) -> Self {
        const fn end(peer: u32) -> End {
            End {
                peer,
                stage: Stage::Open,
                up: false,
                last: 0,
                read: 0,
            }
        }
        Self {
            ends: [end(offerer), end(answerer)],
            latency,
            token,
        }
    }

    const fn is_up(&self) -> bool {
        self.ends[0].up && self.ends[1].up
    }

    const fn side_of(&self, peer: u32) -> usize {
        if self.ends[0].peer == peer { 0 } else { 1 }
    }

    /// When a frame that leaves at `sent` is read at a side. `None` if the outbox is full and the
    /// frame may be dropped.
    fn pass(&mut self, side: usize, sent: Time, extra: Time, may_drop: bool) -> Option<Time> {
        let pace = SECOND / READS;
        let latency = self.latency;
        let end = &mut self.ends[side];
        let arrives = (sent + latency + extra).max(end.last);
        let burst = pace * READ_BURST;
        let read = end.read.saturating_sub(burst).max(arrives);
        if may_drop && read > arrives + pace * OUTBOX {
            return None;
        }
        end.last = arrives;
        end.read = end.read.max(arrives) + pace;
        Some(read)
    }

    /// When a side learns that the other side closed the connection at `sent`: after all frames that
    /// are under way.
    fn close_at(&self, side: usize, sent: Time) -> Time {
        let end = &self.ends[side];
        let burst = SECOND / READS * READ_BURST;
        (sent + self.latency)
            .max(end.last)
            .max(end.read.saturating_sub(burst))
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The sender's side is not admitted. Nothing leaves.
    NotAdmitted,
    /// The frame leaves, and the other side is closed or out of reach.
    Unheard,
    /// The frame was dropped at a full queue.
    Dropped,
    /// The frame is read at this side at this time.
    Arrives { side: u8, at: Time },
}

/// What the other side learns when one side closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The side was closed before.
    AlreadyClosed,
    /// The other side is closed or out of reach.
    Unheard,
    /// This side learns at this time that the connection is closed.
    Heard { side: u8, at: Time },
}

/// How [`Network::set_up`] changed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rise {
    pub(crate) side: usize,
    /// This side counts the link now and did not before.
    pub(crate) new: bool,
    /// Both sides count the link now and did not before.
    pub(crate) whole: bool,
}

/// A hash of two numbers and a seed (the finalizer of splitmix64).
pub(crate) const fn mix(seed: u64, a: u64, b: u64) -> u64 {
    let mut x =
        seed ^ a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash as a number in [0, 1).
const fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

const fn pair(seed: u64, a: u32, b: u32) -> u64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    mix(seed, low as u64, high as u64)
}

/// The tracker's number among the peers.
const TRACKER: u32 = u32::MAX;

/// The network between the peers.
#[derive(Debug)]
pub(crate) struct Network {
    seed: u64,
    model: NetworkModel,
    connections: Vec<Connection>,
    /// While the network is split, the two sides of the partition cannot reach each other.
    split: bool,
    /// The peers on the second side of the partition. They stay there after it has healed: bridges
    /// are counted between the sides.
    second_side: IndexSet,
}

impl Network {
    pub(crate) fn new(model: NetworkModel, seed: u64) -> Self {
        Self {
            seed: mix(seed, 1, 2),
            model,
            connections: Vec::new(),
            split: false,
            second_side: IndexSet::default(),
        }
    }

    /// The latency between two peers, one way.
    fn latency(&self, a: u32, b: u32) -> Time {
        let hash = pair(self.seed, a, b);
        match self.model.latency {
            Latency::Uniform => 10 * MS + hash % (90 * MS),
            Latency::Wan => wan(hash),
        }
    }

    /// The latency between a peer and the tracker, one way.
    pub(crate) fn tracker_latency(&self, peer: u32) -> Time {
        self.latency(peer, TRACKER)
    }

    /// Whether these two can have a connection at all.
    pub(crate) fn connects(&self, a: u32, b: u32) -> bool {
        unit(pair(self.seed ^ 0x1ce, a, b)) >= self.model.unreachable
    }

    /// The time from the exchange of both descriptions to an open connection.
    pub(crate) fn ice(rng: &mut StdRng) -> Time {
        rng.random_range(300 * MS..3 * SECOND)
    }

    /// How much later than asked for the timers of a new peer fire: they fire on the next multiple
    /// of this span. 0 for timers that fire on time.
    pub(crate) fn timer_grid(&self, rng: &mut StdRng) -> Time {
        let draw: f64 = rng.random();
        if draw < self.model.very_late {
            60 * SECOND
        } else if draw < self.model.very_late + self.model.late {
            SECOND
        } else {
            0
        }
    }

    /// How long a new connection lasts before it breaks. `None` if connections do not break.
    pub(crate) fn lifetime(&self, rng: &mut StdRng) -> Option<Time> {
        let rate = self.model.resets;
        (rate > 0.0).then(|| {
            let draw: f64 = rng.random();
            from_seconds(-60.0 * (1.0 - draw).ln() / rate)
        })
    }

    /// Whether the partition lets these two talk.
    pub(crate) fn reaches(&self, a: u32, b: u32) -> bool {
        !self.split || self.second_side.contains(a) == self.second_side.contains(b)
    }

    /// Whether these two are on different sides of a partition, be it healed or not.
    pub(crate) fn are_apart(&self, a: u32, b: u32) -> bool {
        self.second_side.contains(a) != self.second_side.contains(b)
    }

    pub(crate) const fn is_split(&self) -> bool {
        self.split
    }

    /// Moves these peers to the second side and splits the network. Returns the links that lead
    /// across.
    pub(crate) fn split(&mut self, peers: &[u32]) -> Vec<u32> {
        for p in peers {
            self.second_side.insert(*p);
        }
        self.split = true;
        let severed = self.connections.iter().enumerate().filter(|(_, it)| {
            let [a, b] = it.ends.map(|end| end.peer);
            it.is_up() && !self.reaches(a, b)
        });
        severed.map(|(c, _)| index(c)).collect()
    }

    pub(crate) const fn heal(&mut self) {
        self.split = false;
    }

    /// Opens a connection. Returns its number and its latency.
    pub(crate) fn open(&mut self, offerer: u32, answerer: u32, token: u64) -> (u32, Time) {
        let latency = self.latency(answerer, offerer);
        let c = index(self.connections.len());
        let connection = Connection::new(offerer, answerer, latency, token);
        self.connections.push(connection);
        (c, latency)
    }

    pub(crate) fn peer_at(&self, c: u32, side: usize) -> u32 {
        self.connections[c as usize].ends[side].peer
    }

    pub(crate) fn stage_at(&self, c: u32, side: usize) -> Stage {
        self.connections[c as usize].ends[side].stage
    }

    /// Whether the mesh of this side counts the link.
    pub(crate) fn is_up_at(&self, c: u32, side: usize) -> bool {
        self.connections[c as usize].ends[side].up
    }

    /// The side of a connection that this peer has: 0 if it offered, 1 if it answered.
    pub(crate) fn side_of(&self, c: u32, peer: u32) -> usize {
        self.connections[c as usize].side_of(peer)
    }

    /// The random number that both sides of a connection know.
    pub(crate) fn token(&self, c: u32) -> u64 {
        self.connections[c as usize].token
    }

    /// The handshakes of this side are done.
    pub(crate) fn admit(&mut self, c: u32, side: usize) {
        self.connections[c as usize].ends[side].stage = Stage::Admitted;
    }

    /// Whether the mesh of this peer counts the link now.
    pub(crate) fn set_up(&mut self, c: u32, peer: u32, up: bool) -> Rise {
        let connection = &mut self.connections[c as usize];
        let side = connection.side_of(peer);
        let (was_whole, was_up) = (connection.is_up(), connection.ends[side].up);
        connection.ends[side].up = up;
        Rise {
            side,
            new: up && !was_up,
            whole: connection.is_up() && !was_whole,
        }
    }

    /// A side has learnt that the connection is closed. Returns false if it was closed before.
    pub(crate) fn close_side(&mut self, c: u32, side: usize) -> bool {
        let end = &mut self.connections[c as usize].ends[side];
        let open = end.stage != Stage::Closed;
        end.stage = Stage::Closed;
        end.up = false;
        open
    }

    /// A side closes the connection, and the other side learns it through the connection.
    pub(crate) fn close(&mut self, c: u32, side: usize, now: Time) -> Closing {
        if !self.close_side(c, side) {
            return Closing::AlreadyClosed;
        }
        let far = 1 - side;
        let connection = &self.connections[c as usize];
        let [own, other] = [side, far].map(|side| connection.ends[side]);
        if other.stage == Stage::Closed || !self.reaches(own.peer, other.peer) {
            return Closing::Unheard;
        }
        let (side, at) = (far as u8, connection.close_at(far, now));
        Closing::Heard { side, at }
    }

    /// When a side learns that the other side closed the connection now.
    pub(crate) fn close_at(&self, c: u32, side: usize, now: Time) -> Time {
        self.connections[c as usize].close_at(side, now)
    }

    /// A peer sends a frame along a connection.
    pub(crate) fn send(
        &mut self,
        c: u32,
        peer: u32,
        now: Time,
        may_drop: bool,
        rng: &mut StdRng,
    ) -> Sent {
        let connection = &self.connections[c as usize];
        let side = connection.side_of(peer);
        let far = 1 - side;
        let other = &connection.ends[far];
        if connection.ends[side].stage != Stage::Admitted {
            return Sent::NotAdmitted;
        }
        if other.stage == Stage::Closed || !self.reaches(peer, other.peer) {
            return Sent::Unheard;
        }
        if may_drop && self.drops(rng) {
            return Sent::Dropped;
        }
        let extra = self.retransmission(connection.latency, rng);
        let connection = &mut self.connections[c as usize];
        match connection.pass(far, now, extra, may_drop) {
            Some(at) => Sent::Arrives {
                side: far as u8,
                at,
            },
            None => Sent::Dropped,
        }
    }

    /// What retransmission adds to the travel time of a frame.
    fn retransmission(&self, latency: Time, rng: &mut StdRng) -> Time {
        let mut extra = 0;
        if self.model.loss > 0.0 {
            while rng.random::<f64>() < self.model.loss && extra < 10 * SECOND {
                extra += (3 * latency).max(200 * MS);
            }
        }
        extra
    }

    /// Whether a slow reader loses a frame that may be dropped.
    fn drops(&self, rng: &mut StdRng) -> bool {
        self.model.dropped > 0.0 && rng.random::<f64>() < self.model.dropped
    }

    /// The peers of each link that both sides count.
    pub(crate) fn links(&self) -> impl Iterator<Item = [u32; 2]> {
        let up = self.connections.iter().filter(|it| it.is_up());
        up.map(|it| it.ends.map(|end| end.peer))
    }
}

/// A latency of the internet, log-normal: half are below 45 ms, one in a hundred is above 180 ms.
fn wan(hash: u64) -> Time {
    let (u, v) = (unit(hash), unit(mix(hash, 1, 2)));
    let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos();
    let ms = (45f64.ln() + 0.6 * normal).exp();
    (ms.clamp(2.0, 500.0) * MS as f64) as Time
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn network(model: NetworkModel) -> (Network, StdRng) {
        (Network::new(model, 1), StdRng::seed_from_u64(1))
    }

    fn admitted(network: &mut Network) -> u32 {
        let (c, _) = network.open(1, 2, 0);
        network.admit(c, 0);
        network.admit(c, 1);
        c
    }

    #[test]
    fn a_pair_has_one_latency_per_seed() {
        for latency in [Latency::Uniform, Latency::Wan] {
            let model = NetworkModel {
                latency,
                ..NetworkModel::default()
            };
            let [first, again, other] = [1, 1, 2].map(|seed| Network::new(model, seed));
            let all =
                |network: &Network| -> Vec<_> { (1..500).map(|p| network.latency(0, p)).collect() };
            assert_eq!(all(&first), all(&again));
            assert_ne!(all(&first), all(&other));
            assert_eq!(first.latency(3, 4), first.latency(4, 3));
            let bounds = 2 * MS..=500 * MS;
            assert!(all(&first).iter().all(|latency| bounds.contains(latency)));
        }
    }

    #[test]
    fn one_pair_in_ten_never_connects() {
        let (network, _) = network(NetworkModel::default());
        let failing = (1..10_000).filter(|p| !network.connects(0, *p)).count();
        assert!((900..1100).contains(&failing), "{failing}");
    }

    #[test]
    fn frames_keep_their_order_when_some_are_sent_again() {
        let (mut network, mut rng) = network(NetworkModel {
            loss: 0.3,
            ..NetworkModel::default()
        });
        let c = admitted(&mut network);
        let mut arrivals = Vec::new();
        for frame in 0..100 {
            match network.send(c, 1, frame * MS, false, &mut rng) {
                Sent::Arrives { side: 1, at } => arrivals.push(at),
                other => panic!("{other:?}"),
            }
        }
        assert!(arrivals.is_sorted());
        assert!(arrivals[99] > 99 * MS + network.latency(1, 2), "some loss");
    }

    #[test]
    fn a_full_outbox_drops_what_may_be_dropped_and_nothing_else() {
        let (mut network, mut rng) = network(NetworkModel::default());
        let c = admitted(&mut network);
        let sent: Vec<_> = (0..2_000)
            .map(|_| network.send(c, 1, 0, true, &mut rng))
            .collect();
        let dropped = sent.iter().filter(|sent| **sent == Sent::Dropped).count();
        assert_eq!(dropped as u64, 2_000 - READ_BURST - OUTBOX - 1);
        let control = network.send(c, 1, 0, false, &mut rng);
        assert!(matches!(control, Sent::Arrives { .. }));
    }

    #[test]
    fn a_partition_severs_the_links_across_it_until_it_heals() {
        let (mut network, mut rng) = network(NetworkModel::default());
        let c = admitted(&mut network);
        assert!(network.set_up(c, 1, true).new);
        assert!(network.set_up(c, 2, true).whole);
        assert_eq!(network.split(&[2]), [c]);
        assert_eq!(network.send(c, 1, 0, false, &mut rng), Sent::Unheard);
        network.heal();
        assert!(network.reaches(1, 2) && network.are_apart(1, 2));
        assert!(matches!(
            network.close(c, 0, SECOND),
            Closing::Heard { side: 1, .. }
        ));
        assert_eq!(network.close(c, 0, SECOND), Closing::AlreadyClosed);
        assert_eq!(network.close(c, 1, SECOND), Closing::Unheard);
        let closed = network.send(c, 1, 0, false, &mut rng);
        assert_eq!(closed, Sent::NotAdmitted);
    }
}
