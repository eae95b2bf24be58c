//! Signalling: which offers to make and to publish, which offers of other peers to answer, and when to
//! give an attempt up. A pure core like the mesh: [`Input`]s and the time go into [`Signal::handle`],
//! [`Output`]s come out of [`Signal::poll_output`].
//!
//! - `offer_policy`: how many offers an announce is worth.
//! - `offers`: the pool of public offers, from which the first answer takes one, and the trackers that
//!   wait for an announce.
//! - `answers`: which offers of other peers may be answered.
//! - `attempts`: attempts with a known peer, and how many of them there may be.
//! - `interface`: what goes in and comes out.
//!
//! [`Signal`] owns these states, hands each input to them, and carries what one of them returns to the
//! next.
//!
//! Invariants: at most one attempt to answer a peer at a time. No more attempts than acceptable links,
//! except for those that the mesh asks for. The driver or a deadline ends every attempt. Every map is
//! bounded.

mod answers;
mod attempts;
mod interface;
mod offer_policy;
mod offers;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::{OfferId, PeerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::time::Now;
use crate::tracker::TrackerId;
use answers::Answers;
use attempts::{Attempts, Ended};
use offer_policy::OfferPolicy;
use offers::Offers;

pub use interface::{AttemptId, Input, Output, Settings, Via};

/// Age at which a public offer is dropped. Trackers and NATs forget after about a minute.
const OFFER_AGE: Duration = Duration::from_secs(50);

/// How long making an offer or an answer may take.
const MAKING_TIMEOUT: Duration = Duration::from_secs(20);

/// The signalling core of one peer in one swarm.
#[derive(Debug)]
pub struct Signal {
    me: PeerId,
    attempts: Attempts,
    offers: Offers,
    answers: Answers,
    policy: OfferPolicy,
    rng: StdRng,
    /// When something is due, as of the last input.
    due: Option<Now>,
    out: VecDeque<Output>,
}

impl Signal {
    /// A core without attempts, offers or trackers.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            me: settings.me,
            attempts: Attempts::default(),
            offers: Offers::default(),
            answers: Answers::default(),
            policy: OfferPolicy::default(),
            rng: StdRng::seed_from_u64(settings.seed),
            due: None,
            out: VecDeque::new(),
        }
    }

    /// Takes an input. `is_neighbor` says whether this peer has a link to another. Call
    /// [`poll_output`](Self::poll_output) afterwards until it returns `None`.
    pub fn handle(&mut self, now: Now, input: Input, is_neighbor: impl Fn(&PeerId) -> bool) {
        self.expire(now);
        self.dispatch(now, input, is_neighbor);
        if let Some(tracker) = self.policy.probe(now, &mut self.rng) {
            self.plan_announce(now, tracker, 1);
        }
        self.out.extend(self.offers.announce(now));
        self.due = self.next_due();
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`Input::Timeout`] is due, at the latest.
    pub const fn poll_timeout(&self) -> Option<Now> {
        self.due
    }

    fn dispatch(&mut self, now: Now, input: Input, is_neighbor: impl Fn(&PeerId) -> bool) {
        match input {
            Input::Due {
                tracker,
                offers_to_publish,
                open_links,
            } => {
                self.offers.note_links(open_links);
                let offers = self.policy.offers(now, offers_to_publish, open_links);
                self.plan_announce(now, tracker, offers);
            }
            Input::TrackerLost(tracker) => self.policy.note_lost(tracker),
            Input::SwarmSize { tracker, size } => {
                self.policy.note_size(now, tracker, size, &mut self.rng);
                self.answers.expire(now);
            }
            Input::SameMesh => self.policy.note_same_mesh(),
            Input::OfferMade { attempt, sdp } => self.on_offer_made(now, attempt, sdp),
            Input::Offer {
                via,
                peer,
                offer_id,
                sdp,
                acceptable_links,
            } => {
                let acceptable = peer != self.me
                    && !is_neighbor(&peer)
                    && self.attempts.allow_answer(peer, acceptable_links);
                if acceptable && self.answers.allow(now, via, peer, offer_id) {
                    self.answers.note_answered(now, via, peer, offer_id);
                    let attempt = self.attempts.answer(now, via, peer, offer_id);
                    let answer = Output::MakeAnswer { attempt, peer, sdp };
                    self.out.push_back(answer);
                } else if via == Via::Mesh {
                    self.out.push_back(Output::ExchangeFailed(offer_id));
                }
            }
            Input::Invite { peer, offer_id } => {
                self.out
                    .push_back(if is_neighbor(&peer) || self.attempts.is_connecting(peer) {
                        Output::ExchangeFailed(offer_id)
                    } else {
                        self.attempts.invite(now, peer, offer_id)
                    });
            }
            Input::Withdraw(offer_id) => self.out.extend(self.attempts.withdraw(offer_id)),
            Input::AnswerMade { attempt, sdp } => {
                self.out
                    .extend(self.attempts.on_answer_made(now, attempt, sdp));
            }
            Input::Answer {
                peer,
                offer_id,
                sdp,
            } => {
                if peer != self.me && !is_neighbor(&peer) {
                    self.on_answer(now, peer, offer_id, sdp);
                }
            }
            Input::ServersChanged => self.renew_offers(now),
            Input::AttemptOpened { attempt, peer } => {
                self.offers.remove(attempt);
                self.attempts.remove(attempt);
                self.answers.note_success(now, peer);
            }
            Input::OfferFailed { attempt }
            | Input::AnswerFailed { attempt }
            | Input::AttemptFailed { attempt } => self.fail(now, attempt),
            Input::Timeout => {}
        }
    }

    fn next_due(&self) -> Option<Now> {
        let attempts = self.attempts.next_deadline().into_iter();
        let offers = self.offers.next_deadline();
        attempts.chain(offers).chain(self.policy.next_probe()).min()
    }

    fn plan_announce(&mut self, now: Now, tracker: TrackerId, offers: usize) {
        let connecting = self.attempts.len();
        let missing = self.offers.plan_announce(now, tracker, offers, connecting);
        self.make_offers(now, missing);
    }

    fn make_offers(&mut self, now: Now, count: usize) {
        for _ in 0..count {
            let attempt = self.attempts.next_id();
            self.out.push_back(self.offers.start(now, attempt));
        }
    }

    /// Drops all public offers. Those that were still being made are made again.
    fn renew_offers(&mut self, now: Now) {
        let making = self.offers.making();
        let old = self.offers.clear().into_iter();
        self.out.extend(old.map(|attempt| Output::Drop { attempt }));
        self.make_offers(now, making);
    }

    fn on_offer_made(&mut self, now: Now, attempt: AttemptId, sdp: Arc<str>) {
        // An offer over the mesh has an id already and does not use this one.
        let offer_id = OfferId::new(self.rng.random());
        if self.offers.is_making(attempt) {
            self.offers.on_offer_made(now, attempt, offer_id, sdp);
        } else {
            let out = self.attempts.on_offer_made(now, attempt, sdp);
            self.out.push_back(out);
        }
    }

    fn on_answer(&mut self, now: Now, peer: PeerId, offer_id: OfferId, sdp: String) {
        let attempt = self.attempts.accept(now, peer, offer_id).or_else(|| {
            let attempt = self.offers.take(offer_id)?;
            self.attempts.open(now, attempt, peer);
            Some(attempt)
        });
        if let Some(attempt) = attempt {
            self.out.push_back(Output::Accept { attempt, peer, sdp });
        }
    }

    /// Ends an attempt without a link.
    fn fail(&mut self, now: Now, attempt: AttemptId) {
        self.offers.remove(attempt);
        if let Some(Ended { peer, exchange }) = self.attempts.remove(attempt) {
            self.out.extend(exchange.map(Output::ExchangeFailed));
            self.answers.note_failure(now, peer);
        }
    }

    /// Ends what is past its deadline, in the order in which it began.
    fn expire(&mut self, now: Now) {
        let mut overdue = self.attempts.overdue(now);
        overdue.extend(self.offers.overdue(now));
        overdue.sort_unstable();
        for attempt in overdue {
            self.fail(now, attempt);
            self.out.push_back(Output::Drop { attempt });
        }
    }
}
