//! A link of its own for heavy traffic between two members, beside those of the mesh. It stays as long
//! as it is used; then it is a link like any other.

use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::wire::frame::{Purpose, WalkTarget};

use super::{Membership, Mesh};
use crate::mesh::{LinkId, Now};

/// Unused for so long, it is nothing special any more.
const IDLE: Duration = Duration::from_secs(60);

impl Membership {
    /// Whether it is a link of the mesh.
    pub(super) fn counts(&self, link: LinkId) -> bool {
        !self.direct.contains_key(&link)
    }
}

impl Mesh {
    /// Asks for a link to a member, unless there is one or another such link.
    pub(in crate::mesh) fn seek_direct(&mut self, now: Now, to: PeerId) {
        if self.may_go_direct() && self.is_stranger(to) {
            self.start_walk(now, Purpose::Direct, WalkTarget::To(to), 0, 1);
        }
    }

    /// One at a time: the rest of what is above `max_peers` is for newcomers.
    pub(super) fn may_go_direct(&self) -> bool {
        let asked = self
            .membership
            .seeks
            .values()
            .any(|seek| seek.purpose == Purpose::Direct);
        !asked && self.membership.direct.is_empty() && self.guest_room() > 0
    }

    /// The link is up.
    pub(super) fn start_direct(&mut self, now: Now, id: LinkId) {
        self.membership.direct.insert(id, now + IDLE);
    }

    /// A message between the two ends of a link went along it.
    pub(in crate::mesh) fn use_direct(&mut self, now: Now, id: LinkId, other: PeerId) {
        if let Some(until) = self.membership.direct.get_mut(&id)
            && self.links.get(&id).is_some_and(|link| link.peer == other)
        {
            *until = now + IDLE;
        }
    }

    pub(super) fn tend_direct_links(&mut self, now: Now) {
        self.membership.direct.retain(|_, until| *until > now);
    }
}
