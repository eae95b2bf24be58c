//! Broadcasts kept for others: a member that missed one can ask for it, and neighbours compare what they have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::MessageId;

use crate::message::Signed;
use crate::time::Now;

/// Messages, bytes and age at most.
const MESSAGES: usize = 256;
const BYTES: usize = 1 << 20;
pub(super) const AGE: Duration = Duration::from_secs(300);

#[derive(Debug)]
struct Entry {
    at: Now,
    hops: u8,
    /// It came along the tree, or is ours.
    by_tree: bool,
    message: Arc<Signed>,
}

/// The latest broadcasts, oldest first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// A window of time by the authors' clocks, in milliseconds since 1970. The end is excluded.
pub(super) type Span = (u64, u64);

impl Cache {
    pub(super) fn insert(&mut self, now: Now, hops: u8, by_tree: bool, message: &Arc<Signed>) {
        self.expire(now);
        self.bytes += message.bytes.len();
        self.entries.push_back(Entry {
            at: now,
            hops,
            by_tree,
            message: Arc::clone(message),
        });
        while self.entries.len() > MESSAGES || self.bytes > BYTES {
            self.drop_oldest();
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        while let Some(entry) = self.entries.front()
            && now.saturating_sub(entry.at) >= AGE
        {
            self.drop_oldest();
        }
        if self.entries.is_empty() {
            self.entries.shrink_to_fit();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.message.bytes.len();
        }
    }

    /// Whether this is a large message that came along the tree.
    pub(super) fn came_by_tree(&self, id: &MessageId) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.message.id == *id && entry.by_tree && entry.message.is_large())
    }

    /// A message and how many links it had travelled along when it came.
    pub(super) fn get(&self, id: &MessageId) -> Option<(u8, &Arc<Signed>)> {
        let entry = self.entries.iter().find(|entry| entry.message.id == *id)?;
        Some((entry.hops, &entry.message))
    }

    /// The ids of a window.
    pub(super) fn ids(&self, span: Span) -> impl Iterator<Item = MessageId> {
        let times = span.0..span.1;
        self.entries
            .iter()
            .filter(move |entry| times.contains(&entry.message.time_ms))
            .map(|entry| entry.message.id)
    }

    /// How many messages there are in a window, and the exclusive or of the first 8 bytes of their ids.
    pub(super) fn summary(&self, span: Span) -> (u32, u64) {
        self.ids(span).fold((0, 0), |(count, hash), id| {
            let (head, _) = id
                .as_bytes()
                .split_first_chunk::<8>()
                .unwrap_or((&[0; 8], &[]));
            (count + 1, hash ^ u64::from_be_bytes(*head))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::message;

    #[test]
    fn the_oldest_messages_make_room() {
        let mut cache = Cache::default();
        for at in 0..300u64 {
            cache.insert(Now::ZERO, 1, true, &message(at, 10));
        }
        assert_eq!(cache.entries.len(), MESSAGES);
        assert!(cache.get(&message(0, 10).id).is_none());
        assert!(cache.get(&message(299, 10).id).is_some());
        for at in 300..320 {
            cache.insert(Now::ZERO, 1, true, &message(at, 100 << 10));
        }
        assert!(cache.bytes <= BYTES);
        cache.expire(AGE);
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }

    #[test]
    fn summaries_differ_where_messages_do() {
        let (mut ours, mut theirs) = (Cache::default(), Cache::default());
        for at in 0..10 {
            ours.insert(Now::ZERO, 1, true, &message(at, 10));
            theirs.insert(Now::ZERO, 1, true, &message(9 - at, 10));
        }
        let span = (0, u64::MAX);
        assert_eq!(ours.summary(span), theirs.summary(span), "in any order");
        theirs.insert(Now::ZERO, 1, true, &message(10, 10));
        assert_ne!(ours.summary(span), theirs.summary(span));
        assert_eq!(ours.summary((0, 0)), (0, 0));
    }
}
