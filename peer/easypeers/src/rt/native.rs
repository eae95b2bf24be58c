//! Tasks, timers and clocks of tokio.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Anything that may move to another thread.
pub(crate) trait MaybeSend: Send {}
impl<T: Send> MaybeSend for T {}

/// A future of any type with this output.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Runs a future as a task. Nothing ever aborts it.
pub(crate) fn spawn(future: impl Future<Output = ()> + MaybeSend + 'static) {
    tokio::spawn(future);
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Monotonic time since the clock was started, and the time of day at that moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    started_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
        let wall = SystemTime::now();
        let since_1970 = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            start: Instant::now(),
            started_ms: u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Milliseconds since 1970.
    pub(crate) fn wall_ms(&self) -> u64 {
        let passed = u64::try_from(self.now().as_millis()).unwrap_or(u64::MAX);
        self.started_ms.saturating_add(passed)
    }

    /// Milliseconds since 1970 at the start.
    pub(crate) const fn started_ms(&self) -> u64 {
        self.started_ms
    }
}

/// Runs work that blocks for long on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
