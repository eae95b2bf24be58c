//! One peer's cores and what its driver keeps for them.
//!
//! - `links`: the connections.
//! - `tracker_client`: the conversation with the tracker.
//!
//! In: inputs for the cores. Out: the outputs of both cores in the order in which they must be done.

mod links;
mod tracker_client;

use easypeers_core::mesh::{self, LinkId, Mesh};
use easypeers_core::message::Signed;
use easypeers_core::schedule::Deficit;
use easypeers_core::signal::{self, AttemptId, Signal};
use easypeers_core::time::Now;
use easypeers_core::tracker::TrackerId;
use easypeers_proto::{MessageId, PeerId};

pub(crate) use links::Links;
pub(crate) use tracker_client::{Due, TrackerClient};

use crate::time::{Time, from_duration, to_duration};

/// The tracker, as the cores name it.
pub(crate) const TRACKER: TrackerId = TrackerId::new(0);

/// What a core wants done.
#[derive(Debug)]
pub(crate) enum Output {
    Mesh(mesh::Output),
    Signal(signal::Output),
}

/// The cores of a living peer and the state of its driver.
#[derive(Debug)]
pub(crate) struct Node {
    mesh: Mesh,
    signal: Signal,
    pub(crate) tracker: TrackerClient,
    pub(crate) links: Links,
    /// Offers that wait for an answer.
    offers: Vec<(AttemptId, u32)>,
    /// Planned direct messages to receivers whose keys are not known yet.
    without_keys: Vec<u32>,
    /// Messages that the peer has signed.
    sequence: u64,
    /// The peer is busy until then: signatures take time.
    clock: Time,
    /// When the next wake-up is planned.
    wake: Time,
    /// The cores count time from here.
    born: Time,
}

