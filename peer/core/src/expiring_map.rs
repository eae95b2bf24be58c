//! A map that forgets: entries expire after a time, and the oldest go when there are too many.
//! Bounds everything the core remembers about ids that others choose.
//!
//! The entries lie in a ring, oldest first, and beside it is an index of their numbers once they are more than
//! a few. So an entry takes hardly more than its key and value: much of what a member takes is such entries.
//! A lookup reads one word of the index and, if the entry seems to be there, the entry: of thousands of members
//! in one process nothing is in a cache, so that each is a wait for memory.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::time::Now;

/// Up to so many entries are looked through; with half as many the index goes again.
const FEW: usize = 16;

/// Of one key for the whole process: whoever chooses ids does not know it.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

#[derive(Debug)]
struct Entry<K, V> {
    /// Nanoseconds.
    at: u64,
    key: K,
    value: V,
}

/// Where entries are: open addressing, a slot holds some bits of the key's hash and of the entry's number.
/// What is dropped from the ring stays here until the next building: the number tells that it is gone, or
/// the key that another has got its number.
#[derive(Debug, Default)]
struct Index {
    /// A power of two of them, or none; 0 is free.
    slots: Box<[u32]>,
    used: u32,
}

/// Bits of a number in a slot, of which one more tells that the slot is taken; the rest is of the hash.
const NUMBER: u32 = 17;
const NUMBERS: u32 = (1 << NUMBER) - 1;
const TAKEN: u32 = 1 << NUMBER;

impl Index {
    fn build(&mut self, hashes: impl ExactSizeIterator<Item = u64>, first: u32) {
        // From half to a quarter of them is taken at first, three quarters at last.
        self.slots = vec![0; (2 * hashes.len()).next_power_of_two()].into();
        self.used = 0;
        for (at, hash) in hashes.enumerate() {
            self.add(hash, first.wrapping_add(at as u32));
        }
    }

    fn is_full(&self) -> bool {
        self.used as usize >= self.slots.len() / 4 * 3
    }

    fn add(&mut self, hash: u64, number: u32) {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = word(hash, number);
        self.used += 1;
    }

    /// The numbers, but for their upper bits, that may be of a key with this hash.
    fn find(&self, hash: u64) -> impl Iterator<Item = u32> {
        let mask = self.slots.len() - 1;
        let start = hash as usize & mask;
        (start..)
            .map(move |at| self.slots[at & mask])
            .take_while(|slot| *slot != 0)
            .filter(move |slot| slot & !NUMBERS == word(hash, 0))
            .map(|slot| slot & NUMBERS)
    }
}

/// What a slot holds.
const fn word(hash: u64, number: u32) -> u32 {
    // The lower bits of the hash say where the slot is.
    ((hash >> 32) as u32 & !(NUMBERS | TAKEN)) | TAKEN | (number & NUMBERS)
}

/// Entries by key, in order of insertion. A changed entry keeps its place.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    entries: VecDeque<Entry<K, V>>,
    /// Without slots while they are few.
    index: Index,
    /// The number of the oldest entry. Numbers wrap around.
    first: u32,
    capacity: u32,
    age: Duration,
}

impl<K: Copy + Eq + Hash, V> ExpiringMap<K, V> {
    /// At most `capacity` entries, up to 65,536, none older than `age`.
    pub fn new(capacity: u32, age: Duration) -> Self {
        debug_assert!(capacity <= NUMBERS / 2 + 1, "their numbers fit into slots");
        Self {
            entries: VecDeque::new(),
            index: Index::default(),
            first: 0,
            capacity,
            age,
        }
    }

    fn is_indexed(&self) -> bool {
        !self.index.slots.is_empty()
    }

    /// Its place in the ring.
    fn find(&self, key: &K) -> Option<usize> {
        let is_it = |entry: &Entry<K, V>| entry.key == *key;
        if !self.is_indexed() {
            return self.entries.iter().position(is_it);
        }
        let place = |number: u32| (number.wrapping_sub(self.first) & NUMBERS) as usize;
        let mut places = self.index.find(HASHER.hash_one(key)).map(place);
        places.find(|at| self.entries.get(*at).is_some_and(is_it))
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).map(|at| &self.entries[at].value)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).map(|at| &mut self.entries[at].value)
    }

    pub fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// Adds or replaces; whether it is new.
    pub fn insert(&mut self, now: Now, key: K, value: V) -> bool {
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
        let at = nanos(now);
        self.entries.push_back(Entry { at, key, value });
        if self.is_indexed() && !self.index.is_full() {
            let number = self.first.wrapping_add(len as u32);
            self.index.add(HASHER.hash_one(key), number);
        } else if self.is_indexed() || len == FEW {
            self.build_index();
        }
        true
    }

    fn build_index(&mut self) {
        let hashes = (self.entries.iter()).map(|entry| HASHER.hash_one(entry.key));
        self.index.build(hashes, self.first);
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Now) {
        let (now, age) = (nanos(now), nanos(self.age));
        while let Some(oldest) = self.entries.front()
            && now.saturating_sub(oldest.at) >= age
        {
            self.drop_oldest();
        }
        // A burst of ids must not keep its memory for ever.
        if self.entries.capacity() > 8 && self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
            if self.is_indexed() {
                self.build_index();
            }
        }
    }

    fn drop_oldest(&mut self) {
        if self.entries.pop_front().is_some() {
            self.first = self.first.wrapping_add(1);
            if self.entries.len() <= FEW / 2 {
                self.index = Index::default();
            }
        }
    }
}

/// Of five centuries.
const fn nanos(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + time.subsec_nanos() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_go_by_age_and_by_number() {
        let second = Duration::from_secs;
        let mut recent = ExpiringMap::new(3, second(10));
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
            let mut recent = ExpiringMap::new(40, Duration::from_secs(30));
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
