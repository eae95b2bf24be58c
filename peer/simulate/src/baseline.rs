//! A baseline: the figures with bars of a run that is remembered, missed bars included. A later run
//! is compared with it, so that what gets worse is seen even where a bar is far away or was missed
//! before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::report::{Figure, Report};

/// Figures of all scenarios, of one size and seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    peers: usize,
    seed: u64,
    /// By scenario and measure.
    scenarios: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `None` if it never came to be.
    value: Option<f64>,
    kept: bool,
}

impl Baseline {
    /// The figures of these runs.
    #[must_use]
    pub fn new(peers: usize, seed: u64, reports: &[Report]) -> Self {
        let entry = |figure: &Figure| {
            let entry = Entry {
                value: figure.value.map(|value| (value * 1e4).round() / 1e4),
                kept: figure.kept,
            };
            (figure.measure.clone(), entry)
        };
        let scenario = |report: &Report| {
            let figures = report.figures.iter().map(entry).collect();
            (report.scenario.clone(), figures)
        };
        Self {
            peers,
            seed,
            scenarios: reports.iter().map(scenario).collect(),
        }
    }

    /// What is worse in a run than it was, in words.
    #[must_use]
    pub fn regressions(&self, report: &Report) -> Vec<String> {
        if (report.peers, report.seed) != (self.peers, self.seed) {
            return vec![format!(
                "the baseline is of {} peers and seed {}",
                self.peers, self.seed
            )];
        }
        let name = &report.scenario;
        let Some(entries) = self.scenarios.get(name) else {
            return vec![format!("{name} is not in the baseline")];
        };
        let worse = |figure: &Figure| {
            let measure = &figure.measure;
            match entries.get(measure) {
                Some(entry) => is_worse(*entry, figure).then(|| {
                    let show = |value: Option<f64>| {
                        value.map_or_else(|| "never".to_owned(), |value| format!("{value:.4}"))
                    };
                    let (now, before) = (show(figure.value), show(entry.value));
                    format!("{name}: {measure} is {now}, was {before}")
                }),
                None => Some(format!("{name}: {measure} is not in the baseline")),
            }
        };
        report.figures.iter().filter_map(worse).collect()
    }
}

fn is_worse(before: Entry, figure: &Figure) -> bool {
    if before.kept && !figure.kept {
        return true;
    }
    match (before.value, figure.value) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(before), Some(now)) => {
            let worse_by = if figure.at_most.is_some() {
                now - before
            } else {
                before - now
            };
            worse_by > figure.tolerance(before)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::simulate;

    #[test]
    fn what_is_worse_than_the_baseline_is_named() {
        let text = include_str!("../scenarios/join-storm.toml");
        let easy = text.replace("at_most = [15, 20, 30]", "at_most = [50]");
        let mut report = simulate(&easy, 40, 1);
        let baseline = Baseline::new(40, 1, std::slice::from_ref(&report));
        let json = serde_json::to_string(&baseline).unwrap();
        let baseline: Baseline = serde_json::from_str(&json).unwrap();
        assert!(baseline.regressions(&report).is_empty());
        let figure = &mut report.figures[0];
        let value = figure.value.unwrap();
        figure.value = Some(value * 1.1);
        assert!(baseline.regressions(&report).is_empty(), "tolerated");
        report.figures[0].value = Some(value * 2.0);
        assert_eq!(baseline.regressions(&report).len(), 1, "slower");
        report.figures[0].value = None;
        assert_eq!(baseline.regressions(&report).len(), 1, "never");
        report.figures[0].value = Some(value);
        report.figures[0].kept = false;
        assert_eq!(baseline.regressions(&report).len(), 1, "missed");
        report.seed = 2;
        assert_eq!(baseline.regressions(&report).len(), 1, "another run");
    }

    #[test]
    fn a_bar_that_was_missed_before_fails_no_comparison() {
        let text = include_str!("../scenarios/join-storm.toml");
        let hard = text.replace("at_most = [15, 20, 30]", "at_most = [0.001]");
        assert_ne!(hard, text);
        let report = simulate(&hard, 40, 1);
        assert!(!report.kept());
        let baseline = Baseline::new(40, 1, std::slice::from_ref(&report));
        assert!(baseline.regressions(&report).is_empty());
    }
}
