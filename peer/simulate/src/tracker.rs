//! A tracker as ours is: it hands the i-th offer of an announce to the i-th of some distinct random
//! peers, passes answers back, names an interval; and the part of a peer that talks to it, which does
//! what the task of [`crate::tracker`] does.

use rand::RngExt;

use super::index::index;
use super::peer::Turn;
use super::time::{MS, SECOND, Time, from_duration, to_duration};
use super::world::{What, World};
use easypeers_core::schedule::{Backoff, Deficit, Schedule};
use easypeers_core::signal::{Input, Via};
use easypeers_core::tracker::TrackerId;

/// What the tracker asks for.
const INTERVAL: Time = 120 * SECOND;

/// Receivers of one announce's offers.
const MAX_OFFERS: usize = 10;

/// What the user of a peer wants: its default.
const OWN: Time = 30 * SECOND;

/// A connection that lasted so long was a good one.
const GOOD: Time = 30 * SECOND;

/// The one tracker.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) up: bool,
    members: Vec<u32>,
}

impl Tracker {
    pub(super) const fn new() -> Self {
        Self {
            up: true,
            members: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Until then.
    Down(Time),
    Connecting,
    Up(Time),
}

/// The tracker as a peer sees it.
#[derive(Debug)]
pub(super) struct Client {
    schedule: Schedule,
    backoff: Backoff,
    state: State,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            schedule: Schedule::new(to_duration(OWN), Deficit::Alone),
            backoff: Backoff::default(),
            state: State::Down(0),
        }
    }

    const fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// When it is to be looked at; times of the schedule count from the peer's birth.
    pub(super) fn due(&self, born: Time) -> Time {
        match self.state {
            State::Down(retry) => retry,
            State::Connecting => Time::MAX,
            State::Up(_) => born + from_duration(self.schedule.due()),
        }
    }
}

impl Turn<'_> {
    fn tell_tracker(&mut self, what: What) {
        let latency = self.world.network.tracker_latency(self.p);
        self.world.queue.push(self.core.clock + latency, what);
    }

    pub(super) fn tend_tracker(&mut self) {
        let now = self.core.clock;
        if self.core.client.due(self.born()) > now {
            return;
        }
        match self.core.client.state {
            State::Down(_) => {
                self.core.client.state = State::Connecting;
                // TCP, TLS and the upgrade: a round trip each.
                let latency = self.world.network.tracker_latency(self.p);
                let connected = What::Connected(self.p);
                self.world.queue.push(now + 6 * latency, connected);
            }
            State::Connecting => {}
            State::Up(_) => {
                self.core.client.schedule.asked(self.now());
                let mesh = &self.core.mesh;
                let due = Input::Due {
                    tracker: TrackerId::new(0),
                    offers_to_publish: mesh.offers_to_publish(),
                    open_links: mesh.neighbors().count(),
                };
                self.signal(due);
            }
        }
    }

    pub(super) fn on_connected(&mut self) {
        if self.world.tracker.up {
            self.core.client.state = State::Up(self.core.clock);
            let now = self.now();
            self.core.client.schedule.connected(now);
        } else {
            self.core.client.state = State::Down(0);
            self.retry();
        }
    }

    pub(super) fn on_lost(&mut self) {
        if let State::Up(since) = self.core.client.state {
            if self.core.clock > since + GOOD {
                self.core.client.backoff.reset();
            }
            self.signal(Input::TrackerLost(TrackerId::new(0)));
            self.retry();
        }
    }

    fn retry(&mut self) {
        let random = self.world.rng.random();
        let deficit = self.core.client.schedule.deficit();
        let pause = self.core.client.backoff.next(deficit, random);
        self.core.client.state = State::Down(self.core.clock + from_duration(pause));
    }

    pub(super) fn on_interval(&mut self) {
        self.core.client.schedule.interval(to_duration(INTERVAL));
        let (tracker, size) = (TrackerId::new(0), self.world.tracker.members.len());
        self.mesh(easypeers_core::mesh::Input::SwarmSize(size));
        self.signal(Input::SwarmSize { tracker, size });
        self.tell_need();
    }

    pub(super) fn tell_need(&mut self) {
        let mesh = &self.core.mesh;
        let links = mesh.neighbors().count();
        let deficit = Deficit::new(links, mesh.max_peers(), mesh.swarm_size());
        let now = self.now();
        let random = self.world.rng.random();
        self.core.client.schedule.set_deficit(deficit, now, random);
    }

    /// Sends an announce with these offers, if there is a connection.
    pub(super) fn announce(&mut self, offers: Vec<u32>) {
        if self.core.client.is_up() {
            let now = self.now();
            let random = self.world.rng.random();
            self.core.client.schedule.announced(now, random);
            self.world.announces += 1;
            let offers = index(self.world.announced.insert(offers));
            self.tell_tracker(What::Announce {
                peer: self.p,
                offers,
            });
        }
    }

    /// Sends an answer, if there is a connection.
    pub(super) fn answer_by_tracker(&mut self, answer: u32) {
        if self.core.client.is_up() {
            self.tell_tracker(What::AnswerAtTracker(answer));
        }
    }

    pub(super) fn on_tracker_offer(&mut self, offer: u32) {
        if !self.core.client.is_up() {
            return;
        }
        let made = self.world.exchanges.offered(offer);
        let input = Input::Offer {
            via: Via::Tracker(TrackerId::new(0)),
            peer: self.world.peers[made.peer as usize].id,
            offer_id: made.id,
            sdp: offer.to_string(),
            acceptable_links: self.core.mesh.acceptable_links(),
        };
        self.signal(input);
    }

    pub(super) fn on_tracker_answer(&mut self, answer: u32) {
        if !self.core.client.is_up() {
            return;
        }
        let made = self.world.exchanges.answered(answer);
        let offer = self.world.exchanges.offered(made.offer);
        let input = Input::Answer {
            peer: self.world.peers[made.peer as usize].id,
            offer_id: offer.id,
            sdp: answer.to_string(),
        };
        self.signal(input);
    }
}