impl Node {
    pub(crate) fn new(mesh: mesh::Settings, signal: signal::Settings, born: Time) -> Self {
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

    /// The time as the peer has it: later than that of the run while the peer is busy.
    pub(crate) const fn clock(&self) -> Time {
        self.clock
    }

    /// The time of the run is this now.
    pub(crate) fn catch_up(&mut self, now: Time) {
        self.clock = self.clock.max(now);
    }

    /// The peer is busy for this time.
    pub(crate) const fn work(&mut self, span: Time) {
        self.clock += span;
    }

    /// The time as the cores count it.
    pub(crate) const fn now(&self) -> Now {
        to_duration(self.clock - self.born)
    }

    pub(crate) fn mesh(&mut self, input: mesh::Input) {
        let now = self.now();
        self.mesh.handle(now, input);
    }

    pub(crate) fn signal(&mut self, input: signal::Input) {
        let now = self.now();
        let mesh = &self.mesh;
        self.signal.handle(now, input, |peer| {
            mesh.is_neighbor(*peer) || mesh.is_banned(*peer)
        });
    }

    /// Tells the signalling core that its timer is due. Returns false if it is not.
    pub(crate) fn signal_timeout(&mut self) -> bool {
        let now = self.now();
        let due = self.signal.poll_timeout().is_some_and(|due| due <= now);
        if due {
            self.signal(signal::Input::Timeout);
        }
        due
    }

    /// The next output of a core.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.mesh.poll_output() {
                return Some(Output::Mesh(output));
            }
            if let Some(output) = self.signal.poll_output() {
                return Some(Output::Signal(output));
            }
            // The signalling core must learn which connections the mesh has begun to count.
            let mesh = &self.mesh;
            let up = |c: u32| mesh.up_peer(LinkId(c.into()));
            let (attempt, peer) = self.links.take_opened(up)?;
            self.signal(signal::Input::AttemptOpened { attempt, peer });
        }
    }

    /// The description of an offer is ready.
    pub(crate) fn on_offer_made(&mut self, attempt: AttemptId, offer: u32) {
        self.offers.push((attempt, offer));
        let sdp = offer.to_string().into();
        self.signal(signal::Input::OfferMade { attempt, sdp });
    }

    /// An offer waits no longer. Returns false if it did not wait.
    pub(crate) fn take_offer(&mut self, attempt: AttemptId) -> bool {
        let at = self.offers.iter().position(|(a, _)| *a == attempt);
        at.map(|at| self.offers.swap_remove(at)).is_some()
    }

    /// A planned direct message waits for its receiver's keys.
    pub(crate) fn await_keys(&mut self, direct: u32) {
        self.without_keys.push(direct);
    }

    /// Takes all direct messages that wait for keys.
    pub(crate) fn take_without_keys(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.without_keys)
    }

    /// The sequence number of the next message.
    pub(crate) const fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
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

    /// Whether the mesh has this message.
    pub(crate) fn knows(&self, id: &MessageId) -> bool {
        self.mesh.knows(id)
    }

    /// Whether the mesh takes another message of this author now.
    pub(crate) fn is_within_rate(&self, author: PeerId) -> bool {
        self.mesh.is_within_rate(self.now(), author)
    }

    /// Links that the mesh counts.
    pub(crate) fn degree(&self) -> usize {
        self.mesh.neighbors().count()
    }

    /// Links that the mesh would accept from others.
    pub(crate) fn acceptable_links(&self) -> usize {
        self.mesh.acceptable_links()
    }

    /// How urgently the peer needs links.
    pub(crate) fn deficit(&self) -> Deficit {
        let mesh = &self.mesh;
        Deficit::new(self.degree(), mesh.max_peers(), mesh.swarm_size())
    }

    /// The tracker may be sent an announce.
    pub(crate) fn announce_due(&mut self) {
        self.signal(signal::Input::Due {
            tracker: TRACKER,
            offers_to_publish: self.mesh.offers_to_publish(),
            open_links: self.degree(),
        });
    }

    /// The tracker said how many members the swarm has.
    pub(crate) fn on_swarm_size(&mut self, size: usize) {
        self.mesh(mesh::Input::SwarmSize(size));
        let tracker = TRACKER;
        self.signal(signal::Input::SwarmSize { tracker, size });
    }

    /// Whether the mesh would take this message.
    pub(crate) fn takes(&self, message: &Signed) -> bool {
        !self.knows(&message.id) && self.is_within_rate(message.origin)
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

#[cfg(test)]
mod tests {
    use easypeers_core::rate::AUTHOR_RATE;
    use easypeers_core::topology::BROWSER_FLIP_INTERVAL;
    use easypeers_proto::crypto::PublicKeys;

    use super::*;
    use crate::time::{MS, SECOND};

    fn node(born: Time) -> Node {
        let keys = PublicKeys::new([1; 64]);
        let me = keys.address();
        let mesh = mesh::Settings {
            me,
            keys,
            started_ms: 0,
            max_peers: 6,
            rate: AUTHOR_RATE,
            history: to_duration(0),
            flip_interval: BROWSER_FLIP_INTERVAL,
            seed: 1,
        };
        Node::new(mesh, signal::Settings { me, seed: 1 }, born)
    }

    #[test]
    fn a_later_wake_up_is_not_planned_twice() {
        let mut node = node(SECOND);
        assert!(node.plan_wake(9 * SECOND));
        assert!(!node.plan_wake(10 * SECOND));
        assert!(node.plan_wake(8 * SECOND));
        assert!(!node.take_wake(9 * SECOND), "replaced");
        assert!(node.take_wake(8 * SECOND));
        assert!(node.plan_wake(10 * SECOND));
    }

    #[test]
    fn a_busy_peer_is_ahead_of_the_run() {
        let mut node = node(SECOND);
        node.work(5 * MS);
        node.catch_up(SECOND + 3 * MS);
        assert_eq!(node.clock(), SECOND + 5 * MS);
        assert_eq!(node.now(), to_duration(5 * MS));
    }

    #[test]
    fn offers_are_made_announced_and_taken_once() {
        let mut node = node(0);
        node.announce_due();
        let mut offers = Vec::new();
        while let Some(output) = node.poll_output() {
            if let Output::Signal(signal::Output::MakeOffer { attempt }) = output {
                offers.push(attempt);
            }
        }
        assert!(!offers.is_empty());
        for (number, attempt) in (0..).zip(&offers) {
            node.on_offer_made(*attempt, number);
        }
        let announced = std::iter::from_fn(|| node.poll_output()).find_map(|output| match output {
            Output::Signal(signal::Output::Announce { offers, .. }) => Some(offers.len()),
            _ => None,
        });
        assert_eq!(announced, Some(offers.len()));
        assert!(node.take_offer(offers[0]));
        assert!(!node.take_offer(offers[0]));
    }
}
