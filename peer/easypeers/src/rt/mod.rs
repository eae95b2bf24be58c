//! What this crate needs from its platform: tasks, timers, clocks, random bytes. The cores below it
//! take time and randomness as inputs.
//!
//! `native` is tokio, `browser` the event loop of a page. A page has one thread, so a task there
//! need not be `Send`: see [`MaybeSend`].

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

use std::future::Future;
use std::time::Duration;

use rand::Rng;

#[cfg(target_family = "wasm")]
pub(crate) use self::browser::{Boxed, Clock, MaybeSend, blocking, sleep, spawn};
#[cfg(not(target_family = "wasm"))]
pub(crate) use self::native::{Boxed, Clock, MaybeSend, blocking, sleep, spawn};

/// The future's result, or `None` if it takes longer than `time`.
pub(crate) async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        result = future => Some(result),
        () = sleep(time) => None,
    }
}

/// Random bytes, from a generator that the operating system seeds.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