impl World {
    fn tracker_tells(&mut self, to: u32, what: What) {
        let latency = self.network.tracker_latency(to);
        self.queue.push(self.now + latency, what);
    }

    /// An announce reaches the tracker.
    pub(super) fn on_announce(&mut self, peer: u32, offers: u32) {
        let offers = self.announced.try_remove(offers as usize);
        let offers = offers.unwrap_or_default();
        let known = &mut self.peers[peer as usize];
        if !self.tracker.up || !known.alive {
            return;
        }
        if known.member_at.is_none() {
            known.member_at = Some(self.tracker.members.len());
            self.tracker.members.push(peer);
        }
        let receivers = self.receivers(peer, offers.len().min(MAX_OFFERS));
        for (offer, to) in offers.into_iter().zip(receivers) {
            self.tracker_tells(to, What::OfferFromTracker { offer, to });
        }
        self.tracker_tells(peer, What::Interval(peer));
    }

    /// Distinct members at random, none of them the peer itself, all on its side of a partition.
    fn receivers(&mut self, peer: u32, count: usize) -> Vec<u32> {
        let mut chosen = Vec::with_capacity(count);
        let members = self.tracker.members.len();
        // Enough tries to find those that there are, in all but a swarm that is split very unevenly.
        for _ in 0..count * 8 {
            if chosen.len() == count {
                break;
            }
            let other = self.tracker.members[self.rng.random_range(0..members)];
            if other != peer && !chosen.contains(&other) && self.network.reaches(peer, other) {
                chosen.push(other);
            }
        }
        chosen
    }

    pub(super) fn on_answer_at_tracker(&mut self, answer: u32) {
        let to = self.exchanges.offerer(answer);
        if self.tracker.up {
            self.tracker_tells(to, What::AnswerFromTracker { answer, to });
        }
    }

    /// A peer's connection to the tracker is gone.
    pub(super) fn on_gone(&mut self, peer: u32) {
        if let Some(at) = self.peers[peer as usize].member_at.take() {
            self.tracker.members.swap_remove(at);
            if let Some(moved) = self.tracker.members.get(at) {
                self.peers[*moved as usize].member_at = Some(at);
            }
        }
    }

    /// The tracker stops, and all connections to it with it, or comes back.
    pub(super) fn set_tracker(&mut self, up: bool) {
        self.tracker.up = up;
        self.disturb();
        if !up {
            for member in std::mem::take(&mut self.tracker.members) {
                self.peers[member as usize].member_at = None;
            }
            for at in 0..self.live.len() {
                let peer = self.live[at];
                self.queue.push(self.now + 50 * MS, What::Lost(peer));
            }
        }
    }
}
