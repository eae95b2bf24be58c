//! Attempts to open a link with a known peer, and the ids of all attempts.
//!
//! An attempt begins with an offer to one peer over the mesh, with an answer to an offer of another
//! peer, or when another peer answers one of our public offers (see `offers`).
//!
//! Invariants: an id is used once. At most one attempt to answer a peer at a time, and no more than links
//! are acceptable. Every attempt has a deadline, and the driver or the deadline ends it.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::{OfferId, PeerId};

use super::{AttemptId, MAKING_TIMEOUT, Output, Via};
use crate::map::Map;
use crate::time::Now;

/// Time to connect once both descriptions are exchanged, the handshakes included.
pub(super) const OPENING_TIMEOUT: Duration = Duration::from_secs(70);

/// Age at which an offer to one peer over the mesh is dropped.
const INVITATION_AGE: Duration = Duration::from_secs(15);

/// How far an attempt has got.
#[derive(Debug)]
enum Stage {
    /// Our offer to the peer is being made.
    MakingOffer,
    /// Our offer waits for the peer's answer.
    Offered,
    /// Our answer is being made.
    MakingAnswer { via: Via, offer_id: OfferId },
    /// Both descriptions are exchanged.
    Opening,
}

#[derive(Debug)]
struct Attempt {
    peer: PeerId,
    stage: Stage,
    deadline: Now,
    /// The exchange in the mesh that it belongs to. `None` if a tracker carries the descriptions.
    exchange: Option<OfferId>,
}

/// An attempt that ended without a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) peer: PeerId,
    /// The exchange in the mesh that fails with it.
    pub(super) exchange: Option<OfferId>,
}

#[derive(Debug, Default)]
pub(super) struct Attempts {
    attempts: Map<AttemptId, Attempt>,
    next_id: u64,
}

impl Attempts {
    /// An id for a new attempt or a new public offer.
    pub(super) const fn next_id(&mut self) -> AttemptId {
        let id = AttemptId(self.next_id);
        self.next_id += 1;
        id
    }

    /// How many attempts are under way.
    pub(super) const fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether an offer of this peer may be answered when `acceptable_links` more links are acceptable.
    /// The attempts under way may take up all of them.
    pub(super) fn allow_answer(&self, peer: PeerId, acceptable_links: usize) -> bool {
        self.len() < acceptable_links && !self.is_connecting(peer)
    }

    /// Whether an attempt with this peer is under way.
    pub(super) fn is_connecting(&self, peer: PeerId) -> bool {
        self.attempts.values().any(|attempt| attempt.peer == peer)
    }

