//! Offers and answers under way. A session description of the simulator is only the number of the
//! offer or answer here.

use easypeers_core::signal::AttemptId;
use easypeers_proto::OfferId;

use crate::index::index;

/// An offer and the peer that made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    pub(crate) peer: u32,
    pub(crate) attempt: AttemptId,
    pub(crate) id: OfferId,
}

/// An answer to an offer and the peer that made it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) offer: u32,
    pub(crate) peer: u32,
    pub(crate) attempt: AttemptId,
    opened: bool,
    /// The peer that made it waits no longer.
    expired: bool,
}

/// All offers and answers of a run.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    offers: Vec<Offer>,
    answers: Vec<Answer>,
}

impl Exchanges {
    /// A peer makes an offer. Returns the offer's number.
    pub(crate) fn offer(&mut self, peer: u32, attempt: AttemptId) -> u32 {
        let offer = index(self.offers.len());
        let id = OfferId::new([0; 20]);
        self.offers.push(Offer { peer, attempt, id });
        offer
    }

    /// The offer is announced under this id.
    pub(crate) fn name(&mut self, offer: u32, id: OfferId) {
        self.offers[offer as usize].id = id;
    }

    /// A peer makes an answer. Returns the answer's number.
    pub(crate) fn answer(&mut self, offer: u32, peer: u32, attempt: AttemptId) -> u32 {
        let answer = index(self.answers.len());
        self.answers.push(Answer {
            offer,
            peer,
            attempt,
            opened: false,
            expired: false,
        });
        answer
    }

    pub(crate) fn offered(&self, offer: u32) -> Offer {
        self.offers[offer as usize]
    }

    pub(crate) fn answered(&self, answer: u32) -> Answer {
        self.answers[answer as usize]
    }

    /// The peer that made the answered offer.
    pub(crate) fn offerer(&self, answer: u32) -> u32 {
        self.offered(self.answered(answer).offer).peer
    }

    /// The offerer's attempt and the answerer's, or `None` if the answerer waits no longer.
    pub(crate) fn attempts(&self, answer: u32) -> Option<[(u32, AttemptId); 2]> {
        let made = self.answered(answer);
        let offer = self.offered(made.offer);
        let attempts = [(offer.peer, offer.attempt), (made.peer, made.attempt)];
        (!made.expired).then_some(attempts)
    }

    /// The connection of this answer is open.
    pub(crate) fn open(&mut self, answer: u32) {
        self.answers[answer as usize].opened = true;
    }

    /// The time for an attempt is over. Returns the peer and its attempt if no connection opened.
    pub(crate) fn expire(&mut self, answer: u32, offerer: bool) -> Option<(u32, AttemptId)> {
        let made = &mut self.answers[answer as usize];
        if made.opened {
            return None;
        }
        if offerer {
            let offer = self.offers[made.offer as usize];
            return Some((offer.peer, offer.attempt));
        }
        made.expired = true;
        Some((made.peer, made.attempt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::attempts;

    #[test]
    fn an_answer_opens_unless_its_maker_has_given_up() {
        let mut exchanges = Exchanges::default();
        let [offering, answering] = attempts();
        let offer = exchanges.offer(10, offering);
        let [late, good] = [20, 30].map(|peer| exchanges.answer(offer, peer, answering));
        assert_eq!(exchanges.offerer(late), 10);
        assert_eq!(exchanges.expire(late, false), Some((20, answering)));
        assert_eq!(exchanges.attempts(late), None);
        let attempts = exchanges.attempts(good);
        assert_eq!(attempts, Some([(10, offering), (30, answering)]));
        exchanges.open(good);
        assert_eq!(exchanges.expire(good, true), None);
    }
}
