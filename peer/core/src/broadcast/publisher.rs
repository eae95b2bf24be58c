//! Our own broadcasts that wait: for a first link, or for our rate.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::message::Signed;
use crate::rate::{Rate, TokenBucket};
use crate::time::Now;

/// Messages that wait.
const PENDING: usize = 64;

/// How long they wait.
const PENDING_AGE: Duration = Duration::from_secs(10);

/// Our own broadcasts in their order.
#[derive(Debug)]
pub(super) struct Publisher {
    pending: VecDeque<(Now, Arc<Signed>)>,
    rate: Rate,
    bucket: TokenBucket,
}

impl Publisher {
    pub(super) const fn new(rate: Rate) -> Self {
        Self {
            pending: VecDeque::new(),
            rate,
            bucket: TokenBucket::full(Now::ZERO, rate),
        }
    }

    /// When the first message may go out or is too old.
    pub(super) fn deadline(&self, has_link: bool) -> Option<Now> {
        let (since, _) = self.pending.front()?;
        let expiry = *since + PENDING_AGE;
        Some(if has_link {
            self.bucket.next(self.rate).min(expiry)
        } else {
            expiry
        })
    }

    /// Queues a message. `false` if too many wait.
    pub(super) fn push(&mut self, now: Now, message: &Arc<Signed>) -> bool {
        let room = self.pending.len() < PENDING;
        if room {
            self.pending.push_back((now, Arc::clone(message)));
        }
        room
    }

    /// The next message that may go out, as there is a link.
    pub(super) fn next(&mut self, now: Now) -> Option<Arc<Signed>> {
        if self.pending.is_empty() || !self.bucket.take(now, self.rate) {
            return None;
        }
        self.pending.pop_front().map(|(_, message)| message)
    }

    /// The next message that has waited too long.
    pub(super) fn next_expired(&mut self, now: Now) -> Option<Arc<Signed>> {
        let (since, _) = self.pending.front()?;
        if now < *since + PENDING_AGE {
            return None;
        }
        self.pending.pop_front().map(|(_, message)| message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    #[test]
    fn messages_wait_for_a_link_and_for_their_rate() {
        let mut publisher = Publisher::new(Rate::new(1.0, 2.0));
        for at in 0..3 {
            assert!(publisher.push(Now::ZERO, &message(at, 10)));
        }
        assert_eq!(publisher.deadline(false), Some(PENDING_AGE));
        assert!(publisher.next(Now::ZERO).is_some() && publisher.next(Now::ZERO).is_some());
        assert!(publisher.next(Now::ZERO).is_none(), "above the burst");
        let due = publisher.deadline(true).unwrap();
        assert!(due < PENDING_AGE && publisher.next_expired(due).is_none());
        assert!(publisher.next(due).is_some());
        assert_eq!(publisher.deadline(true), None);
    }

    #[test]
    fn only_so_many_messages_wait_and_only_so_long() {
        let mut publisher = Publisher::new(Rate::new(1.0, 1.0));
        let taken = (0..100).filter(|at| publisher.push(Now::ZERO, &message(*at, 10)));
        assert_eq!(taken.count(), PENDING);
        let expired = std::iter::from_fn(|| publisher.next_expired(PENDING_AGE));
        assert_eq!(expired.count(), PENDING);
    }
}