    /// When the next attempt is overdue.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        self.attempts.values().map(|attempt| attempt.deadline).min()
    }

    /// The attempts whose deadline has passed, by id.
    pub(super) fn overdue(&self, now: Now) -> Vec<AttemptId> {
        let overdue = self.attempts.iter();
        let overdue = overdue.filter(|(_, attempt)| attempt.deadline <= now);
        overdue.map(|(id, _)| *id).collect()
    }

    /// Ends an attempt.
    pub(super) fn remove(&mut self, id: AttemptId) -> Option<Ended> {
        let Attempt { peer, exchange, .. } = self.attempts.remove(&id)?;
        Some(Ended { peer, exchange })
    }

    fn start(
        &mut self,
        peer: PeerId,
        stage: Stage,
        deadline: Now,
        exchange: Option<OfferId>,
    ) -> AttemptId {
        let id = self.next_id();
        let attempt = Attempt {
            peer,
            stage,
            deadline,
            exchange,
        };
        self.attempts.insert(id, attempt);
        id
    }

    /// Begins an offer to this peer over the mesh.
    pub(super) fn invite(&mut self, now: Now, peer: PeerId, exchange: OfferId) -> Output {
        let deadline = now + MAKING_TIMEOUT;
        let attempt = self.start(peer, Stage::MakingOffer, deadline, Some(exchange));
        Output::MakeOffer { attempt }
    }

    /// The offer of an invitation was made. If the attempt does not wait for one, the offer is dropped.
    pub(super) fn on_offer_made(&mut self, now: Now, id: AttemptId, sdp: Arc<str>) -> Output {
        let attempt = self.attempts.get_mut(&id);
        if let Some(attempt) = attempt
            && matches!(attempt.stage, Stage::MakingOffer)
            && let Some(offer_id) = attempt.exchange
        {
            attempt.stage = Stage::Offered;
            attempt.deadline = now + INVITATION_AGE;
            return Output::SendOffer {
                peer: attempt.peer,
                offer_id,
                sdp,
            };
        }
        Output::Drop { attempt: id }
    }

    /// Gives up the offer of this exchange, unless it is answered already.
    pub(super) fn withdraw(&mut self, exchange: OfferId) -> Option<Output> {
        let (id, _) = self.attempts.iter().find(|(_, attempt)| {
            attempt.exchange == Some(exchange)
                && matches!(attempt.stage, Stage::MakingOffer | Stage::Offered)
        })?;
        let attempt = *id;
        self.attempts.remove(&attempt);
        Some(Output::Drop { attempt })
    }

    /// This peer answers an offer. If it was the invitation of that peer, its attempt opens.
    pub(super) fn accept(
        &mut self,
        now: Now,
        peer: PeerId,
        offer_id: OfferId,
    ) -> Option<AttemptId> {
        let (id, attempt) = self.attempts.iter_mut().find(|(_, attempt)| {
            attempt.peer == peer
                && attempt.exchange == Some(offer_id)
                && matches!(attempt.stage, Stage::Offered)
        })?;
        attempt.stage = Stage::Opening;
        attempt.deadline = now + OPENING_TIMEOUT;
        Some(*id)
    }

    /// This peer has answered a public offer, whose attempt opens now.
    pub(super) fn open(&mut self, now: Now, id: AttemptId, peer: PeerId) {
        let attempt = Attempt {
            peer,
            stage: Stage::Opening,
            deadline: now + OPENING_TIMEOUT,
            exchange: None,
        };
        self.attempts.insert(id, attempt);
    }

    /// Begins an answer to an offer of this peer.
    pub(super) fn answer(
        &mut self,
        now: Now,
        via: Via,
        peer: PeerId,
        offer_id: OfferId,
    ) -> AttemptId {
        let exchange = (via == Via::Mesh).then_some(offer_id);
        let stage = Stage::MakingAnswer { via, offer_id };
        self.start(peer, stage, now + MAKING_TIMEOUT, exchange)
    }

    /// An answer was made. If its attempt was given up, the answer is dropped.
    pub(super) fn on_answer_made(
        &mut self,
        now: Now,
        id: AttemptId,
        sdp: String,
    ) -> Option<Output> {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return Some(Output::Drop { attempt: id });
        };
        let Stage::MakingAnswer { via, offer_id } = attempt.stage else {
            return None;
        };
        attempt.stage = Stage::Opening;
        attempt.deadline = now + OPENING_TIMEOUT;
        Some(Output::SendAnswer {
            via,
            peer: attempt.peer,
            offer_id,
            sdp,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId::new([1; 20]);
    const OTHER: PeerId = PeerId::new([2; 20]);
    const EXCHANGE: OfferId = OfferId::new([3; 20]);

    fn invited(attempts: &mut Attempts, now: Now) -> AttemptId {
        match attempts.invite(now, PEER, EXCHANGE) {
            Output::MakeOffer { attempt } => attempt,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_invitation_is_sent_and_only_the_invited_peer_can_answer_it() {
        let mut attempts = Attempts::default();
        let id = invited(&mut attempts, Now::ZERO);
        assert!(attempts.is_connecting(PEER) && !attempts.is_connecting(OTHER));
        assert_eq!(
            attempts.accept(Now::ZERO, PEER, EXCHANGE),
            None,
            "not sent yet"
        );
        let sent = attempts.on_offer_made(Now::ZERO, id, "sdp".into());
        let expected = Output::SendOffer {
            peer: PEER,
            offer_id: EXCHANGE,
            sdp: "sdp".into(),
        };
        assert_eq!(sent, expected);
        assert_eq!(attempts.next_deadline(), Some(INVITATION_AGE));
        assert_eq!(attempts.accept(Now::ZERO, OTHER, EXCHANGE), None);
        assert_eq!(attempts.accept(Now::ZERO, PEER, EXCHANGE), Some(id));
        assert_eq!(attempts.next_deadline(), Some(OPENING_TIMEOUT));
        assert_eq!(attempts.withdraw(EXCHANGE), None, "it is answered");
        let ended = attempts.remove(id);
        let exchange = Some(EXCHANGE);
        assert_eq!(
            ended,
            Some(Ended {
                peer: PEER,
                exchange
            })
        );
    }

    #[test]
    fn a_withdrawn_invitation_is_dropped_even_if_its_offer_is_made_later() {
        let mut attempts = Attempts::default();
        let attempt = invited(&mut attempts, Now::ZERO);
        assert_eq!(attempts.withdraw(EXCHANGE), Some(Output::Drop { attempt }));
        let late = attempts.on_offer_made(Now::ZERO, attempt, "sdp".into());
        assert_eq!(late, Output::Drop { attempt });
        assert_eq!(attempts.len(), 0);
    }

    #[test]
    fn an_answer_goes_back_the_way_the_offer_came() {
        let mut attempts = Attempts::default();
        let id = attempts.answer(Now::ZERO, Via::Mesh, PEER, EXCHANGE);
        let out = attempts.on_answer_made(Now::ZERO, id, "sdp".to_owned());
        let expected = Output::SendAnswer {
            via: Via::Mesh,
            peer: PEER,
            offer_id: EXCHANGE,
            sdp: "sdp".to_owned(),
        };
        assert_eq!(out, Some(expected));
        let again = attempts.on_answer_made(Now::ZERO, id, "sdp".to_owned());
        assert_eq!(again, None, "sent once");
    }

    #[test]
    fn no_more_offers_are_answered_than_links_are_acceptable() {
        let mut attempts = Attempts::default();
        assert!(!attempts.allow_answer(PEER, 0));
        attempts.answer(Now::ZERO, Via::Mesh, PEER, EXCHANGE);
        assert!(!attempts.allow_answer(PEER, 2), "one is under way");
        assert!(attempts.allow_answer(OTHER, 2) && !attempts.allow_answer(OTHER, 1));
    }

    #[test]
    fn attempts_are_overdue_at_their_deadline() {
        let mut attempts = Attempts::default();
        let public = attempts.next_id();
        attempts.open(Now::ZERO, public, OTHER);
        let answer = attempts.answer(Now::ZERO, Via::Mesh, PEER, EXCHANGE);
        assert!(
            attempts
                .overdue(MAKING_TIMEOUT - Duration::from_nanos(1))
                .is_empty()
        );
        assert_eq!(attempts.overdue(MAKING_TIMEOUT), [answer]);
        assert_eq!(attempts.overdue(OPENING_TIMEOUT), [public, answer]);
    }
}
