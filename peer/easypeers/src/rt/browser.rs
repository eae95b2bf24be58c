//! Tasks, timers and clocks of a page or worker: microtasks, `setTimeout`, `performance.now()`.
//!
//! A hidden page's timers fire once a second, a frozen page's when it is shown again. So after
//! waiting, look at the clock: more time may have passed than asked for.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use js_sys::Date;
use tokio::sync::oneshot;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &Closure<dyn FnMut()>, milliseconds: i32) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    fn clear_timeout(timer: &JsValue);
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// Anything: there is no other thread to move to.
pub(crate) trait MaybeSend {}
impl<T> MaybeSend for T {}

/// A future of any type with this output.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

/// Runs a future as a task. Nothing ever aborts it.
pub(crate) fn spawn(future: impl Future<Output = ()> + MaybeSend + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

/// A timer of the page, cleared when it is dropped.
struct Timer {
    id: JsValue,
    /// What the page calls; it must live as long as the timer.
    _callback: Closure<dyn FnMut()>,
}

impl Drop for Timer {
    fn drop(&mut self) {
        clear_timeout(&self.id);
    }
}

/// Waits.
pub(crate) async fn sleep(time: Duration) {
    // Rounded up: after a timer that fires early, the caller would have to wait again.
    let milliseconds = time.as_nanos().div_ceil(1_000_000);
    let (fired, mut waiting) = oneshot::channel::<()>();
    let callback = Closure::once(move || drop(fired));
    let _timer = Timer {
        id: set_timeout(&callback, i32::try_from(milliseconds).unwrap_or(i32::MAX)),
        _callback: callback,
    };
    let _ = (&mut waiting).await;
}

/// Monotonic time since the clock was started, and the time of day at that moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: f64,
    started_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            start: performance_now(),
            started_ms: wall_ms(),
        }
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_secs_f64(((performance_now() - self.start) / 1000.0).max(0.0))
    }

    /// Milliseconds since 1970. Not computed from [`now`](Self::now): `performance.now()` may stop
    /// while a laptop sleeps, and messages with an old time are refused.
    #[expect(clippy::unused_self, reason = "a native clock needs it")]
    pub(crate) fn wall_ms(&self) -> u64 {
        wall_ms()
    }

    /// Milliseconds since 1970 at the start.
    pub(crate) const fn started_ms(&self) -> u64 {
        self.started_ms
    }
}

fn wall_ms() -> u64 {
    // Saturates: a date before 1970 is 0.
    Date::now() as u64
}

/// Runs work that takes long. There is no other thread, so the page gets a turn first, and then
/// waits.
pub(crate) async fn blocking<T: 'static>(work: impl FnOnce() -> T + 'static) -> T {
    sleep(Duration::ZERO).await;
    work()
}
