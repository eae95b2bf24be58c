//! What the command lines of the tracker and the peer have in common: durations as people write
//! them, and the question that a health check asks.

#![deny(missing_docs)]

pub mod health;

use std::time::Duration;

/// Reads a duration: `90s`, `1.5m`, `250ms`, `2h` or `1m 30s`. A number without a unit is seconds.
///
/// # Errors
/// What is expected, for clap, which quotes the value and names its flag.
pub fn duration(text: &str) -> Result<Duration, String> {
    let is_number = text.ends_with(|c: char| c.is_ascii_digit());
    let read = if is_number {
        humantime::parse_duration(&format!("{text}s"))
    } else {
        humantime::parse_duration(text)
    };
    read.map_err(|_| "expected a number with ms, s, m or h, such as 90s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_seconds_may_go_without() {
        for (text, milliseconds) in [
            ("90", 90_000),
            ("0.5", 500),
            ("0s", 0),
            ("90s", 90_000),
            ("1.5m", 90_000),
            ("5min", 300_000),
            ("250ms", 250),
            ("2h", 7_200_000),
            ("1m 30s", 90_000),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for bad in ["", "s", "-1s", "5 parsecs", "1e400", "inf", "NaN"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
