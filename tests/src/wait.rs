//! Waiting with a deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// Far beyond what anything here takes on a loaded machine: only a hang meets it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Between two questions of [`until`].
const PAUSE: Duration = Duration::from_millis(10);

/// Waits for `future`, not for ever.
///
/// # Panics
/// At the deadline, naming what was waited for.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}

/// Asks until the answer is yes.
///
/// # Panics
/// At the deadline, naming what was waited for.
pub async fn until<F: Future<Output = bool>>(what: &str, mut question: impl FnMut() -> F) {
    let start = Instant::now();
    while !question().await {
        assert!(start.elapsed() < DEADLINE, "waited in vain until {what}");
        sleep(PAUSE).await;
    }
}
