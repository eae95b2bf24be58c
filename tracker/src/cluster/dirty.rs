//! Swarms whose counts changed since they were last written to the directory, and when each entry
//! must be written again to stay in it.

use std::collections::{HashMap, VecDeque};

use dashmap::DashMap;
use easypeers_proto::InfoHash;

/// Filled by announces, emptied by the flusher.
#[derive(Debug)]
pub(crate) struct Dirty(DashMap<InfoHash, ()>);

impl Dirty {
    pub(crate) fn new() -> Self {
        Self(DashMap::new())
    }

    pub(crate) fn mark(&self, info_hash: InfoHash) {
        self.0.insert(info_hash, ());
    }

    /// Takes one out; whether it was there.
    pub(crate) fn unmark(&self, info_hash: &InfoHash) -> bool {
        self.0.remove(info_hash).is_some()
    }

    /// Takes up to `most`.
    pub(crate) fn take(&self, most: usize) -> Vec<InfoHash> {
        let taken: Vec<_> = self.0.iter().take(most).map(|entry| *entry.key()).collect();
        taken.iter().for_each(|info_hash| {
            self.0.remove(info_hash);
        });
        if self.0.is_empty() {
            // After a crowd; costs nothing otherwise.
            self.0.shrink_to_fit();
        }
        taken
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The flusher's own list of what it wrote. Pure.
#[derive(Debug, Default)]
pub(crate) struct Written {
    at: HashMap<InfoHash, u64>,
    /// In the order of time; superseded ones are skipped.
    order: VecDeque<(u64, InfoHash)>,
}

impl Written {
    pub(crate) fn add(&mut self, info_hash: InfoHash, now_ms: u64) {
        // Hot swarms are written every second and would fill the list until it is their turn.
        if self.at.insert(info_hash, now_ms) != Some(now_ms) {
            self.order.push_back((now_ms, info_hash));
        }
        if self.order.len() > 4 * self.at.len() + 1024 {
            let at = &self.at;
            self.order.retain(|(ms, hash)| at.get(hash) == Some(ms));
        }
    }

    pub(crate) fn remove(&mut self, info_hash: &InfoHash) {
        self.at.remove(info_hash);
        if self.at.is_empty() {
            self.order = VecDeque::new();
        }
    }

    /// One that was written before `before_ms` and not since.
    pub(crate) fn pop_older(&mut self, before_ms: u64) -> Option<InfoHash> {
        while self.order.front().is_some_and(|(ms, _)| *ms < before_ms) {
            let (ms, info_hash) = self.order.pop_front()?;
            if self.at.get(&info_hash) == Some(&ms) {
                return Some(info_hash);
            }
        }
        None
    }

    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    /// Forgets and returns everything.
    pub(crate) fn drain(&mut self) -> Vec<InfoHash> {
        self.order = VecDeque::new();
        std::mem::take(&mut self.at).into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> InfoHash {
        InfoHash::new([number; 20])
    }

    #[test]
    fn a_swarm_is_dirty_once() {
        let dirty = Dirty::new();
        for _ in 0..3 {
            dirty.mark(hash(1));
            dirty.mark(hash(2));
        }
        assert_eq!(dirty.len(), 2);
        assert!(dirty.unmark(&hash(1)) && !dirty.unmark(&hash(1)));
        assert_eq!(dirty.take(10), [hash(2)]);
        assert_eq!(dirty.len(), 0);
    }

    #[test]
    fn quiet_entries_come_up_again_and_busy_ones_do_not() {
        let mut written = Written::default();
        written.add(hash(1), 0);
        written.add(hash(2), 0);
        written.add(hash(1), 50);
        written.add(hash(3), 0);
        written.remove(&hash(3));
        assert_eq!(written.pop_older(10), Some(hash(2)));
        assert_eq!(written.pop_older(10), None);
        assert_eq!(written.pop_older(51), Some(hash(1)));
        assert_eq!(written.len(), 2);
    }

    #[test]
    fn the_list_is_bounded_by_swarms_not_by_writes() {
        let mut written = Written::default();
        for ms in 0..100_000 {
            written.add(hash((ms % 10) as u8), ms);
        }
        assert!(written.order.len() < 2_000);
        assert_eq!(written.drain().len(), 10);
    }
}
