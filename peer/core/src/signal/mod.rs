//! Signalling: which offers to make and to announce, which to answer, when to give an attempt up. A
//! pure core like the mesh: [`Input`]s and the time go in by [`Signal::handle`], [`Output`]s come out
//! of [`Signal::poll_output`].
//!
//! - Offers are made when a tracker is due, at most as many as links are wanted, and kept in a pool:
//!   one that found no answer goes out again, to any tracker, until it is too old. The first answer
//!   takes it.
//! - Offers of others are answered while links are wanted, a bounded number a minute, and not those
//!   of neighbours, of peers that are being connected to already, or of peers that just failed.
//!
//! - `interface`: what goes in and comes out.
//! - `offers`: those of ours, for whoever answers first.
//! - `economy`: how many an announce is worth.
//!
//! Invariants: one attempt to answer a peer at a time; no more attempts than links wanted, those that
//! the mesh asks for aside; every attempt ends, by its driver or by its deadline; every map is bounded.

mod economy;
mod interface;
mod offers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::{OfferId, PeerId};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use crate::time::Now;
use crate::tracker::TrackerId;
use economy::Economy;

pub use interface::{AttemptId, Input, Output, Settings, Via};

/// Age at which an offer is dropped. Trackers and NATs forget after about a minute.
const OFFER_AGE: Duration = Duration::from_secs(50);

/// Deadline of whoever makes an offer or an answer.
const MAKE: Duration = Duration::from_secs(20);

/// Deadline of a connection, its handshakes included.
const OPEN: Duration = Duration::from_secs(70);

/// Answers a minute, in all and to one peer.
const ANSWERS: usize = 10;
const ANSWERS_EACH: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);

/// A peer that failed is not answered for so long: the first, the second and each further time.
const SHUNNED: [Duration; 3] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// Peers whose failures are remembered, and for how long.
const FAILURES: u32 = 1024;
const FAILURE_AGE: Duration = Duration::from_secs(600);

/// Offers of others that were answered, so that one that comes twice is answered once. One that was not
/// may be the next time.
const OFFERS_TAKEN: u32 = 1024;

/// Where an attempt stands.
#[derive(Debug)]
enum Stage {
    /// Our offer is being made.
    Offering,
    /// Our offer waits for an answer.
    Offered { offer_id: OfferId, sdp: Arc<str> },
    /// Our answer is being made.
    Answering {
        via: Via,
        peer: PeerId,
        offer_id: OfferId,
    },
    /// Both descriptions are exchanged.
    Opening { peer: PeerId },
}

#[derive(Debug)]
struct Attempt {
    stage: Stage,
    deadline: Now,
    /// The exchange that it belongs to, if it is one over the mesh.
    exchange: Option<OfferId>,
    /// Whom our offer is for, if it is for one peer only.
    invited: Option<PeerId>,
}

impl Attempt {
    const fn peer(&self) -> Option<PeerId> {
        match self.stage {
            Stage::Offering | Stage::Offered { .. } => self.invited,
            Stage::Answering { peer, .. } | Stage::Opening { peer } => Some(peer),
        }
    }
}

/// A tracker that waits for offers.
#[derive(Debug)]
struct Waiting {
    tracker: TrackerId,
    deadline: Now,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: usize,
    until: Now,
}

/// The core.
#[derive(Debug)]
pub struct Signal {
    me: PeerId,
    attempts: Map<AttemptId, Attempt>,
    next: u64,
    /// Announces since the last link was lost.
    alone: usize,
    waiting: Vec<Waiting>,
    /// Answers of the last minute.
    answered: VecDeque<(Now, PeerId)>,
    offers_taken: ExpiringMap<(PeerId, OfferId), ()>,
    failures: ExpiringMap<PeerId, Failures>,
    economy: Economy,
    rng: StdRng,
    /// When something is due, as of the last input.
    due: Option<Now>,
    out: VecDeque<Output>,
}

impl Signal {
    pub fn new(settings: Settings) -> Self {
        Self {
            me: settings.me,
            attempts: Map::default(),
            next: 0,
            alone: 0,
            waiting: Vec::new(),
            answered: VecDeque::new(),
            offers_taken: ExpiringMap::new(OFFERS_TAKEN, OFFER_AGE + MINUTE),
            failures: ExpiringMap::new(FAILURES, FAILURE_AGE),
            economy: Economy::default(),
            rng: StdRng::seed_from_u64(settings.seed),
            due: None,
            out: VecDeque::new(),
        }
    }

