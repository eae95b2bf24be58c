//! The mesh in virtual time: the cores of thousands of nodes, with a model of everything between
//! them. In go a [`Scenario`], a number of peers and a seed; out comes a [`Report`]. The same inputs
//! give the same report, to the last event.
//!
//! - `world`: the peers, the connections, the queue of events.
//! - `peer`: the cores of one node, and its driver.
//! - `network`, `tracker`: what lies between nodes.
//! - `steps`: what a scenario lets happen.
//! - `measure`, `report`: what came of it, beside the bars.
//! - `baseline`: what came of it an earlier time.
//! - `check`: what must hold at every step; in debug builds.

mod baseline;
mod check;
mod exchange;
mod index;
mod measure;
mod network;
mod packet;
mod peer;
mod queue;
mod report;
mod scenario;
mod steps;
#[cfg(test)]
mod tests;
mod time;
mod tracker;
mod world;

pub use baseline::Baseline;
pub use report::{Figure, Report};
pub use scenario::Scenario;

/// How far a run is: virtual seconds passed, and in all; peers that live.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Virtual seconds passed.
    pub passed: f64,
    /// Virtual seconds in all.
    pub total: f64,
    /// Living peers.
    pub peers: usize,
}

/// Runs a scenario with so many peers. `progress` is called about once a virtual second; `heap` tells how
/// many bytes are allocated, if what a peer takes is to be measured.
#[must_use]
pub fn run(
    scenario: &Scenario,
    peers: usize,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
    heap: Option<fn() -> usize>,
) -> Report {
    let before = heap.map(|heap| heap());
    let mut world = world::World::new(scenario, peers, seed);
    world.run(progress);
    let memory = before.zip(heap);
    world.report(scenario, peers, seed, memory)
}
