//! Keys of members: what we know, and whose we are looking for.

use std::time::Duration;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::{MessageId, PeerId};

use super::{MEMBERS, PATIENCE, RETRY};
use crate::expiring_map::ExpiringMap;
use crate::map::Map;
use crate::time::Now;

/// How long keys are remembered. They never change, so this bounds memory only.
const AGE: Duration = Duration::from_secs(3600);

/// Members whose keys we look for at once.
const MAX_LOOKUPS: usize = 256;

#[derive(Debug)]
struct Lookup {
    /// The WHO frames that we have flooded for it.
    ids: Vec<MessageId>,
    since: Now,
    next: Now,
}

/// What to do about a lookup that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask once more.
    Ask,
    /// Nobody has answered in time.
    GiveUp,
}

/// Keys of members that are not neighbours, at most 4,096, 64 bytes each; and the lookups.
#[derive(Debug)]
pub(super) struct KeyBook {
    known: ExpiringMap<PeerId, PublicKeys>,
    lookups: Map<PeerId, Lookup>,
}

impl KeyBook {
    pub(super) fn new() -> Self {
        Self {
            known: ExpiringMap::new(MEMBERS, AGE),
            lookups: Map::default(),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.known.expire(now);
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.lookups.values().map(|lookup| lookup.next).min()
    }

    pub(super) fn learn(&mut self, now: Now, peer: PeerId, keys: PublicKeys) {
        self.known.insert(now, peer, keys);
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<PublicKeys> {
        self.known.get(&peer).copied()
    }

    /// Starts to look for a member's keys. `false` if there are too many lookups.
    pub(super) fn look_for(&mut self, now: Now, peer: PeerId) -> bool {
        if self.lookups.contains_key(&peer) {
            return true;
        }
        if self.lookups.len() >= MAX_LOOKUPS {
            return false;
        }
        let lookup = Lookup {
            ids: Vec::new(),
            since: now,
            next: now,
        };
        self.lookups.insert(peer, lookup);
        true
    }

    /// We have flooded this question for a member.
    pub(super) fn asked(&mut self, peer: PeerId, id: MessageId) {
        if let Some(lookup) = self.lookups.get_mut(&peer) {
            lookup.ids.push(id);
        }
    }

    /// Whether this question for a member is ours.
    pub(super) fn has_asked(&self, peer: PeerId, id: MessageId) -> bool {
        let lookup = self.lookups.get(&peer);
        lookup.is_some_and(|lookup| lookup.ids.contains(&id))
    }

    /// Ends a lookup. Whether there was one.
    pub(super) fn finish(&mut self, peer: PeerId) -> bool {
        self.lookups.remove(&peer).is_some()
    }

    /// A link came up: ask along it.
    pub(super) fn ask_again(&mut self, now: Now) {
        for lookup in self.lookups.values_mut() {
            lookup.next = now;
        }
    }

    /// Members whose lookup is due.
    pub(super) fn due(&self, now: Now) -> Vec<PeerId> {
        (self.lookups.iter())
            .filter(|(_, lookup)| lookup.next <= now)
            .map(|(peer, _)| *peer)
            .collect()
    }

    pub(super) fn retry(&mut self, now: Now, peer: PeerId) -> Option<Due> {
        let lookup = self.lookups.get_mut(&peer)?;
        if now >= lookup.since + PATIENCE {
            self.lookups.remove(&peer);
            return Some(Due::GiveUp);
        }
        lookup.next = now + RETRY;
        Some(Due::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId::new([1; 20]);

    #[test]
    fn a_lookup_is_retried_and_then_given_up() {
        let mut keys = KeyBook::new();
        assert!(keys.look_for(Now::ZERO, PEER));
        assert!(keys.look_for(Now::ZERO, PEER), "the same one");
        let mut now = Now::ZERO;
        let mut asked = 0;
        while let Some(Due::Ask) = keys.retry(now, PEER) {
            asked += 1;
            now = keys.deadline().unwrap();
        }
        assert_eq!(asked, PATIENCE.as_secs() / RETRY.as_secs());
        assert_eq!(keys.deadline(), None);
    }

    #[test]
    fn only_so_many_lookups_run_at_once() {
        let mut keys = KeyBook::new();
        for at in 0..=MAX_LOOKUPS {
            let mut id = [0; 20];
            id[..2].copy_from_slice(&(at as u16).to_be_bytes());
            assert_eq!(keys.look_for(Now::ZERO, PeerId::new(id)), at < MAX_LOOKUPS);
        }
    }
}
