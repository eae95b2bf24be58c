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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::SECOND;

    #[test]
    fn a_flood_is_cut_off_when_its_peer_first_has_no_link() {
        let mut floods = Floods::default();
        floods.begin(4, 9, SECOND);
        assert_eq!(floods.of_step(4), Some((9, SECOND)));
        assert!(floods.includes(9) && !floods.includes(8));
        floods.note_cut(4, 2 * SECOND);
        floods.note_cut(4, 3 * SECOND);
        let mut all = Measures::default();
        floods.measure(4, "flood", &mut all);
        let values: Vec<_> = all.into_values().into_iter().collect();
        assert_eq!(values, [("flood.cut_s".to_owned(), 1.0)]);
    }
}
