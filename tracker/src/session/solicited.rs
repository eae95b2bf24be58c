//! Which answers a connection may send: one for each offer that was relayed to it.
//!
//! An entry is the keyed 64-bit hash of swarm, receiver, offerer and offer id; whoever does not
//! know the server's random key cannot make two offers collide. Nothing of the offer is kept.

use std::collections::VecDeque;

/// How long an answer is accepted. Clients give their own offers 50 s (bittorrent-tracker) to
/// 120 s (Trystero).
pub(crate) const ANSWER_WITHIN_MS: u64 = 120_000;

/// Most offers remembered; the oldest goes first. Clients answer within seconds or never, so this
/// is met only by one that gets hundreds of offers and then answers the earliest of them.
pub(crate) const MAX_SOLICITED: usize = 512;

#[derive(Debug, Default)]
pub(crate) struct Solicited {
    /// Key and when the offer was relayed; in the order of time.
    offers: VecDeque<(u64, u64)>,
}

impl Solicited {
    pub(crate) fn insert(&mut self, key: u64, now_ms: u64) {
        self.expire(now_ms);
        if self.offers.len() >= MAX_SOLICITED {
            self.offers.pop_front();
        }
        self.offers.push_back((key, now_ms));
    }

    /// Whether `key` is there and young enough. It is spent.
    pub(crate) fn take(&mut self, key: u64, now_ms: u64) -> bool {
        self.expire(now_ms);
        // Answers mostly come for the newest offers.
        let Some(at) = self.offers.iter().rposition(|&(known, _)| known == key) else {
            return false;
        };
        self.offers.remove(at);
        self.release();
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        while self
            .offers
            .front()
            .is_some_and(|&(_, at)| at + ANSWER_WITHIN_MS < now_ms)
        {
            self.offers.pop_front();
        }
        self.release();
    }

    /// A quiet connection keeps no memory for this.
    fn release(&mut self) {
        if self.offers.is_empty() && self.offers.capacity() > 0 {
            self.offers = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_once_and_only_in_time() {
        let mut solicited = Solicited::default();
        solicited.insert(1, 0);
        solicited.insert(2, 1_000);
        assert!(solicited.take(2, 2_000));
        assert!(!solicited.take(2, 2_000));
        assert!(!solicited.take(3, 2_000));
        assert!(!solicited.take(1, ANSWER_WITHIN_MS + 1));
        assert_eq!(solicited.offers.capacity(), 0);
    }

    #[test]
    fn the_same_offer_relayed_twice_may_be_answered_twice() {
        let mut solicited = Solicited::default();
        solicited.insert(1, 0);
        solicited.insert(1, 10);
        assert!(solicited.take(1, 20) && solicited.take(1, 20));
        assert!(!solicited.take(1, 20));
    }

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let mut solicited = Solicited::default();
        (0..10_000).for_each(|key| solicited.insert(key, 0));
        assert_eq!(solicited.offers.len(), MAX_SOLICITED);
        assert!(solicited.take(9_999, 0) && !solicited.take(0, 0));
    }
}
