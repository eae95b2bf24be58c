//! What a supervisor is told (sd_notify(3)): ready, stopping, and that the peer still works. Without
//! `NOTIFY_SOCKET` in the environment all of it does nothing.

use easypeers::Easypeers;
use sd_notify::NotifyState;

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot tell the supervisor");
    }
}

pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Tells the watchdog that the peer works, as long as its node answers.
pub(crate) async fn watchdog(peer: Easypeers) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return;
    };
    // Half the limit is what sd_watchdog_enabled(3) asks for; a third leaves room for the answer.
    let mut ticks = tokio::time::interval(limit / 3);
    loop {
        ticks.tick().await;
        // It changes nothing, and only the node's own task answers it.
        if peer.set_max_peers(peer.max_peers()).await.is_err() {
            return;
        }
        tell(NotifyState::Watchdog);
    }
}
