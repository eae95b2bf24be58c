//! The numbers of peers, connections and packets, and sets of them.

/// The number by which an event names a peer, a connection or a packet. It has four bytes instead of
/// eight because millions of events wait at the same time. More than four billion entries would not
/// fit in memory.
pub(crate) const fn index(at: usize) -> u32 {
    at as u32
}

/// A set of numbers, one bit for each.
#[derive(Debug, Clone, Default)]
pub(crate) struct IndexSet(Vec<u64>);

impl IndexSet {
    /// Returns whether the number was not in the set before.
    pub(crate) fn insert(&mut self, at: u32) -> bool {
        let (word, bit) = (at as usize / 64, 1 << (at % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    pub(crate) fn contains(&self, at: u32) -> bool {
        let word = self.0.get(at as usize / 64);
        word.is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_was_inserted() {
        let mut set = IndexSet::default();
        assert!(set.insert(3));
        assert!(!set.insert(3));
        assert!(set.insert(1_000));
        assert!(set.contains(3) && set.contains(1_000));
        assert!(!set.contains(4) && !set.contains(67) && !set.contains(100_000));
    }
}
