//! The report of a run: its measures next to the bars of its scenario.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::measure::Measures;
use crate::scenario::{Bar, Limit, Scenario};

/// A measure and its bar.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Figure {
    /// The name of the measure: `label.name`. Names ending in `_s` are in seconds, in `_percent` in
    /// percent.
    pub measure: String,
    /// The measured value. `None` if what it measures never happened.
    pub value: Option<f64>,
    /// The highest value that keeps the bar, if there is one for this number of peers.
    pub at_most: Option<f64>,
    /// The lowest value that keeps the bar, if there is one for this number of peers.
    pub at_least: Option<f64>,
    /// Whether the value keeps the bar. True without a bar.
    pub kept: bool,
    /// How much worse than before the value may be.
    #[serde(skip)]
    tolerance: Option<f64>,
}

impl Figure {
    fn new(bar: &Bar, value: Option<f64>, peers: usize) -> Self {
        let limit = bar.limit(peers);
        let (at_most, at_least) = match limit {
            Some(Limit::AtMost(limit)) => (Some(limit), None),
            Some(Limit::AtLeast(limit)) => (None, Some(limit)),
            None => (None, None),
        };
        let kept = limit.is_none_or(|limit| value.is_some_and(|value| limit.is_kept_by(value)));
        Self {
            measure: bar.measure.clone(),
            value,
            at_most,
            at_least,
            kept,
            tolerance: bar.tolerance,
        }
    }

    /// How much worse than an earlier value this one may be. Any change of the code changes the random
    /// choices, and with them the values. The default is a quarter of a value with an upper limit and
    /// a hundredth of one with a lower limit.
    pub(crate) fn tolerance(&self, before: f64) -> f64 {
        let part = if self.at_most.is_some() { 0.25 } else { 0.01 };
        self.tolerance.unwrap_or(before * part)
    }
}

/// The report of a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// What the scenario shows.
    pub title: String,
    /// The number of peers that the run was asked for.
    pub peers: usize,
    /// The seed of the run.
    pub seed: u64,
    /// The number of events.
    pub events: u64,
    /// A hash of all events, in 16 hex digits. Runs with equal digests were equal.
    pub digest: String,
    /// The measures that have a bar.
    pub figures: Vec<Figure>,
    /// All measures by name.
    pub measures: BTreeMap<String, f64>,
}

impl Report {
    pub(crate) fn new(
        scenario: &Scenario,
        peers: usize,
        seed: u64,
        events: u64,
        digest: u64,
        measures: Measures,
    ) -> Self {
        let measures = measures.into_values();
        let figure = |bar: &Bar| {
            let value = measures.get(&bar.measure).copied();
            Figure::new(bar, value, peers)
        };
        Self {
            scenario: scenario.name.clone(),
            title: scenario.title.clone(),
            peers,
            seed,
            events,
            digest: format!("{digest:016x}"),
            figures: scenario.bars.iter().map(figure).collect(),
            measures,
        }
    }

    /// Whether all bars are kept.
    #[must_use]
    pub fn kept(&self) -> bool {
        self.figures.iter().all(|figure| figure.kept)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} ({} peers, seed {}, {} events)",
            self.scenario, self.title, self.peers, self.seed, self.events
        )?;
        for figure in &self.figures {
            let value = figure
                .value
                .map_or_else(|| "never".to_owned(), |value| format!("{value:.3}"));
            let bar = match (figure.at_most, figure.at_least) {
                (Some(most), _) => format!("<= {most}"),
                (None, Some(least)) => format!(">= {least}"),
                (None, None) => "-".to_owned(),
            };
            let kept = match (figure.kept, bar.as_str()) {
                (_, "-") => "",
                (true, _) => "kept",
                (false, _) => "MISSED",
            };
            writeln!(f, "  {:<34} {value:>12}  {bar:<12} {kept}", figure.measure)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_or_missed_by_the_bar_of_its_size() {
        let scenario: Scenario = toml::from_str(
            "
            title = \"\"
            run_s = 1
            [[bar]]
            measure = \"x.s\"
            at_most = [10, 20]
            [[bar]]
            measure = \"y.percent\"
            at_least = [99]
            ",
        )
        .unwrap();
        let kept = |peers: usize, x: f64| {
            let mut measures = Measures::default();
            measures.add("x", "s", x);
            let report = Report::new(&scenario, peers, 1, 0, 0, measures);
            let kept: Vec<_> = report.figures.iter().map(|figure| figure.kept).collect();
            kept
        };
        // Nothing was measured for the second bar. It has no limit for 10,000 peers.
        assert_eq!(kept(1_000, 10.0), [true, false]);
        assert_eq!(kept(1_000, 11.0), [false, false]);
        assert_eq!(kept(10_000, 11.0), [true, true]);
    }
}
