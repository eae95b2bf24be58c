//! Public offers: offers that trackers hand to any peer of the swarm. How many are made, how long they
//! are kept, and which trackers wait for an announce.
//!
//! An offer that found no answer is published again, by any tracker, until it is too old. The first
//! answer takes it out of the pool.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::OfferId;

use super::{AttemptId, MAKING_TIMEOUT, OFFER_AGE, Output};
use crate::map::Map;
use crate::time::Now;
use crate::tracker::TrackerId;

/// Most offers in the pool. Browsers allow few connections in the life of a page, and each offer costs
/// a socket. A newcomer needs two members that accept it; each of them finds it a second link.
pub(super) const POOL: usize = 2;

/// Most offers in the pool of a peer without a link.
const POOL_WITHOUT_LINK: usize = 3;

/// An offer that would be dropped this soon is not published again, because an answer takes time.
const TIME_TO_ANSWER: Duration = Duration::from_secs(10);

/// How long an announce waits for offers that are being made.
const ANNOUNCE_DELAY: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct PublicOffer {
    /// The id and the session description, once the offer is made.
    made: Option<(OfferId, Arc<str>)>,
    deadline: Now,
}

impl PublicOffer {
    /// What can be published now.
    fn publishable(&self, now: Now) -> Option<&(OfferId, Arc<str>)> {
        self.made
            .as_ref()
            .filter(|_| now + TIME_TO_ANSWER < self.deadline)
    }
}

/// A tracker that waits for an announce.
#[derive(Debug)]
struct WaitingTracker {
    tracker: TrackerId,
    /// When the announce is sent, even if offers are still being made.
    deadline: Now,
}

#[derive(Debug, Default)]
pub(super) struct Offers {
    pool: Map<AttemptId, PublicOffer>,
    waiting: Vec<WaitingTracker>,
    /// Announces since this peer lost its last link. 0 while it has links.
    announces_without_link: usize,
}

impl Offers {
    /// An announce is due. This peer has `open_links` links.
    pub(super) const fn note_links(&mut self, open_links: usize) {
        self.announces_without_link = match open_links {
            0 => self.announces_without_link + 1,
            _ => 0,
        };
    }

    /// Plans an announce with up to `wanted` offers, while `connecting` attempts are under way. Returns
    /// how many new offers have to be made for it.
    pub(super) fn plan_announce(
        &mut self,
        now: Now,
        tracker: TrackerId,
        wanted: usize,
        connecting: usize,
    ) -> usize {
        // A peer without a link tries one more with each announce, because those it has found may never
        // connect.
        let (pool, most) = match self.announces_without_link {
            0 => (POOL, wanted),
            announces => (
                POOL_WITHOUT_LINK,
                wanted.min(POOL_WITHOUT_LINK - 1 + announces),
            ),
        };
        let target = pool.min(most.saturating_sub(connecting));
        self.waiting.retain(|waiting| waiting.tracker != tracker);
        self.waiting.push(WaitingTracker {
            tracker,
            // A peer that wants no link has no reason to wait.
            deadline: if wanted == 0 {
                now
            } else {
                now + ANNOUNCE_DELAY
            },
        });
        target.saturating_sub(self.usable(now))
    }

    /// Offers that are being made or can be published.
    fn usable(&self, now: Now) -> usize {
        let usable =
            |offer: &&PublicOffer| offer.made.is_none() || offer.publishable(now).is_some();
        self.pool.values().filter(usable).count()
    }

    /// A new offer is being made.
    pub(super) fn start(&mut self, now: Now, attempt: AttemptId) -> Output {
        let offer = PublicOffer {
            made: None,
            deadline: now + MAKING_TIMEOUT,
        };
        self.pool.insert(attempt, offer);
        Output::MakeOffer { attempt }
    }

    /// Whether this offer of the pool is being made.
    pub(super) fn is_making(&self, attempt: AttemptId) -> bool {
        let offer = self.pool.get(&attempt);
        offer.is_some_and(|offer| offer.made.is_none())
    }

    /// How many offers are being made.
    pub(super) fn making(&self) -> usize {
        let making = |offer: &&PublicOffer| offer.made.is_none();
        self.pool.values().filter(making).count()
    }

    /// An offer was made and can be published.
    pub(super) fn on_offer_made(
        &mut self,
        now: Now,
        attempt: AttemptId,
        offer_id: OfferId,
        sdp: Arc<str>,
    ) {
        if let Some(offer) = self.pool.get_mut(&attempt) {
            offer.made = Some((offer_id, sdp));
            offer.deadline = now + OFFER_AGE;
        }
    }

    /// Takes the answered offer out of the pool. An answer that is late, is not the first or was made up
    /// finds none.
    pub(super) fn take(&mut self, offer_id: OfferId) -> Option<AttemptId> {
        let is_answered = |offer: &PublicOffer| {
            let made = offer.made.as_ref();
            made.is_some_and(|(made, _)| *made == offer_id)
        };
        let (id, _) = self.pool.iter().find(|(_, offer)| is_answered(offer))?;
        let id = *id;
        self.pool.remove(&id);
        Some(id)
    }

