//! The server's clock: milliseconds (microseconds where order matters) since it started. Drivers
//! read it, cores are handed the value.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.elapsed().as_millis() as u64
    }

    pub(crate) fn now_us(self) -> u64 {
        self.elapsed().as_micros() as u64
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// The system's time when this clock was zero. The system's may be set; this one only runs.
    pub(crate) fn origin(self) -> SystemTime {
        let origin = system_time().checked_sub(self.elapsed());
        origin.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

/// The system's time, for what leaves this process: certificates, the ends of credentials.
#[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}
