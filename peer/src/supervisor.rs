//! Tells systemd that the peer is ready, stopping, or still working (sd_notify(3)). Does nothing
//! without `NOTIFY_SOCKET` in the environment.

use easypeers::Easypeers;
use sd_notify::NotifyState;

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the supervisor");
    }
}

pub(crate) fn ready() {
    notify(NotifyState::Ready);
}

pub(crate) fn stopping() {
    notify(NotifyState::Stopping);
}

/// Notifies the watchdog for as long as the node answers.
pub(crate) async fn watchdog(peer: Easypeers) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Half the limit is what sd_watchdog_enabled(3) asks for; a third leaves room for the answer.
    let mut ticks = tokio::time::interval(limit / 3);
    loop {
        ticks.tick().await;
        // This changes nothing. It asks the node's own task, which is what must be alive.
        if peer.set_max_peers(peer.max_peers()).await.is_err() {
            return;
        }
        notify(NotifyState::Watchdog);
    }
}
