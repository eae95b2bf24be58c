//! One peer's cores and what its driver keeps for them.
//!
//! - `links`: the connections.
//! - `tracker_client`: the conversation with the tracker.

mod links;
mod tracker_client;

use easypeers_core::mesh::{LinkId, Mesh, Settings};
use easypeers_core::message::Signed;
use easypeers_core::signal::{self, AttemptId, Signal};
use easypeers_core::time::Now;

pub(crate) use links::Links;
pub(crate) use tracker_client::{Due, TrackerClient};

use crate::time::{Time, from_duration, to_duration};

/// The cores of a living peer and the state of its driver.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mesh: Mesh,
    pub(crate) signal: Signal,
    pub(crate) tracker: TrackerClient,
    pub(crate) links: Links,
    /// Offers that wait for an answer.
    pub(crate) offers: Vec<(AttemptId, u32)>,
    /// Planned direct messages to receivers whose keys are not known yet.
    pub(crate) without_keys: Vec<u32>,
    /// Messages that the peer has signed.
    pub(crate) sequence: u64,
    /// The peer is busy until then: signatures take time.
    pub(crate) clock: Time,
    /// When the next wake-up is planned.
    wake: Time,
    /// The cores count time from here.
    born: Time,
}

impl Node {
    pub(crate) fn new(mesh: Settings, signal: signal::Settings, born: Time) -> Self {
        Self {
            mesh: Mesh::new(mesh),
            signal: Signal::new(signal),
            tracker: TrackerClient::new(),
            links: Links::default(),
            offers: Vec::new(),
            without_keys: Vec::new(),
            sequence: 0,
            clock: born,
            wake: Time::MAX,
            born,
        }
    }

    /// The time as the cores count it.
    pub(crate) const fn now(&self) -> Now {
        to_duration(self.clock - self.born)
    }

    pub(crate) fn deadline(&self) -> Time {
        let cores = [self.mesh.poll_timeout(), self.signal.poll_timeout()];
        let cores = cores.into_iter().flatten().min();
        let cores = cores.map_or(Time::MAX, |due| {
            self.born.saturating_add(from_duration(due))
        });
        cores.min(self.tracker.due(self.born))
    }

    /// Plans a wake-up. Returns false if an earlier one is planned: that one plans the next.
    pub(crate) const fn plan_wake(&mut self, due: Time) -> bool {
        let earlier = due < self.wake;
        if earlier {
            self.wake = due;
        }
        earlier
    }

    /// A wake-up happens. Returns false if another one was planned in its place.
    pub(crate) const fn take_wake(&mut self, now: Time) -> bool {
        let planned = self.wake == now;
        if planned {
            self.wake = Time::MAX;
        }
        planned
    }

    /// Whether a wake-up is planned for a timer of the cores.
    pub(crate) fn is_awaited(&self) -> bool {
        let due = self.mesh.poll_timeout().min(self.signal.poll_timeout());
        self.wake < Time::MAX && due.is_some()
    }

    /// Whether the mesh counts this connection as a link.
    pub(crate) fn counts(&self, conn: u32) -> bool {
        self.mesh.up_peer(LinkId(conn.into())).is_some()
    }

    /// Whether the mesh would take this message.
    pub(crate) fn takes(&self, message: &Signed) -> bool {
        !self.mesh.knows(&message.id) && self.mesh.is_within_rate(self.now(), message.origin)
    }

    /// Drops the node and returns how many bytes its cores took.
    pub(crate) fn weigh(self, heap: fn() -> usize) -> usize {
        let Self { mesh, signal, .. } = self;
        let inline = size_of::<Mesh>() + size_of::<Signal>();
        let before = heap();
        drop((mesh, signal));
        inline + before.saturating_sub(heap())
    }
}
