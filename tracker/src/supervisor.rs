//! What a supervisor is told (sd_notify(3)): ready, reloading, stopping, and that the server still
//! works. Without `NOTIFY_SOCKET` in the environment all of it does nothing.

use sd_notify::NotifyState;
use tracker::Reloader;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the supervisor");
    }
}

pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

pub(crate) fn reloading() {
    let mut states = vec![NotifyState::Reloading];
    // Asked for by Type=notify-reload.
    states.extend(NotifyState::monotonic_usec_now());
    tell(&states);
}

pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the watchdog that the server works, as long as it does: only when connections and swarms
/// were looked through since. A lock that is never given back stops that.
pub(crate) async fn watchdog(server: Reloader) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Half the limit is what sd_watchdog_enabled(3) asks for; a third leaves room for a sweep.
    let mut ticks = tokio::time::interval(limit / 3);
    let mut seen = None;
    loop {
        ticks.tick().await;
        let sweeps = server.sweeps();
        if seen.replace(sweeps) != Some(sweeps) {
            tell(&[NotifyState::Watchdog]);
        }
    }
}
