//! What the command lines of the tracker and the peer have in common: durations as people write
//! them, and the question that a health check asks.

#![deny(missing_docs)]

pub mod health;

use std::time::Duration;

/// Reads a duration: a number with `ms`, `s`, `m`, `min` or `h`, such as `90s`, `1.5m` or `250ms`. A number
/// without a unit is seconds.
///
/// # Errors
/// What is expected, for clap, which quotes the value and names its flag.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - unit.len()];
    // The crate knows more than people mean here: `5M` would be five months. Fifteen digits are millions of years.
    let meant = matches!(unit, "" | "ms" | "s" | "m" | "min" | "h") && number.len() <= 15;
    let read = match (meant, unit) {
        (false, _) => None,
        (true, "") => humantime::parse_duration(&format!("{number}s")).ok(),
        (true, _) => humantime::parse_duration(text).ok(),
    };
    read.ok_or_else(|| "expected a number with ms, s, m or h, such as 90s".to_owned())
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
            ("1.5h", 5_400_000),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for bad in [
            "",
            "s",
            "-1s",
            "5 d",
            "5 parsecs",
            "5d",
            "5M",
            "2h5",
            "1m 30s",
            "1..5s",
            "1e400",
            "inf",
            "NaN",
            "18446744073709551615s",
            "99999999999999999999h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
