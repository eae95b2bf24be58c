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
    /// Our invitations that add a link.
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

#[cfg(test)]
mod tests {
    use super::*;

    const fn demand(links: usize, bulk: usize, invited: usize, requested: usize) -> Demand {
        Demand {
            max_peers: 6,
            links,
            bulk,
            invited,
            requested,
        }
    }

    #[test]
    fn what_is_under_way_is_not_asked_for_again() {
        assert_eq!(demand(0, 0, 0, 0).links_to_request(), 6);
        assert_eq!(demand(2, 0, 1, 2).links_to_request(), 1);
        assert_eq!(demand(2, 0, 3, 3).links_to_request(), 0);
        assert_eq!(
            demand(3, 1, 0, 0).links_to_request(),
            4,
            "bulk links come on top"
        );
    }

    #[test]
    fn a_member_that_has_lost_most_links_offers_some_whatever_is_under_way() {
        assert_eq!(demand(2, 0, 2, 2).offers_to_publish(), SPARE);
        assert_eq!(demand(3, 0, 2, 2).offers_to_publish(), 0);
    }

    #[test]
    fn two_links_above_the_target_are_accepted() {
        assert_eq!(demand(6, 0, 0, 0).acceptable_links(), SLACK);
        assert_eq!(demand(7, 0, 1, 0).acceptable_links(), 0);
        assert!(demand(7, 0, 0, 0).is_over_target());
        assert!(!demand(7, 1, 0, 0).is_over_target());
    }
}