    /// Removes an offer. Returns whether it was in the pool.
    pub(super) fn remove(&mut self, attempt: AttemptId) -> bool {
        self.pool.remove(&attempt).is_some()
    }

    /// Empties the pool and returns what was in it, by id.
    pub(super) fn clear(&mut self) -> Vec<AttemptId> {
        let pool = std::mem::take(&mut self.pool);
        pool.keys().copied().collect()
    }

    /// The offers whose deadline has passed, by id.
    pub(super) fn overdue(&self, now: Now) -> Vec<AttemptId> {
        let overdue = self.pool.iter();
        let overdue = overdue.filter(|(_, offer)| offer.deadline <= now);
        overdue.map(|(id, _)| *id).collect()
    }

    /// The announces that need not wait any longer.
    pub(super) fn announce(&mut self, now: Now) -> Vec<Output> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let making = self.making() > 0;
        let offers = (self.pool.values()).filter_map(|offer| offer.publishable(now).cloned());
        let offers: Vec<(OfferId, Arc<str>)> = offers.collect();
        let mut out = Vec::new();
        self.waiting.retain(|waiting| {
            let ready = !making || waiting.deadline <= now;
            if ready {
                out.push(Output::Announce {
                    tracker: waiting.tracker,
                    offers: offers.clone(),
                });
            }
            !ready
        });
        out
    }

    /// When an offer is overdue or an announce must be sent.
    pub(super) fn next_deadline(&self) -> Option<Now> {
        let offers = self.pool.values().map(|offer| offer.deadline);
        let trackers = self.waiting.iter().map(|waiting| waiting.deadline);
        offers.chain(trackers).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACKER: TrackerId = TrackerId::new(0);

    const fn id(number: u8) -> OfferId {
        OfferId::new([number; 20])
    }

    /// A pool with one offer that was made at 0.
    fn with_an_offer() -> Offers {
        let mut offers = Offers::default();
        offers.start(Now::ZERO, AttemptId(0));
        offers.on_offer_made(Now::ZERO, AttemptId(0), id(0), "sdp".into());
        offers
    }

    #[test]
    fn the_pool_is_filled_up_to_what_is_wanted() {
        let mut offers = with_an_offer();
        let mut plan =
            |now, wanted, connecting| offers.plan_announce(now, TRACKER, wanted, connecting);
        assert_eq!(plan(Now::ZERO, 1, 0), 0);
        assert_eq!(plan(Now::ZERO, 6, 0), POOL - 1);
        assert_eq!(plan(Now::ZERO, 6, 5), 0, "five links are under way");
        assert_eq!(
            plan(OFFER_AGE - TIME_TO_ANSWER, 6, 0),
            POOL,
            "it is too old"
        );
    }

    #[test]
    fn a_peer_without_a_link_makes_more_with_each_announce() {
        let mut offers = Offers::default();
        let mut plan = |connecting| {
            offers.note_links(0);
            offers.plan_announce(Now::ZERO, TRACKER, 6, connecting)
        };
        assert_eq!(plan(0), POOL_WITHOUT_LINK);
        assert_eq!(plan(3), 1, "one more than are connecting");
        assert_eq!(plan(3), 2);
        offers.note_links(1);
        assert_eq!(offers.plan_announce(Now::ZERO, TRACKER, 6, 3), POOL);
    }

    #[test]
    fn an_announce_waits_for_offers_but_not_for_long() {
        let mut offers = with_an_offer();
        offers.start(Now::ZERO, AttemptId(1));
        offers.plan_announce(Now::ZERO, TRACKER, 6, 0);
        assert!(offers.announce(Now::ZERO).is_empty());
        assert_eq!(offers.next_deadline(), Some(ANNOUNCE_DELAY));
        let sent = Output::Announce {
            tracker: TRACKER,
            offers: vec![(id(0), "sdp".into())],
        };
        assert_eq!(offers.announce(ANNOUNCE_DELAY), [sent]);
        assert!(offers.announce(ANNOUNCE_DELAY).is_empty(), "once");
    }

    #[test]
    fn an_answer_takes_its_offer_and_no_other() {
        let mut offers = with_an_offer();
        assert_eq!(offers.take(id(1)), None);
        assert_eq!(offers.take(id(0)), Some(AttemptId(0)));
        assert_eq!(offers.take(id(0)), None);
    }

    #[test]
    fn offers_are_overdue_at_their_age() {
        let mut offers = with_an_offer();
        offers.start(Now::ZERO, AttemptId(1));
        assert!(!offers.is_making(AttemptId(0)) && offers.is_making(AttemptId(1)));
        assert_eq!(offers.overdue(MAKING_TIMEOUT), [AttemptId(1)]);
        assert_eq!(offers.overdue(OFFER_AGE), [AttemptId(0), AttemptId(1)]);
        assert!(offers.remove(AttemptId(1)) && !offers.remove(AttemptId(1)));
        assert_eq!(offers.clear(), [AttemptId(0)]);
        assert_eq!(offers.next_deadline(), None);
    }
}
