//! Bulk links: a link of its own for heavy traffic between two members, on top of those of the mesh. It
//! stays as long as it is used. After that it is a link like any other.

use std::time::Duration;

use crate::map::Map;
use crate::message::LinkId;
use crate::time::Now;

/// How long it may be unused.
const IDLE: Duration = Duration::from_secs(60);

/// Bulk links, and until when each of them is one unless it is used.
#[derive(Debug, Default)]
pub(super) struct BulkLinks {
    until: Map<LinkId, Now>,
}

impl BulkLinks {
    pub(super) fn deadlines(&self) -> impl Iterator<Item = Now> {
        self.until.values().copied()
    }

    pub(super) const fn len(&self) -> usize {
        self.until.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    pub(super) fn contains(&self, link: LinkId) -> bool {
        self.until.contains_key(&link)
    }

    pub(super) fn start(&mut self, now: Now, link: LinkId) {
        self.until.insert(link, now + IDLE);
    }

    /// A message between the two ends of this link went along it.
    pub(super) fn note_used(&mut self, now: Now, link: LinkId) {
        if let Some(until) = self.until.get_mut(&link) {
            *until = now + IDLE;
        }
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        self.until.remove(&link);
    }

    pub(super) fn end_unused(&mut self, now: Now) {
        self.until.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_link_stays_one_while_it_is_used() {
        let mut bulk = BulkLinks::default();
        let link = LinkId(1);
        bulk.note_used(Now::ZERO, link);
        assert!(bulk.is_empty(), "a link of the mesh");
        bulk.start(Now::ZERO, link);
        bulk.note_used(IDLE / 2, link);
        bulk.end_unused(IDLE);
        assert!(bulk.contains(link));
        bulk.end_unused(IDLE / 2 + IDLE);
        assert!(!bulk.contains(link));
    }
}
