//! What a driver needs of its platform: tasks, timers, clocks, random bytes. Everything else in
//! this crate takes time and randomness as inputs.
//!
//! `native` is tokio, `browser` the event loop of a page. A page has one thread, so what runs
//! there need not be [`MaybeSend`].

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

/// The future's result; `None` if it takes longer.
pub(crate) async fn timeout<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        result = future => Some(result),
        () = sleep(time) => None,
    }
}

/// Bytes of the operating system's generator, through the thread's own.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}
