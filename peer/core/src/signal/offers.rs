//! Our offers: how many are made, how long they are kept, when they go out.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::OfferId;
use rand::RngExt;

use super::{Attempt, AttemptId, MAKE, OFFER_AGE, Output, Signal, Stage, Waiting};
use crate::time::Now;
use crate::tracker::TrackerId;

/// Most offers that wait for an answer. Browsers allow few connections in a page's life, and each
/// costs a socket. A newcomer needs two members that take it in; each finds it a second link.
pub(super) const POOL: usize = 2;

/// Of a peer without a link.
const ALONE: usize = 3;

/// An offer is not sent out again this long before it is dropped: answers take time.
const OFFER_REST: Duration = Duration::from_secs(10);

/// How long an announce waits for offers that are being made.
const PATIENCE: Duration = Duration::from_secs(3);

/// Age at which an offer to one peer over the mesh is dropped.
const INVITED: Duration = Duration::from_secs(15);

impl Signal {
    /// Drops the offers that are for whoever answers first; those that are still being made, anew.
    pub(super) fn renew_offers(&mut self, now: Now) {
        let making = |attempt: &&Attempt| matches!(attempt.stage, Stage::Offering);
        let strangers = |attempt: &&Attempt| attempt.invited.is_none();
        let again = self.attempts.values().filter(strangers).filter(making);
        let again = again.count();
        let out = &mut self.out;
        self.attempts.retain(|attempt, state| {
            let offered = matches!(state.stage, Stage::Offered { .. } | Stage::Offering);
            let stale = offered && state.invited.is_none();
            if stale {
                out.push_back(Output::Drop { attempt: *attempt });
            }
            !stale
        });
        for _ in 0..again {
            let attempt = self.start(now + MAKE, Stage::Offering, None);
            self.out.push_back(Output::MakeOffer { attempt });
        }
    }

    pub(super) fn on_due(&mut self, now: Now, tracker: TrackerId, want: usize) {
        // What has no link yet tries one more with each announce, since those found may never connect.
        let (pool, most) = match self.alone {
            0 => (POOL, want),
            announces => (ALONE, want.min(ALONE - 1 + announces)),
        };
        let target = pool.min(most.saturating_sub(self.busy()));
        for _ in self.pool(now)..target {
            let attempt = self.start(now + MAKE, Stage::Offering, None);
            self.out.push_back(Output::MakeOffer { attempt });
        }
        self.waiting.retain(|waiting| waiting.tracker != tracker);
        self.waiting.push(Waiting {
            tracker,
            // A peer that wants no link announces with what it has: nothing, or soon nothing.
            deadline: if want == 0 { now } else { now + PATIENCE },
        });
    }

    /// Offers that are being made or can be sent out.
    fn pool(&self, now: Now) -> usize {
        let counts = |attempt: &&Attempt| match attempt.stage {
            _ if attempt.invited.is_some() => false,
            Stage::Offering => true,
            Stage::Offered { .. } => now + OFFER_REST < attempt.deadline,
            Stage::Answering { .. } | Stage::Opening { .. } => false,
        };
        self.attempts.values().filter(counts).count()
    }

    pub(super) fn on_offer_made(&mut self, now: Now, id: AttemptId, sdp: Arc<str>) {
        let offer_id = OfferId::new(self.rng.random());
        match self.attempts.get_mut(&id) {
            Some(attempt) if matches!(attempt.stage, Stage::Offering) => {
                let offer_id = attempt.exchange.unwrap_or(offer_id);
                if let Some(peer) = attempt.invited {
                    let sdp = Arc::clone(&sdp);
                    self.out.push_back(Output::SendOffer {
                        peer,
                        offer_id,
                        sdp,
                    });
                    attempt.deadline = now + INVITED;
                } else {
                    attempt.deadline = now + OFFER_AGE;
                }
                attempt.stage = Stage::Offered { offer_id, sdp };
            }
            _ => self.out.push_back(Output::Drop { attempt: id }),
        }
    }

    /// Tells the trackers that wait, unless offers for them are being made.
    pub(super) fn announce(&mut self, now: Now) {
        if self.waiting.is_empty() {
            return;
        }
        let making = self
            .attempts
            .values()
            .any(|attempt| matches!(attempt.stage, Stage::Offering) && attempt.invited.is_none());
        let offers: Vec<(OfferId, Arc<str>)> = self
            .attempts
            .values()
            .filter(|attempt| attempt.invited.is_none() && now + OFFER_REST < attempt.deadline)
            .filter_map(|attempt| match &attempt.stage {
                Stage::Offered { offer_id, sdp } => Some((*offer_id, Arc::clone(sdp))),
                _ => None,
            })
            .collect();
        let out = &mut self.out;
        self.waiting.retain(|waiting| {
            let ready = !making || waiting.deadline <= now;
            if ready {
                out.push_back(Output::Announce {
                    tracker: waiting.tracker,
                    offers: offers.clone(),
                });
            }
            !ready
        });
    }
}
