//! Distances and connections: who can reach whom, how long it takes, what is lost.
//!
//! Everything that belongs to a pair of peers comes from a hash of the pair and the seed, so that it
//! stays the same however often they try.

use std::f64::consts::TAU;

use rand::RngExt;
use rand::rngs::StdRng;

use super::scenario::{Latency, Network};
use super::{MS, SECOND, Time};

/// A frame that found no reader for so long a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The connection is open, the handshakes are under way.
    Open,
    /// The mesh was told of it.
    Admitted,
    Closed,
}

/// One side of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) peer: u32,
    pub(super) stage: Stage,
    /// Its mesh counts it.
    pub(super) up: bool,
    /// When the last frame towards this side arrives: order is kept.
    last: Time,
    /// When its reader has taken all that is under way, and may take more.
    read: Time,
}

/// A connection: a data channel that is open, or was. In one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Conn {
    /// The side that offered, and the other.
    pub(super) ends: [End; 2],
    pub(super) latency: Time,
    pub(super) token: u64,
}

/// Frames that a node takes from one link in a second, and at once.
const READS: Time = 200;
const READ_BURST: Time = 400;

/// Frames that wait at the sender: those of its outbox.
const OUTBOX: Time = 512;

impl Conn {
    pub(super) const fn new(offerer: u32, answerer: u32, latency: Time, token: u64) -> Self {
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

    /// Whether both sides count it.
    pub(super) const fn is_up(&self) -> bool {
        self.ends[0].up && self.ends[1].up
    }

    pub(super) const fn side_of(&self, peer: u32) -> usize {
        if self.ends[0].peer == peer { 0 } else { 1 }
    }

    /// When a frame that leaves now is read at a side; `None` if the queue is full and it may be
    /// dropped.
    pub(super) fn pass(
        &mut self,
        side: usize,
        sent: Time,
        extra: Time,
        may_drop: bool,
    ) -> Option<Time> {
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

    /// When the last frame towards a side arrives, at the earliest one that leaves now.
    pub(super) fn close_at(&self, side: usize, sent: Time) -> Time {
        let end = &self.ends[side];
        let burst = SECOND / READS * READ_BURST;
        (sent + self.latency)
            .max(end.last)
            .max(end.read.saturating_sub(burst))
    }
}

/// A hash of two numbers and a seed (the finalizer of splitmix64).
pub(super) const fn mix(seed: u64, a: u64, b: u64) -> u64 {
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

/// What is between two peers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distances {
    pub(super) seed: u64,
    pub(super) network: Network,
}

/// The number of the tracker among peers.
pub(super) const TRACKER: u32 = u32::MAX;

impl Distances {
    /// One way, in microseconds.
    pub(super) fn latency(&self, a: u32, b: u32) -> Time {
        let hash = pair(self.seed, a, b);
        match self.network.latency {
            Latency::Uniform => 10 * MS + hash % (90 * MS),
            Latency::Wan => wan(hash),
        }
    }

    /// Whether these two can have a connection.
    pub(super) fn connects(&self, a: u32, b: u32) -> bool {
        unit(pair(self.seed ^ 0x1ce, a, b)) >= self.network.unreachable
    }

    /// What retransmission adds to a frame.
    pub(super) fn loss(&self, latency: Time, rng: &mut StdRng) -> Time {
        let mut extra = 0;
        if self.network.loss > 0.0 {
            while rng.random::<f64>() < self.network.loss && extra < 10 * SECOND {
                extra += (3 * latency).max(200 * MS);
            }
        }
        extra
    }

    /// Whether a frame is lost, if it may be.
    pub(super) fn drops(&self, rng: &mut StdRng) -> bool {
        self.network.dropped > 0.0 && rng.random::<f64>() < self.network.dropped
    }

    /// From both descriptions to an open connection.
    pub(super) fn ice(rng: &mut StdRng) -> Time {
        rng.random_range(300 * MS..3 * SECOND)
    }
}

/// Log-normal: half below 45 ms, one in a hundred above 180 ms.
fn wan(hash: u64) -> Time {
    let (u, v) = (unit(hash), unit(mix(hash, 1, 2)));
    let normal = (-2.0 * (1.0 - u).ln()).sqrt() * (TAU * v).cos();
    let ms = (45f64.ln() + 0.6 * normal).exp();
    (ms.clamp(2.0, 500.0) * MS as f64) as Time
}
