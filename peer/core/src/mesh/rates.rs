//! Rates and reputation: how much an author may say, which of its messages are new, and what a
//! neighbour may do wrong before it is let go.

use std::time::Duration;

use easypeers_proto::PeerId;

use super::message::Signed;
use super::{LinkId, Mesh, Now, Reason};
use crate::expiring_map::ExpiringMap;
use crate::rate::TokenBucket;

/// Authors whose rate and sequence are remembered, and for how long: as long as message ids.
const AUTHORS: u32 = 4096;
const AUTHOR_AGE: Duration = Duration::from_secs(600);

/// Points at which a neighbour is let go; one point is forgiven a second.
const LIMIT: f32 = 100.0;

/// A neighbour that was let go is not taken again for so long.
const BAN: Duration = Duration::from_secs(600);
const BANS: u32 = 1024;

/// For a message or packet that breaks a rule: eight of them end a link. A peer may run an older
/// version, or a clock be wrong.
pub(super) const FAULT: f32 = 13.0;

/// For a message of a neighbour above its rate.
pub(super) const EXCESS: f32 = 1.0;

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

#[derive(Debug)]
pub(super) struct Rates {
    authors: ExpiringMap<PeerId, Author>,
    banned: ExpiringMap<PeerId, ()>,
}

impl Rates {
    pub(super) fn new() -> Self {
        Self {
            authors: ExpiringMap::new(AUTHORS, AUTHOR_AGE),
            banned: ExpiringMap::new(BANS, BAN),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.authors.expire(now);
        self.banned.expire(now);
    }
}

impl Mesh {
    /// Whether a broadcast is within its author's rate, before its signature is checked.
    pub fn is_within_rate(&self, now: Now, origin: PeerId) -> bool {
        let author = self.rates.authors.get(&origin);
        author.is_none_or(|author| author.bucket.has(now, self.settings.rate))
    }

    /// Counts a message of an author; whether it is taken. What was asked for is not counted.
    pub(super) fn admit(&mut self, now: Now, message: &Signed, asked: bool) -> bool {
        let rate = self.settings.rate;
        let authors = &mut self.rates.authors;
        if authors.get(&message.origin).is_none() {
            let author = Author {
                bucket: TokenBucket::full(now, rate),
                window: Window::new(message.epoch),
            };
            authors.insert(now, message.origin, author);
        }
        let Some(author) = authors.get_mut(&message.origin) else {
            return false;
        };
        (asked || author.bucket.take(now, rate))
            && author.window.accept(message.epoch, message.sequence)
    }

    /// A message above its author's rate: the author's neighbours hold it to account, others cannot
    /// tell.
    pub(super) fn on_excess(&mut self, now: Now, link: LinkId, origin: PeerId) {
        self.counters.rejected += 1;
        if self.up_peer(link) == Some(origin) {
            self.penalize(now, link, EXCESS);
        }
    }

    /// A neighbour did what it must not.
    pub(super) fn penalize(&mut self, now: Now, id: LinkId, points: f32) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let forgiven = now.saturating_sub(link.scored).as_secs_f32();
        link.score = (link.score - forgiven).max(0.0) + points;
        link.scored = now;
        if link.score >= LIMIT {
            let peer = link.peer;
            self.ban(now, peer);
            self.close_link(now, id, Some(Reason::Protocol));
        }
    }

    pub(super) fn ban(&mut self, now: Now, peer: PeerId) {
        self.rates.banned.insert(now, peer, ());
    }

    /// Whether this peer is not taken as a neighbour.
    pub fn is_banned(&self, peer: PeerId) -> bool {
        self.rates.banned.contains(&peer)
    }

    pub(super) fn expire_bans(&mut self, now: Now) {
        self.rates.banned.expire(now);
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
