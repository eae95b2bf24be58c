//! What passes through us: where it came from, to lead answers back, and what we have flooded already.

use std::time::Duration;

use easypeers_proto::{MessageId, PeerId};

use super::routes::Routes;
use crate::expiring_map::ExpiringMap;
use crate::message::LinkId;
use crate::neighbors::Neighbors;
use crate::time::Now;

/// Messages and questions whose way back is remembered.
pub(super) const PASSING: u32 = 8192;

/// How long. A message and its acknowledgement take less.
const AGE: Duration = Duration::from_secs(60);

/// Where a message or question came from, and to which member it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) link: LinkId,
    pub(super) to: PeerId,
}

/// What passes through us.
#[derive(Debug)]
pub(super) struct Relay {
    origins: ExpiringMap<MessageId, Origin>,
    flooded: ExpiringMap<MessageId, ()>,
}

impl Relay {
    pub(super) fn new() -> Self {
        Self {
            origins: ExpiringMap::new(PASSING, AGE),
            flooded: ExpiringMap::new(PASSING, AGE),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.origins.expire(now);
        self.flooded.expire(now);
    }

    /// Notes that something is flooded. `false` if it was before.
    pub(super) fn flood(&mut self, now: Now, id: MessageId) -> bool {
        self.flooded.insert(now, id, ())
    }

    pub(super) fn remember(&mut self, now: Now, id: MessageId, link: LinkId, to: PeerId) {
        self.origins.insert(now, id, Origin { link, to });
    }

    pub(super) fn origin(&self, id: MessageId) -> Option<Origin> {
        self.origins.get(&id).copied()
    }

    /// The link that a message came along, or else any way to where it came from. Never `not`.
    pub(super) fn way_back(
        &self,
        now: Now,
        neighbors: &Neighbors,
        routes: &Routes,
        (id, to): (MessageId, PeerId),
        not: Option<LinkId>,
    ) -> Option<LinkId> {
        let back = self.origins.get(&id).map(|origin| origin.link);
        back.filter(|link| neighbors.is_up(*link) && Some(*link) != not)
            .or_else(|| routes.way(now, neighbors, to, not))
    }
}
