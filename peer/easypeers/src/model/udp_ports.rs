//! Which local UDP ports a peer uses.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Which local UDP ports links use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum UdpPorts {
    /// Any free port for each link.
    #[default]
    Any,
    /// One port for all links.
    One(u16),
    /// A port of this range for each link.
    Range(RangeInclusive<u16>),
}

/// Text that is neither a port nor a range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a UDP port such as 40000, or a range such as 40000-40100, from 1 to 65535")]
pub struct ParsePortsError;

impl FromStr for UdpPorts {
    type Err = ParsePortsError;

    /// Reads `40000` or `40000-40100`.
    fn from_str(text: &str) -> Result<Self, ParsePortsError> {
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
            _ => Err(ParsePortsError),
        };
        match text.split_once('-') {
            None => port(text).map(Self::One),
            Some((first, last)) => {
                let range = port(first)?..=port(last)?;
                (!range.is_empty())
                    .then_some(Self::Range(range))
                    .ok_or(ParsePortsError)
            }
        }
    }
}

impl fmt::Display for UdpPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::One(port) => write!(f, "{port}"),
            Self::Range(range) => write!(f, "{}-{}", range.start(), range.end()),
        }
    }
}
