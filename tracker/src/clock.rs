//! The server's clock: milliseconds (microseconds where order matters) since it started. Drivers read it, cores are handed the value.

use std::time::Duration;

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
}
