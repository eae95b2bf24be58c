//! A map that forgets: entries expire after a time, and the oldest go when there are too many.
//! Bounds everything the core remembers about ids that others choose.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use foldhash::fast::RandomState;

use super::Now;

/// Entries by key, in order of insertion. A changed entry keeps its place.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, V, RandomState>,
    order: VecDeque<(Now, K)>,
    capacity: usize,
    age: Duration,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// At most `capacity` entries, none older than `age`.
    pub(crate) fn new(capacity: usize, age: Duration) -> Self {
        Self {
            entries: HashMap::default(),
            order: VecDeque::new(),
            capacity,
            age,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    /// Adds or replaces; whether it is new.
    pub(crate) fn insert(&mut self, now: Now, key: K, value: V) -> bool {
        self.expire(now);
        if let Some(old) = self.entries.get_mut(&key) {
            *old = value;
            return false;
        }
        while self.entries.len() >= self.capacity {
            self.drop_oldest();
        }
        self.entries.insert(key, value);
        self.order.push_back((now, key));
        true
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Now) {
        while let Some((at, _)) = self.order.front()
            && now.saturating_sub(*at) >= self.age
        {
            self.drop_oldest();
        }
        // A burst of ids must not keep its memory for ever.
        if self.order.capacity() > 64 && self.order.len() < self.order.capacity() / 8 {
            self.order.shrink_to(self.order.len() * 2);
            self.entries.shrink_to(self.entries.len() * 2);
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, key)) = self.order.pop_front() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_by_age_and_by_number() {
        let second = Duration::from_secs;
        let mut recent = Recent::new(3, second(10));
        for at in 0..3u64 {
            assert!(recent.insert(second(at), at, ()));
        }
        assert!(!recent.insert(second(3), 0, ()), "known");
        assert!(recent.insert(second(4), 9, ()));
        assert!(!recent.contains(&0), "the oldest made room");
        assert_eq!(recent.entries.len(), 3);
        recent.expire(second(12));
        assert!(!recent.contains(&1) && !recent.contains(&2) && recent.contains(&9));
        recent.expire(second(14));
        assert_eq!(recent.entries.len(), 0);
    }
}
