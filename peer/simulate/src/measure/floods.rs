//! Floods: peers that send more than the limits allow, and when the mesh cut them off.

use super::Measures;
use crate::time::{Time, to_seconds};

#[derive(Debug, Clone, Copy)]
struct Flood {
    step: u32,
    peer: u32,
    since: Time,
    /// When the peer had lost all its links.
    cut: Option<Time>,
}

/// All floods of a run, at most one for each step.
#[derive(Debug, Default)]
pub(crate) struct Floods(Vec<Flood>);

impl Floods {
    pub(crate) fn begin(&mut self, step: u32, peer: u32, since: Time) {
        let cut = None;
        self.0.push(Flood {
            step,
            peer,
            since,
            cut,
        });
    }

    /// The peer that floods in this step, and since when.
    pub(crate) fn of_step(&self, step: u32) -> Option<(u32, Time)> {
        let flood = self.0.iter().find(|flood| flood.step == step);
        flood.map(|flood| (flood.peer, flood.since))
    }

    /// The flooding peer has no link at this time.
    pub(crate) fn note_cut(&mut self, step: u32, now: Time) {
        let flood = self.0.iter_mut().find(|flood| flood.step == step);
        if let Some(flood) = flood {
            flood.cut.get_or_insert(now);
        }
    }

    /// Whether this peer floods or has flooded.
    pub(crate) fn includes(&self, peer: u32) -> bool {
        self.0.iter().any(|flood| flood.peer == peer)
    }

    pub(crate) fn measure(&self, step: u32, label: &str, all: &mut Measures) {
        let flood = self.0.iter().find(|flood| flood.step == step);
        if let Some(flood) = flood
            && let Some(cut) = flood.cut
        {
            all.add(label, "cut_s", to_seconds(cut - flood.since));
        }
    }
}