    /// Takes an input. Follow with [`poll_output`](Self::poll_output).
    pub fn handle(&mut self, now: Now, input: Input, is_neighbor: impl Fn(&PeerId) -> bool) {
        self.take(now, input, is_neighbor);
        self.due = self.next_due();
    }

    fn take(&mut self, now: Now, input: Input, is_neighbor: impl Fn(&PeerId) -> bool) {
        self.expire(now);
        match input {
            Input::Due {
                tracker,
                want,
                links,
            } => {
                self.alone = if links == 0 { self.alone + 1 } else { 0 };
                let want = self.economy.offers(now, want, links);
                self.on_due(now, tracker, want);
            }
            Input::TrackerLost(tracker) => self.economy.note_lost(tracker),
            Input::SwarmSize { tracker, size } => {
                self.economy.note_size(now, tracker, size, &mut self.rng);
                self.offers_taken.expire(now);
                self.failures.expire(now);
            }
            Input::SameMesh => self.economy.note_same_mesh(),
            Input::OfferMade { attempt, sdp } => self.on_offer_made(now, attempt, sdp),
            Input::OfferFailed { attempt } | Input::AnswerFailed { attempt } => {
                self.fail(now, attempt);
            }
            Input::Offer {
                via,
                peer,
                offer_id,
                sdp,
                want,
            } => {
                let new = !self.offers_taken.contains(&(peer, offer_id));
                let mesh = via == Via::Mesh;
                let exchange = mesh.then_some(offer_id);
                if new && !is_neighbor(&peer) && self.answers(now, peer, want, mesh) {
                    self.offers_taken.insert(now, (peer, offer_id), ());
                    if !mesh {
                        self.answered.push_back((now, peer));
                    }
                    let stage = Stage::Answering {
                        via,
                        peer,
                        offer_id,
                    };
                    let attempt = self.start(now + MAKE, stage, exchange);
                    self.out
                        .push_back(Output::MakeAnswer { attempt, peer, sdp });
                } else if let Some(exchange) = exchange {
                    self.out.push_back(Output::ExchangeFailed(exchange));
                }
            }
            Input::Invite { peer, offer_id } => {
                if is_neighbor(&peer) || self.is_connecting(peer) {
                    self.out.push_back(Output::ExchangeFailed(offer_id));
                } else {
                    let attempt = self.start(now + MAKE, Stage::Offering, Some(offer_id));
                    if let Some(attempt) = self.attempts.get_mut(&attempt) {
                        attempt.invited = Some(peer);
                    }
                    self.out.push_back(Output::MakeOffer { attempt });
                }
            }
            Input::Withdraw(offer_id) => self.withdraw(offer_id),
            Input::AnswerMade { attempt, sdp } => self.on_answer_made(now, attempt, sdp),
            Input::Answer {
                peer,
                offer_id,
                sdp,
            } => self.on_answer(now, peer, offer_id, sdp, is_neighbor(&peer)),
            Input::ServersChanged => self.renew_offers(now),
            Input::AttemptOpened { attempt, peer } => {
                self.attempts.remove(&attempt);
                if let Some(failures) = self.failures.get_mut(&peer) {
                    failures.count = 0;
                    failures.until = now;
                }
            }
            Input::AttemptFailed { attempt } => self.fail(now, attempt),
            Input::Timeout => {}
        }
        if let Some(tracker) = self.economy.probe(now, &mut self.rng) {
            self.on_due(now, tracker, 1);
        }
        self.announce(now);
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due, at the latest.
    pub const fn poll_timeout(&self) -> Option<Now> {
        self.due
    }

    fn next_due(&self) -> Option<Now> {
        let attempts = self.attempts.values().map(|attempt| attempt.deadline);
        let waiting = self.waiting.iter().map(|waiting| waiting.deadline);
        let probe = self.economy.next_probe();
        attempts.chain(waiting).chain(probe).min()
    }

    fn start(&mut self, deadline: Now, stage: Stage, exchange: Option<OfferId>) -> AttemptId {
        let id = AttemptId(self.next);
        self.next += 1;
        let attempt = Attempt {
            stage,
            deadline,
            exchange,
            invited: None,
        };
        self.attempts.insert(id, attempt);
        id
    }

    fn withdraw(&mut self, offer_id: OfferId) {
        let offered = self.attempts.iter().find(|(_, attempt)| {
            attempt.exchange == Some(offer_id)
                && matches!(attempt.stage, Stage::Offering | Stage::Offered { .. })
        });
        if let Some(attempt) = offered.map(|(id, _)| *id) {
            self.attempts.remove(&attempt);
            self.out.push_back(Output::Drop { attempt });
        }
    }

    fn is_connecting(&self, peer: PeerId) -> bool {
        let mut peers = self.attempts.values().map(Attempt::peer);
        peers.any(|other| other == Some(peer))
    }

    /// Attempts that may become links.
    fn busy(&self) -> usize {
        self.attempts
            .values()
            .filter(|attempt| attempt.peer().is_some())
            .count()
    }

    /// Whether an offer of this peer is taken.
    fn answers(&mut self, now: Now, peer: PeerId, want: usize, mesh: bool) -> bool {
        while let Some((at, _)) = self.answered.front()
            && now.saturating_sub(*at) >= MINUTE
        {
            self.answered.pop_front();
        }
        let shunned = self
            .failures
            .get(&peer)
            .is_some_and(|failures| now < failures.until);
        let to_it = self
            .answered
            .iter()
            .filter(|(_, other)| *other == peer)
            .count();
        // Members ask for what comes over the mesh, and are let in for that.
        let rates = mesh || self.answered.len() < ANSWERS && to_it < ANSWERS_EACH;
        peer != self.me
            && want > 0
            && self.busy() < want
            && rates
            && !shunned
            && !self.is_connecting(peer)
    }

    fn on_answer_made(&mut self, now: Now, id: AttemptId, sdp: String) {
        match self.attempts.get_mut(&id) {
            Some(attempt) => {
                let Stage::Answering {
                    via,
                    peer,
                    offer_id,
                } = attempt.stage
                else {
                    return;
                };
                attempt.stage = Stage::Opening { peer };
                attempt.deadline = now + OPEN;
                self.out.push_back(Output::SendAnswer {
                    via,
                    peer,
                    offer_id,
                    sdp,
                });
            }
            None => self.out.push_back(Output::Drop { attempt: id }),
        }
    }

    fn on_answer(
        &mut self,
        now: Now,
        peer: PeerId,
        offer_id: OfferId,
        sdp: String,
        is_neighbor: bool,
    ) {
        if peer == self.me || is_neighbor {
            return;
        }
        // Late, second, or made up: the offer is not there.
        let offered = self.attempts.iter_mut().find(|(_, attempt)| {
            let answers = attempt.invited.is_none_or(|invited| invited == peer);
            answers
                && matches!(&attempt.stage, Stage::Offered { offer_id: ours, .. } if *ours == offer_id)
        });
        if let Some((id, attempt)) = offered {
            attempt.stage = Stage::Opening { peer };
            attempt.deadline = now + OPEN;
            let attempt = *id;
            self.out.push_back(Output::Accept { attempt, peer, sdp });
        }
    }

    fn fail(&mut self, now: Now, id: AttemptId) {
        let Some(attempt) = self.attempts.remove(&id) else {
            return;
        };
        if let Some(exchange) = attempt.exchange {
            self.out.push_back(Output::ExchangeFailed(exchange));
        }
        let Some(peer) = attempt.peer() else {
            return;
        };
        let count = self
            .failures
            .get(&peer)
            .map_or(0, |failures| failures.count);
        let shunned = SHUNNED[count.min(SHUNNED.len() - 1)];
        let failures = Failures {
            count: count + 1,
            until: now + shunned,
        };
        self.failures.insert(now, peer, failures);
    }

    fn expire(&mut self, now: Now) {
        let due: Vec<AttemptId> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for attempt in due {
            self.fail(now, attempt);
            self.out.push_back(Output::Drop { attempt });
        }
    }
}
