//! What is measured during a run.
//!
//! - `costs`: bytes, frames, connections of all peers together.
//! - `broadcasts`, `directs`: each message that is followed.
//! - `floods`: the peers that send more than the limits allow.
//! - `watches`: how long the graph takes to get into a given state.
//!
//! Each takes events in and writes its [`Measures`] at the end.

mod broadcasts;
mod costs;
mod directs;
mod floods;
mod watches;

use std::collections::BTreeMap;

pub(crate) use broadcasts::{Broadcasts, Newcomer};
pub(crate) use costs::Costs;
pub(crate) use directs::Directs;
pub(crate) use floods::Floods;
pub(crate) use watches::{Goal, Watches};

/// Measured values by name: `label.name`, or `name` without a label.
#[derive(Debug, Default)]
pub(crate) struct Measures(BTreeMap<String, f64>);

impl Measures {
    /// Adds a value. One that is not finite means that there was nothing to measure, and is left out.
    pub(crate) fn add(&mut self, label: &str, name: &str, value: f64) {
        if value.is_finite() {
            let dot = if label.is_empty() { "" } else { "." };
            self.0.insert(format!("{label}{dot}{name}"), value);
        }
    }

    pub(crate) fn into_values(self) -> BTreeMap<String, f64> {
        self.0
    }
}

pub(crate) const fn float(number: usize) -> f64 {
    number as f64
}

/// How many percent of all these are. NaN if there are none at all.
pub(crate) fn percent(some: u64, all: u64) -> f64 {
    if all == 0 {
        return f64::NAN;
    }
    100.0 * some as f64 / all as f64
}

/// NaN for no values.
pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0, 0.0), |(count, sum), value| (count + 1, sum + value));
    sum / f64::from(count)
}

/// NaN for no values.
pub(crate) fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NAN, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_is_no_measure() {
        let none = || std::iter::empty::<f64>();
        let mut measures = Measures::default();
        measures.add("a", "mean", mean(none()));
        measures.add("a", "highest", highest(none()));
        measures.add("a", "percent", percent(0, 0));
        measures.add("a", "zero", percent(0, 4));
        measures.add("", "plain", mean([1.0, 2.0].into_iter()));
        let values: Vec<_> = measures.into_values().into_iter().collect();
        let expected = [("a.zero", 0.0), ("plain", 1.5)];
        assert_eq!(
            values,
            expected.map(|(name, value)| (name.to_owned(), value))
        );
    }
}
