//! A simulator of the mesh in virtual time. It runs the cores of thousands of peers and models
//! everything between them. In: a [`Scenario`], a number of peers and a seed. Out: a [`Report`]. The
//! same inputs give the same report, down to the last event.
//!
//! The parts, each of which uses only those below it:
//!
//! ```text
//! run              takes the events in order and hands each to its part
//!  └─ script       does the steps of the scenario
//!      └─ lifecycle        starts and stops peers
//!          └─ connections  opens, severs and closes connections, delivers packets
//!              └─ turn     gives one peer its turn: the driver of the cores
//!                  └─ world    composes the parts:
//!                      ├─ queue, event    the events by time
//!                      ├─ network         latency, loss, connections, partitions
//!                      ├─ packet          packets under way
//!                      ├─ exchange        offers and answers under way
//!                      ├─ tracker         the tracker
//!                      ├─ peers, node     all peers, and the cores of each
//!                      ├─ measure, graph  what is measured
//!                      └─ check           rules that must hold at every step, in debug builds
//!
//! scenario         reads the files: the network, the steps, the bars
//! report           compares the measures of a run with the bars
//! baseline         compares a report with that of an earlier run
//! ```

#![deny(missing_docs)]

mod baseline;
mod check;
mod connections;
mod event;
mod exchange;
mod graph;
mod index;
mod lifecycle;
mod measure;
mod network;
mod node;
mod packet;
mod peers;
mod queue;
mod report;
mod run;
mod scenario;
mod script;
#[cfg(test)]
mod tests;
mod time;
mod tracker;
mod turn;
mod world;

pub use baseline::Baseline;
pub use report::{Figure, Report};
pub use run::Progress;
pub use scenario::Scenario;

/// Runs a scenario with this number of peers.
///
/// `progress` is called about once a virtual second. `heap` returns how many bytes are allocated. With
/// it, the report says how much memory a peer takes.
#[must_use]
pub fn run(
    scenario: &Scenario,
    peers: usize,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
    heap: Option<fn() -> usize>,
) -> Report {
    let before = heap.map(|heap| heap());
    let mut run = run::Run::new(scenario, peers, seed);
    run.run(progress);
    run.report(scenario, peers, seed, before.zip(heap))
}
