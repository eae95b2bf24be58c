//! What was sent across nodes and may still be answered: keyed hashes with a value, each for as long
//! as an answer is welcome. Bounded; pure.

use std::collections::{HashMap, VecDeque};

use crate::session::solicited::ANSWER_WITHIN_MS;

/// Most entries. A node with 100,000 clients that announce 5 offers every 120 s, three quarters of
/// them for others, has 375,000 in flight at most; the oldest go first.
const MAX_ENTRIES: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger<T> {
    /// Value, when it was put in, and how often it may be taken.
    entries: HashMap<u64, (T, u64, u32)>,
    /// In the order of time; an entry that was put in again is here again.
    order: VecDeque<(u64, u64)>,
}

impl<T: Copy + PartialEq> Ledger<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Puts a key in. Of one with another value nothing but this remains; the same again may be
    /// taken once more.
    pub(crate) fn insert(&mut self, key: u64, value: T, now_ms: u64) {
        self.expire(now_ms);
        if self.order.len() >= MAX_ENTRIES {
            self.drop_oldest();
        }
        let entry = self.entries.entry(key).or_insert((value, now_ms, 0));
        if entry.0 != value {
            *entry = (value, now_ms, 0);
        }
        entry.1 = now_ms;
        entry.2 += 1;
        self.order.push_back((key, now_ms));
    }

    /// The value, spent once.
    pub(crate) fn take(&mut self, key: u64, now_ms: u64) -> Option<T> {
        self.expire(now_ms);
        let (value, _, times) = self.entries.get_mut(&key)?;
        let value = *value;
        *times -= 1;
        if *times == 0 {
            self.entries.remove(&key);
        }
        Some(value)
    }

    /// Whether nothing may be answered any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn expire(&mut self, now_ms: u64) {
        while let Some(&(_, at)) = self.order.front() {
            if at + ANSWER_WITHIN_MS >= now_ms {
                break;
            }
            self.drop_oldest();
        }
        if self.order.is_empty() && self.order.capacity() > 0 {
            self.order = VecDeque::new();
            self.entries = HashMap::new();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((key, at)) = self.order.pop_front() else {
            return;
        };
        // Put in again later: that one stays.
        if self.entries.get(&key).is_some_and(|entry| entry.1 <= at) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_is_taken_once_and_in_time() {
        let mut ledger = Ledger::new();
        ledger.insert(1, 'a', 0);
        ledger.insert(2, 'b', 10);
        assert_eq!(ledger.take(1, 20), Some('a'));
        assert_eq!(ledger.take(1, 20), None);
        assert_eq!(ledger.take(2, 11 + ANSWER_WITHIN_MS), None);
        assert!(ledger.is_empty());
        assert_eq!(ledger.order.capacity(), 0);
    }

    #[test]
    fn the_same_twice_is_taken_twice_and_another_value_replaces() {
        let mut ledger = Ledger::new();
        ledger.insert(1, 'a', 0);
        ledger.insert(1, 'a', 5);
        assert_eq!(ledger.take(1, 6), Some('a'));
        ledger.insert(1, 'b', 7);
        assert_eq!(ledger.take(1, 8), Some('b'));
        assert_eq!(ledger.take(1, 8), None);
    }

    #[test]
    fn what_is_put_in_again_lives_on() {
        let mut ledger = Ledger::new();
        ledger.insert(1, 'a', 0);
        ledger.insert(1, 'a', 1000);
        assert_eq!(ledger.take(1, 500 + ANSWER_WITHIN_MS), Some('a'));
    }

    #[test]
    fn it_is_bounded() {
        let mut ledger = Ledger::new();
        for key in 0..MAX_ENTRIES as u64 + 10 {
            ledger.insert(key, (), 0);
        }
        assert_eq!(ledger.entries.len(), MAX_ENTRIES);
        assert_eq!(ledger.take(9, 0), None);
        assert_eq!(ledger.take(10, 0), Some(()));
    }
}
