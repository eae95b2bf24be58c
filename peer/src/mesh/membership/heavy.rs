//! A link of its own for heavy traffic between two members, beside those of the mesh. It stays as long
//! as it is used; then it is a link like any other.

use std::time::Duration;

use shared::PeerId;
use shared::wire::frame::{Course, Purpose};

use super::Mesh;
use crate::mesh::{LinkId, Now};

/// Unused for so long, it is nothing special any more.
const IDLE: Duration = Duration::from_secs(60);

impl Mesh {
    /// Asks for a link to a member, unless there is one or another such link.
    pub(in crate::mesh) fn seek_direct(&mut self, now: Now, to: PeerId) {
        if self.may_go_direct() && self.is_stranger(to) {
            self.start_walk(now, Purpose::Direct, Course::To(to), 0, 1);
        }
    }

    /// One at a time: the rest of what is above `max_peers` is for newcomers.
    pub(super) fn may_go_direct(&self) -> bool {
        let is_direct = |link: &crate::mesh::links::Link| link.direct_until.is_some();
        let asked = self
            .membership
            .seeks
            .values()
            .any(|seek| seek.purpose == Purpose::Direct);
        !asked && !self.links.values().any(is_direct) && self.guest_room() > 0
    }

    /// The link is up.
    pub(super) fn start_direct(&mut self, now: Now, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.direct_until = Some(now + IDLE);
        }
        self.wake_for(id);
    }

    /// A message between the two ends of a link went along it.
    pub(in crate::mesh) fn use_direct(&mut self, now: Now, id: LinkId, other: PeerId) {
        if let Some(link) = self.links.get_mut(&id)
            && link.peer == other
            && let Some(until) = &mut link.direct_until
        {
            *until = now + IDLE;
        }
    }

    pub(super) fn tend_direct_links(&mut self, now: Now) {
        for link in self.links.values_mut() {
            if link.direct_until.is_some_and(|until| until <= now) {
                link.direct_until = None;
            }
        }
    }
}
