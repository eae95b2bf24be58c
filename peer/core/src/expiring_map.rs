//! A map whose entries expire after a time, and whose oldest entries are removed when there are too many.
//! It bounds what the core remembers about ids that other peers choose.
//!
//! The entries are in a ring buffer, oldest first. Once there are more than a few, a hash index finds them
//! by their numbers. An entry takes hardly more memory than its key and value, which matters because most
//! of a member's memory is such entries. A lookup reads one word of the index and, if the entry seems to
//! be there, the entry itself. With thousands of members in one process neither is in a CPU cache, so
//! each read waits for memory.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::time::Now;

/// Up to this many entries there is no index and a lookup compares them all. With half as many, the index
/// is dropped again.
const FEW: usize = 16;

/// Keyed once per process. A peer that chooses ids does not know the key, so it cannot cause collisions.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::default);

#[derive(Debug)]
struct Entry<K, V> {
    /// When it was inserted, in nanoseconds.
    at: u64,
    key: K,
    value: V,
}

/// A hash table with open addressing. A slot holds some bits of the key's hash and of the entry's number.
///
/// An entry that was dropped from the ring stays here until the index is built again. A lookup notices it
/// because its number is out of range, or because the entry that now has its number has another key.
#[derive(Debug, Default)]
struct Index {
    /// Either none or a power of two. A free slot is 0.
    slots: Box<[u32]>,
    /// How many slots are taken.
    used: u32,
}

/// Bits of a slot that hold the number. One more bit says that the slot is taken. The others are bits of
/// the hash.
const NUMBER: u32 = 17;
const NUMBERS: u32 = (1 << NUMBER) - 1;
const TAKEN: u32 = 1 << NUMBER;

impl Index {
    fn build(&mut self, hashes: impl ExactSizeIterator<Item = u64>, first: u32) {
        // A quarter to half of the slots are taken now, and three quarters when the index is full.
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

    /// The lower bits of the numbers of the entries that may have a key with this hash.
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

/// The content of the slot of an entry with this hash and number.
const fn word(hash: u64, number: u32) -> u32 {
    // The lower bits of the hash already say where the slot is, so it holds upper ones.
    ((hash >> 32) as u32 & !(NUMBERS | TAKEN)) | TAKEN | (number & NUMBERS)
}

/// A bounded map whose entries expire. They are in order of insertion. Replacing the value of an entry
/// changes neither its place nor its age.
#[derive(Debug)]
pub struct ExpiringMap<K, V> {
    entries: VecDeque<Entry<K, V>>,
    /// Has no slots while there are few entries.
    index: Index,
    /// The number of the oldest entry. Entries are numbered in order of insertion, and the numbers wrap
    /// around.
    first: u32,
    /// The largest number of entries.
    capacity: u32,
    /// The age at which an entry expires.
    age: Duration,
}

impl<K: Copy + Eq + Hash, V> ExpiringMap<K, V> {
    /// An empty map for at most `capacity` entries, which expire at `age`. `capacity` is at most 65,536.
    #[must_use]
    pub fn new(capacity: u32, age: Duration) -> Self {
        debug_assert!(
            capacity <= NUMBERS / 2 + 1,
            "numbers of entries must fit into slots"
        );
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

    /// The place of the key's entry in the ring.
    fn find(&self, key: &K) -> Option<usize> {
        let is_it = |entry: &Entry<K, V>| entry.key == *key;
        if !self.is_indexed() {
            return self.entries.iter().position(is_it);
        }
        let place = |number: u32| (number.wrapping_sub(self.first) & NUMBERS) as usize;
        let mut places = self.index.find(HASHER.hash_one(key)).map(place);
        places.find(|at| self.entries.get(*at).is_some_and(is_it))
    }

    /// The value of this key. Expired entries are found until [`expire`](Self::expire) or
    /// [`insert`](Self::insert) removes them.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.find(key).map(|at| &self.entries[at].value)
    }

    /// Like [`get`](Self::get), to change the value.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.find(key).map(|at| &mut self.entries[at].value)
    }

    /// Whether there is an entry with this key. See [`get`](Self::get) for expired ones.
    #[must_use]
    pub fn contains(&self, key: &K) -> bool {
        self.find(key).is_some()
    }

    /// Removes expired entries, then adds an entry or replaces the value of the one with this key. Returns
    /// whether the key is new. If the map is full, a new entry replaces the oldest one.
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

    /// Removes expired entries.
    pub fn expire(&mut self, now: Now) {
        let (now, age) = (nanos(now), nanos(self.age));
        while let Some(oldest) = self.entries.front()
            && now.saturating_sub(oldest.at) >= age
        {
            self.drop_oldest();
        }
        // The memory that a burst of ids took must not stay allocated for ever.
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

/// The time in nanoseconds. Does not overflow for about 584 years.
const fn nanos(time: Duration) -> u64 {
    time.as_secs() * 1_000_000_000 + time.subsec_nanos() as u64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_removed_by_age_and_by_number() {
        let second = Duration::from_secs;
        let mut map = ExpiringMap::new(3, second(10));
        for at in 0..3u64 {
            assert!(map.insert(second(at), at, ()));
        }
        assert!(!map.insert(second(3), 0, ()), "known");
        assert!(map.insert(second(4), 9, ()));
        assert!(!map.contains(&0), "the oldest made room");
        assert_eq!(map.entries.len(), 3);
        map.expire(second(12));
        assert!(!map.contains(&1) && !map.contains(&2) && map.contains(&9));
        map.expire(second(14));
        assert_eq!(map.entries.len(), 0);
    }

    proptest! {
        /// It behaves like a map from keys to times and values, at any size and where the numbers wrap
        /// around.
        #[test]
        fn behaves_like_a_btree_map(
            first in prop::sample::select(vec![0, u32::MAX - 20]),
            steps in prop::collection::vec((0..80u8, any::<u16>(), 0..3u64), 0..400),
        ) {
            let mut map = ExpiringMap::new(40, Duration::from_secs(30));
            map.first = first;
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
                prop_assert_eq!(map.insert(Duration::from_secs(now), key, value), new);
                prop_assert_eq!(map.entries.len(), model.len());
                for key in 0..80 {
                    prop_assert_eq!(map.get(&key), model.get(&key).map(|(.., value)| value));
                }
            }
        }
    }
}
