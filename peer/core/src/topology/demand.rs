//! How many links are wanted, from what there is and what is under way.

use crate::neighbors::{Neighbors, SLACK};

/// Links that a member which has lost most of its own asks of strangers, whatever its walks may bring.
const SPARE: usize = 2;

/// The numbers behind every decision to ask for a link or to accept one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    max_peers: usize,
    /// Links, up or not, bulk links included.
    links: usize,
    /// Bulk links: they come on top of `max_peers`.
    bulk: usize,
    /// Invitations of ours that add a link.
    invited: usize,
    /// Links that our requests under way may bring.
    requested: usize,
}

impl Demand {
    pub(super) const fn new(
        neighbors: &Neighbors,
        bulk: usize,
        invited: usize,
        requested: usize,
    ) -> Self {
        Self {
            max_peers: neighbors.max_peers(),
            links: neighbors.count(),
            bulk,
            invited,
            requested,
        }
    }

    /// Links that count towards `max_peers`.
    pub(super) const fn counted(self) -> usize {
        self.links - self.bulk
    }

    pub(super) const fn is_over_target(self) -> bool {
        self.counted() > self.max_peers
    }

    pub(super) const fn links_below_target(self) -> usize {
        self.max_peers.saturating_sub(self.counted())
    }

    /// Links below the target that nothing under way may bring.
    pub(super) const fn links_to_request(self) -> usize {
        let expected = self.requested + self.invited;
        self.links_below_target().saturating_sub(expected)
    }

    /// Links that are worth an offer to strangers. Our walks may lead nowhere: a member that has lost most of
    /// its links may be in a part of the mesh that broke off.
    pub(super) fn offers_to_publish(self) -> usize {
        let most_lost = self.counted() * 2 < self.max_peers;
        let spare = if most_lost { SPARE } else { 0 };
        self.links_to_request()
            .max(spare.min(self.links_below_target()))
    }

    /// Links that could be accepted now, those above the target included.
    pub(super) const fn acceptable_links(self) -> usize {
        let taken = self.links + self.invited;
        (self.max_peers + SLACK).saturating_sub(taken)
    }
}
