//! Routes: behind which link a member lies, as far as we know.
//!
//! Routes are hints, learned from signed broadcasts and from what passes by. A liar can lead messages astray.
//! It cannot read or acknowledge them, and it cannot stop a flood.

use std::time::Duration;

use easypeers_proto::PeerId;

use super::MEMBERS;
use crate::expiring_map::ExpiringMap;
use crate::message::LinkId;
use crate::neighbors::Neighbors;
use crate::time::Now;

/// How long a route is used after it was last seen to work.
const AGE: Duration = Duration::from_secs(600);

/// A link that is never up. A route along it leads nowhere.
const NO_LINK: LinkId = LinkId(u64::MAX);

#[derive(Debug, Clone, Copy)]
struct Route {
    link: LinkId,
    hops: u8,
    at: Now,
}

/// The learned routes, at most 4,096 of them, 40 bytes each.
#[derive(Debug)]
pub struct Routes {
    by_member: ExpiringMap<PeerId, Route>,
}

impl Routes {
    pub(super) fn new() -> Self {
        Self {
            by_member: ExpiringMap::new(MEMBERS, AGE),
        }
    }

    pub(super) fn expire(&mut self, now: Now) {
        self.by_member.expire(now);
    }

    /// Remembers that a member lies behind a link. A shorter way replaces a longer one, and a way that is up
    /// replaces one that is not.
    pub(crate) fn learn(
        &mut self,
        now: Now,
        neighbors: &Neighbors,
        peer: PeerId,
        link: LinkId,
        hops: u8,
    ) {
        let better = self.by_member.get(&peer).is_none_or(|old| {
            hops <= old.hops || !neighbors.is_up(old.link) || now >= old.at + AGE / 10
        });
        if better && peer != neighbors.me() {
            let route = Route {
                link,
                hops,
                at: now,
            };
            self.by_member.insert(now, peer, route);
        }
    }

    /// The link towards a member: its own link, or the link behind which it was last seen. Never `not`.
    pub(crate) fn way(
        &self,
        now: Now,
        neighbors: &Neighbors,
        to: PeerId,
        not: Option<LinkId>,
    ) -> Option<LinkId> {
        let mut mesh_links = neighbors.mesh_links();
        let neighbor = mesh_links.find(|(_, link)| link.peer == to);
        let learned = || {
            let route = self.by_member.get(&to)?;
            (now < route.at + AGE && neighbors.is_up(route.link)).then_some(route.link)
        };
        neighbor
            .map(|(id, _)| id)
            .or_else(learned)
            .filter(|link| Some(*link) != not)
    }

    /// The way to this member along this link leads nowhere, as its neighbour says. Other neighbours cannot end
    /// it.
    pub(super) fn end(&mut self, to: PeerId, link: LinkId) {
        if let Some(route) = self.by_member.get_mut(&to)
            && route.link == link
        {
            route.link = NO_LINK;
        }
    }
}
