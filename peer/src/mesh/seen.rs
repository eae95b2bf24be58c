//! A map that forgets: entries expire after a time, and the oldest go when there are too many.
//! Bounds everything the core remembers about ids that others choose.
//!
//! The entries lie in a ring, oldest first, and beside it is an index of their numbers once they are more than
//! a few. So an entry takes hardly more than its key and value: much of what a member takes is such entries.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::Now;

/// Up to so many entries are looked through; with half as many the index goes again.
const FEW: usize = 16;

#[derive(Debug)]
struct Entry<K, V> {
    at: Now,
    key: K,
    value: V,
}

/// The numbers of all entries by the hashes of their keys.
#[derive(Debug, Default)]
struct Index {
    table: HashTable<u32>,
    hasher: RandomState,
}

/// Entries by key, in order of insertion. A changed entry keeps its place.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    entries: VecDeque<Entry<K, V>>,
    /// None while they are few.
    index: Option<Box<Index>>,
    /// The number of the oldest entry. Numbers wrap around.
    first: u32,
    capacity: u32,
    age: Duration,
}

impl<K: Copy + Eq + Hash, V> Recent<K, V> {
    /// At most `capacity` entries, none older than `age`.
    pub(crate) const fn new(capacity: u32, age: Duration) -> Self {
        Self {
            entries: VecDeque::new(),
            index: None,
            first: 0,
            capacity,
            age,
        }
    }

    /// Its place in the ring.
    fn find(&self, key: &K) -> Option<usize> {
        let Some(index) = &self.index else {
            return self.entries.iter().position(|entry| entry.key == *key);
        };
        let place = |number: u32| number.wrapping_sub(self.first) as usize;
        let hash = index.hasher.hash_one(key);
        let found = (index.table).find(hash, |number| self.entries[place(*number)].key == *key);
        found.map(|number| place(*number))
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).map(|at| &self.entries[at].value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).map(|at| &mut self.entries[at].value)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// Adds or replaces; whether it is new.
    pub(crate) fn insert(&mut self, now: Now, key: K, value: V) -> bool {
        self.expire(now);
        if let Some(old) = self.get_mut(&key) {
            *old = value;
            return false;
        }
        while self.entries.len() >= self.capacity as usize {
            self.drop_oldest();
        }
        let len = self.entries.len();
        if len == self.entries.capacity() {
            self.entries.reserve_exact(len / 4 + 1);
        }
        let at = now;
        self.entries.push_back(Entry { at, key, value });
        if self.index.is_some() {
            self.add_to_index(len);
        } else if len == FEW {
            self.index = Some(Box::default());
            (0..=len).for_each(|at| self.add_to_index(at));
        }
        true
    }

    fn add_to_index(&mut self, at: usize) {
        if let Some(index) = &mut self.index {
            let Index { table, hasher } = &mut **index;
            let hash = |at: usize| hasher.hash_one(self.entries[at].key);
            let number = self.first.wrapping_add(at as u32);
            table.insert_unique(hash(at), number, |number| {
                hash(number.wrapping_sub(self.first) as usize)
            });
        }
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Now) {
        while let Some(oldest) = self.entries.front()
            && now.saturating_sub(oldest.at) >= self.age
        {
            self.drop_oldest();
        }
        // A burst of ids must not keep its memory for ever.
        if self.entries.capacity() > 8 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
            if let Some(index) = &mut self.index {
                let Index { table, hasher } = &mut **index;
                table.shrink_to_fit(|number| {
                    let at = number.wrapping_sub(self.first) as usize;
                    hasher.hash_one(self.entries[at].key)
                });
            }
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else {
            return;
        };
        let number = self.first;
        self.first = number.wrapping_add(1);
        if self.entries.len() <= FEW / 2 {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            let hash = index.hasher.hash_one(oldest.key);
            if let Ok(entry) = index.table.find_entry(hash, |other| *other == number) {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

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

    proptest! {
        /// As a map from keys to times and values, at any size, and where the numbers wrap around.
        #[test]
        fn it_is_a_map(
            first in prop::sample::select(vec![0, u32::MAX - 20]),
            steps in prop::collection::vec((0..80u8, any::<u16>(), 0..3u64), 0..400),
        ) {
            let mut recent = Recent::new(40, Duration::from_secs(30));
            recent.first = first;
            let mut model: BTreeMap<u8, (u64, usize, u16)> = BTreeMap::new();
            let mut now = 0;
            for (step, (key, value, passed)) in steps.into_iter().enumerate() {
                now += passed;
                model.retain(|_, (at, ..)| now < *at + 30);
                let (at, age) = model.get(&key).map_or((now, step), |(at, age, _)| (*at, *age));
                if model.len() == 40 && !model.contains_key(&key) {
                    let oldest = model.iter().min_by_key(|(_, (_, age, _))| *age);
                    let oldest = *oldest.unwrap().0;
                    model.remove(&oldest);
                }
                let new = model.insert(key, (at, age, value)).is_none();
                prop_assert_eq!(recent.insert(Duration::from_secs(now), key, value), new);
                prop_assert_eq!(recent.entries.len(), model.len());
                for key in 0..80 {
                    prop_assert_eq!(recent.get(&key), model.get(&key).map(|(.., value)| value));
                }
            }
        }
    }
}
