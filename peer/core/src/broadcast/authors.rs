//! Authors: how much each of them may say, and which of their messages have been here.

use std::time::Duration;

use easypeers_proto::PeerId;

use crate::expiring_map::ExpiringMap;
use crate::message::Signed;
use crate::rate::{Rate, TokenBucket};
use crate::time::Now;

/// Authors whose rate and sequence are remembered, and for how long: as long as message ids.
const AUTHORS: u32 = 4096;
const AUTHOR_AGE: Duration = Duration::from_secs(600);

/// Which messages of one run of an author have been here: the highest sequence and the 256 before.
#[derive(Debug, Clone, Copy)]
struct Window {
    epoch: u64,
    highest: u64,
    seen: [u64; 4],
}

impl Window {
    const WIDTH: u64 = 256;

    const fn new(epoch: u64) -> Self {
        Self {
            epoch,
            highest: 0,
            seen: [0; 4],
        }
    }

    /// Whether this is the first message with its number.
    fn accept(&mut self, epoch: u64, sequence: u64) -> bool {
        if epoch > self.epoch {
            *self = Self::new(epoch);
        }
        if epoch < self.epoch {
            // An earlier run of the author: message ids and clocks must do.
            return true;
        }
        if sequence > self.highest {
            self.shift(sequence - self.highest);
            self.highest = sequence;
        }
        let age = self.highest - sequence;
        if age >= Self::WIDTH {
            return false;
        }
        let (word, bit) = ((age / 64) as usize, 1 << (age % 64));
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }

    fn shift(&mut self, by: u64) {
        for _ in 0..by.min(Self::WIDTH) / 64 {
            self.seen = [0, self.seen[0], self.seen[1], self.seen[2]];
        }
        let bits = by % 64;
        if by < Self::WIDTH && bits > 0 {
            for word in (1..4).rev() {
                self.seen[word] = self.seen[word] << bits | self.seen[word - 1] >> (64 - bits);
            }
            self.seen[0] <<= bits;
        }
    }
}

#[derive(Debug)]
struct Author {
    bucket: TokenBucket,
    window: Window,
}

/// The authors heard in the last ten minutes.
#[derive(Debug)]
pub(super) struct Authors {
    by_address: ExpiringMap<PeerId, Author>,
    /// What each of them may say.
    rate: Rate,
}

impl Authors {
    pub(super) fn new(rate: Rate) -> Self {
        Self {
            by_address: ExpiringMap::new(AUTHORS, AUTHOR_AGE),
            rate,
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.by_address.expire(now);
    }

    /// Whether another broadcast of this author is within its rate.
    pub(super) fn is_within_rate(&self, now: Now, origin: PeerId) -> bool {
        let author = self.by_address.get(&origin);
        author.is_none_or(|author| author.bucket.has(now, self.rate))
    }

    /// Counts a message of an author, unless we asked for it. Whether it is taken.
    pub(super) fn admit(&mut self, now: Now, message: &Signed, asked: bool) -> bool {
        if self.by_address.get(&message.origin).is_none() {
            let author = Author {
                bucket: TokenBucket::full(now, self.rate),
                window: Window::new(message.epoch),
            };
            self.by_address.insert(now, message.origin, author);
        }
        let Some(author) = self.by_address.get_mut(&message.origin) else {
            return false;
        };
        (asked || author.bucket.take(now, self.rate))
            && author.window.accept(message.epoch, message.sequence)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a set of all sequences, but for those that are too old.
        #[test]
        fn each_number_once(sequences in proptest::collection::vec(1u64..900, 0..400)) {
            let mut window = Window::new(5);
            let mut seen = std::collections::BTreeSet::new();
            for sequence in sequences {
                let highest = seen.last().copied().unwrap_or(0).max(sequence);
                let expected = seen.insert(sequence) && highest - sequence < Window::WIDTH;
                prop_assert_eq!(window.accept(5, sequence), expected);
            }
        }
    }

    #[test]
    fn a_new_run_counts_anew() {
        let mut window = Window::new(5);
        assert!(window.accept(5, 900) && !window.accept(5, 900));
        assert!(window.accept(6, 1) && !window.accept(6, 1));
        assert!(window.accept(5, 901), "told apart by its id");
    }
}
