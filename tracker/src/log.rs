//! Logs: `tracing` to stderr, text or JSON, addresses as much as the operator asked for.

use std::io::{self, IsTerminal, Write};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use crate::config::{LogAddresses, LogFormat};

/// Changes what is logged while the process runs.
#[derive(Debug, Clone)]
pub struct Filter(reload::Handle<EnvFilter, Registry>);

impl Filter {
    /// Replaces the filter.
    ///
    /// # Errors
    /// A filter that cannot be read, with the reason.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        self.0
            .reload(parse(filter)?)
            .map_err(|error| error.to_string())
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter)
        .map_err(|error| format!("--log-level {filter:?} cannot be read: {error}"))
}

/// Starts logging for the process. A second call changes nothing.
///
/// # Errors
/// A filter that cannot be read, with the reason.
pub fn start(format: LogFormat, filter: &str) -> Result<Filter, String> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let color = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Lossy)
        .with_target(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(color).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    Ok(Filter(handle))
}

static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that standard error did not take since the process started.
pub(crate) fn lines_lost() -> u64 {
    LINES_LOST.load(Ordering::Relaxed)
}

/// Standard error, but a full disk costs lines only, and they are counted.
struct Lossy;

impl Write for Lossy {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if io::stderr().write_all(line).is_err() {
            LINES_LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A client's address as it may be logged.
pub(crate) fn address(address: IpAddr, how: LogAddresses) -> String {
    match (how, address.to_canonical()) {
        (LogAddresses::Full, address) => address.to_string(),
        (LogAddresses::Prefix, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        (LogAddresses::Prefix, IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
        (LogAddresses::None, _) => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shortened() {
        let shown = |text: &str, how| address(text.parse().unwrap(), how);
        assert_eq!(shown("192.0.2.7", LogAddresses::Prefix), "192.0.2.0/24");
        assert_eq!(shown("::ffff:192.0.2.7", LogAddresses::Full), "192.0.2.7");
        assert_eq!(
            shown("2001:db8:1:2::3", LogAddresses::Prefix),
            "2001:db8:1::/48"
        );
        assert_eq!(shown("192.0.2.7", LogAddresses::None), "-");
    }
}
