//! Puts large direct messages together. Each of their parts is sealed and acknowledged on its own.

use std::collections::HashMap;
use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::crypto::part::Part;

use easypeers_core::time::Now;

/// Messages under way at once, from all senders.
const GROUPS: usize = 32;

/// Messages under way at once from one sender.
const GROUPS_EACH: usize = 4;

/// Bytes of unfinished messages at once: four of the largest.
const BYTES: usize = 64 << 20;

/// A message is given up when no new part arrives for this long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Group {
    parts: Vec<Option<Vec<u8>>>,
    missing: usize,
    bytes: usize,
    last: Now,
}

/// Unfinished messages.
#[derive(Debug, Default)]
pub(super) struct Parts {
    groups: HashMap<(PeerId, [u8; 20]), Group>,
    bytes: usize,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Kept; more are missing.
    Kept,
    /// The message is whole.
    Whole(Vec<u8>),
    /// There is no room, or it contradicts the others. It must not be acknowledged.
    Refused,
}

impl Parts {
    pub(super) fn add(&mut self, now: Now, from: PeerId, part: &Part<'_>) -> Added {
        self.expire(now);
        let key = (from, part.group);
        if !self.groups.contains_key(&key) && !self.open(key, part.count, now) {
            return Added::Refused;
        }
        let room = BYTES.saturating_sub(self.bytes);
        let Some(group) = self.groups.get_mut(&key) else {
            return Added::Refused;
        };
        let max = crate::model::MAX_MESSAGE;
        let length = part.data.len();
        if group.parts.len() != part.count as usize || length > room || group.bytes + length > max {
            return Added::Refused;
        }
        let Some(slot) = group.parts.get_mut(part.index as usize) else {
            return Added::Refused;
        };
        if slot.is_none() {
            *slot = Some(part.data.to_vec());
            group.missing -= 1;
            group.bytes += length;
            group.last = now;
            self.bytes += length;
        }
        if group.missing > 0 {
            return Added::Kept;
        }
        let whole = self.groups.remove(&key);
        let parts = whole.map(|group| group.parts).unwrap_or_default();
        let whole: Vec<u8> = parts.into_iter().flatten().flatten().collect();
        self.bytes -= whole.len();
        Added::Whole(whole)
    }

    fn open(&mut self, key: (PeerId, [u8; 20]), count: u32, now: Now) -> bool {
        let of_sender = self.groups.keys().filter(|(from, _)| *from == key.0);
        if count == 0 || self.groups.len() >= GROUPS || of_sender.count() >= GROUPS_EACH {
            return false;
        }
        let count = count as usize;
        let group = Group {
            parts: vec![None; count],
            missing: count,
            bytes: 0,
            last: now,
        };
        self.groups.insert(key, group);
        true
    }

    pub(super) fn expire(&mut self, now: Now) {
        let bytes = &mut self.bytes;
        self.groups.retain(|_, group| {
            let keep = now < group.last + PATIENCE;
            if !keep {
                *bytes -= group.bytes;
            }
            keep
        });
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.groups
            .values()
            .map(|group| group.last + PATIENCE)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PeerId = PeerId::new([1; 20]);

    fn part(group: u8, index: u32, data: &[u8]) -> Part<'_> {
        Part {
            group: [group; 20],
            index,
            count: 3,
            data,
        }
    }

    #[test]
    fn parts_in_any_order_make_the_message_once() {
        let mut parts = Parts::default();
        let now = Now::ZERO;
        assert_eq!(parts.add(now, ALICE, &part(1, 2, b"c")), Added::Kept);
        assert_eq!(parts.add(now, ALICE, &part(1, 0, b"a")), Added::Kept);
        assert_eq!(
            parts.add(now, ALICE, &part(1, 0, b"X")),
            Added::Kept,
            "the first one counts"
        );
        assert_eq!(
            parts.add(now, ALICE, &part(1, 1, b"b")),
            Added::Whole(b"abc".to_vec())
        );
        assert_eq!(parts.bytes, 0);
        assert!(parts.deadline().is_none());
    }

    #[test]
    fn one_sender_cannot_take_all_the_room() {
        let mut parts = Parts::default();
        let now = Now::ZERO;
        for group in 0..4 {
            assert_eq!(parts.add(now, ALICE, &part(group, 0, b"a")), Added::Kept);
        }
        assert_eq!(parts.add(now, ALICE, &part(9, 0, b"a")), Added::Refused);
        let bob = PeerId::new([2; 20]);
        assert_eq!(parts.add(now, bob, &part(9, 0, b"a")), Added::Kept);
        let wrong = Part {
            count: 2,
            ..part(1, 1, b"b")
        };
        assert_eq!(
            parts.add(now, ALICE, &wrong),
            Added::Refused,
            "another count"
        );
        assert_eq!(
            parts.add(now, ALICE, &part(1, 3, b"b")),
            Added::Refused,
            "beyond the count"
        );
        parts.expire(PATIENCE);
        assert_eq!(parts.bytes, 0);
        assert_eq!(parts.add(PATIENCE, ALICE, &part(9, 0, b"a")), Added::Kept);
    }
}
