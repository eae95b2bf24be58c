//! A swarm elsewhere, as an announce sees it.

use std::sync::Arc;

use super::urn::Places;
use super::views::Part;

/// What other nodes have of a swarm, at the moment of an announce.
#[derive(Debug)]
pub(crate) struct Others {
    pub(super) parts: Arc<[Part]>,
    pub(super) standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Offers are shared out by it at once.
    Fresh,
    /// The same, but if there are more offers than peers, read first: someone may have come.
    Seen,
    /// Read, and share out by what comes then.
    Aged,
    /// The engine is away.
    Away,
}

impl Others {
    /// Seeders and leechers elsewhere.
    pub(crate) fn counts(&self) -> (u32, u32) {
        let add = |(complete, incomplete): (u32, u32), part: &Part| {
            (
                complete.saturating_add(part.complete),
                incomplete.saturating_add(part.incomplete),
            )
        };
        self.parts.iter().fold((0, 0), add)
    }

    /// Peers elsewhere that offers may go to.
    fn eligible(&self, incomplete_only: bool) -> u64 {
        if self.standing == Standing::Away {
            return 0;
        }
        let parts = self.parts.iter();
        parts
            .map(|part| u64::from(eligible(part, incomplete_only)))
            .sum()
    }

    /// Draws who gets `wanted` offers: `here` peers of this node, and those elsewhere.
    pub(crate) fn places(&self, here: usize, incomplete_only: bool, wanted: usize) -> Places {
        Places::draw(
            here,
            self.eligible(incomplete_only),
            wanted,
            &mut rand::rng(),
        )
    }
}

pub(super) fn eligible(part: &Part, incomplete_only: bool) -> u32 {
    match incomplete_only {
        true => part.incomplete,
        false => part.incomplete.saturating_add(part.complete),
    }
}
