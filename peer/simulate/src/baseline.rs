//! A baseline: the figures of an earlier run, with kept and missed bars. Later runs are compared with
//! it. This shows what gets worse even where the bar is far away or was missed before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::{Figure, Report};

/// The figures of an earlier run of some scenarios, with one number of peers and one seed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    peers: usize,
    seed: u64,
    /// By the names of the scenario and the measure.
    scenarios: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// `None` if what it measures never happened.
    value: Option<f64>,
    kept: bool,
}

impl Baseline {
    /// The figures of these reports. Values are rounded to four decimal places.
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

    /// Says what is worse in a report than in the baseline, one line for each figure. A report that the
    /// baseline cannot be compared with is one such line.
    #[must_use]
    pub fn regressions(&self, report: &Report) -> Vec<String> {
        if (report.peers, report.seed) != (self.peers, self.seed) {
            return vec![format!(
                "{}: the baseline is for {} peers and seed {}, the run has {} peers and seed {}",
                report.scenario, self.peers, self.seed, report.peers, report.seed
            )];
        }
        let name = &report.scenario;
        let Some(entries) = self.scenarios.get(name) else {
            return vec![format!("{name}: the baseline does not have this scenario")];
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
                None => Some(format!(
                    "{name}: the baseline does not have the measure {measure}"
                )),
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
    fn a_bar_that_was_missed_before_does_not_fail_the_comparison() {
        let text = include_str!("../scenarios/join-storm.toml");
        let hard = text.replace("at_most = [15, 20, 30]", "at_most = [0.001]");
        assert_ne!(hard, text);
        let report = simulate(&hard, 40, 1);
        assert!(!report.kept());
        let baseline = Baseline::new(40, 1, std::slice::from_ref(&report));
        assert!(baseline.regressions(&report).is_empty());
    }
}
