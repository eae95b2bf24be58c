//! Virtual time: microseconds since the start of a run.

use std::time::Duration;

/// Microseconds since the start of the run, or the length of a span in microseconds.
pub(crate) type Time = u64;

/// A millisecond.
pub(crate) const MS: Time = 1_000;

/// A second.
pub(crate) const SECOND: Time = 1_000_000;

/// The wall clock at the start of a run, in milliseconds since 1970.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;

pub(crate) const fn to_duration(span: Time) -> Duration {
    Duration::from_micros(span)
}

pub(crate) fn from_duration(span: Duration) -> Time {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn to_seconds(span: Time) -> f64 {
    span as f64 / 1e6
}

/// Negative numbers become 0.
pub(crate) fn from_seconds(seconds: f64) -> Time {
    (seconds.max(0.0) * 1e6) as Time
}
