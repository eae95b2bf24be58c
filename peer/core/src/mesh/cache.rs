//! Messages kept for others: who missed one can ask for it, and neighbours compare what they have.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::MessageId;

use super::Now;
use super::message::Signed;

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

/// A window of time by the authors' clocks: milliseconds since 1970, the second one excluded.
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

    /// Whether a large message is here that came along the tree.
    pub(super) fn is_of_tree(&self, id: &MessageId) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.message.id == *id && entry.by_tree && entry.message.is_large())
    }

    /// A message and the links that it came along.
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

    /// How many there are in a window, and their fold.
    pub(super) fn summary(&self, span: Span) -> (u32, u64) {
        self.ids(span).fold((0, 0), |(count, fold), id| {
            let (head, _) = id
                .as_bytes()
                .split_first_chunk::<8>()
                .unwrap_or((&[0; 8], &[]));
            (count + 1, fold ^ u64::from_be_bytes(*head))
        })
    }
}
