//! What other nodes have in the swarms that this one is asked about, as of the last read.

use std::sync::Arc;

use dashmap::DashMap;
use easypeers_proto::InfoHash;
use easypeers_proto::cluster::NodeId;

/// How long offers are shared out by a view without another read.
pub(crate) const FRESH_MS: u64 = 10_000;

/// How long nothing can have changed: counts are not written oftener.
const RECENT_MS: u64 = 1_000;

/// Most views. A client may scrape any number of swarms that do not exist.
const MAX_VIEWS: usize = 1 << 20;

/// Another node's part of a swarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) node: NodeId,
    pub(crate) complete: u32,
    pub(crate) incomplete: u32,
}

/// What was read of one swarm.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) read_ms: u64,
    pub(crate) parts: Arc<[Part]>,
}

impl View {
    pub(crate) fn is_recent(&self, now_ms: u64) -> bool {
        self.read_ms + RECENT_MS > now_ms
    }

    pub(crate) fn is_fresh(&self, now_ms: u64) -> bool {
        self.read_ms + FRESH_MS > now_ms
    }
}

/// See the module. A swarm whose view has aged keeps it, for its counts and as the best guess while
/// the next read is under way.
#[derive(Debug)]
pub(crate) struct Views {
    map: DashMap<InfoHash, View>,
    nobody: Arc<[Part]>,
}

impl Views {
    pub(crate) fn new() -> Self {
        Self {
            map: DashMap::new(),
            nobody: Arc::new([]),
        }
    }

    pub(crate) fn of(&self, info_hash: &InfoHash) -> Option<View> {
        self.map.get(info_hash).map(|view| view.clone())
    }

    pub(crate) fn set(&self, info_hash: InfoHash, parts: &[Part], now_ms: u64) {
        if self.map.len() >= MAX_VIEWS && !self.map.contains_key(&info_hash) {
            return;
        }
        let parts = match parts {
            [] => Arc::clone(&self.nobody),
            parts => parts.into(),
        };
        let view = View {
            read_ms: now_ms,
            parts,
        };
        self.map.insert(info_hash, view);
    }

    /// Forgets what nobody asked about since `keep_ms` ago; at once what has nobody in it and must be
    /// read again anyway.
    pub(crate) fn tidy(&self, now_ms: u64, keep_ms: u64) {
        self.map.retain(|_, view| {
            let keep = if view.parts.is_empty() {
                FRESH_MS
            } else {
                keep_ms
            };
            view.read_ms + keep > now_ms
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_age_and_go() {
        let views = Views::new();
        let (full, empty) = (InfoHash::new([1; 20]), InfoHash::new([2; 20]));
        let part = Part {
            node: NodeId::new(1),
            complete: 1,
            incomplete: 2,
        };
        views.set(full, &[part], 1_000);
        views.set(empty, &[], 1_000);
        assert!(views.of(&full).unwrap().is_fresh(10_999));
        assert!(!views.of(&full).unwrap().is_fresh(11_000));
        views.tidy(11_000, 60_000);
        assert!(views.of(&empty).is_none());
        assert_eq!(&*views.of(&full).unwrap().parts, &[part]);
        views.tidy(61_000, 60_000);
        assert!(views.of(&full).is_none());
    }
}
