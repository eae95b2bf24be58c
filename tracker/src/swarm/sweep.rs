//! One pass over all connections and swarms instead of a timer for each: pings who has been quiet,
//! ends who stayed silent, expires peers, takes the samples that metrics need.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::hub::Hub;
use crate::metrics::ClosedBy;

/// Pings that may go unanswered.
const MISSED_PINGS: u64 = 2;

/// How often swarms are looked through; peers expire that much later at most.
const SWARM_SWEEP_MS: u64 = 30_000;

/// Sweeps until cancelled.
pub(crate) async fn run(hub: Arc<Hub>, stop: CancellationToken) {
    let ping_ms = hub.settings.ping_interval.as_millis() as u64;
    let period = Duration::from_millis((ping_ms / 6).clamp(50, 5_000));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut swept_ms = 0;
    let mut jumps = Jumps::start(hub.clock);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let timer = hub.metrics.sweep_duration.start_timer();
        sweep_connections(&hub, ping_ms);
        let now_ms = hub.clock.now_ms();
        if now_ms - swept_ms >= SWARM_SWEEP_MS.min(ping_ms) {
            swept_ms = now_ms;
            // Two intervals and a little, so that one late announce costs nobody its place.
            let patience_ms = 2 * hub.settings.announce_interval.as_millis() as u64 + 30_000;
            let silence_ms = ping_ms * (1 + MISSED_PINGS);
            hub.swarms.expire(
                now_ms.saturating_sub(patience_ms),
                now_ms.saturating_sub(silence_ms),
            );
            hub.addresses.tidy(now_ms);
        }
        if jumps.look(hub.clock) {
            hub.metrics.clock_jumps.inc();
            tracing::warn!("the system's clock was set or stood still");
        }
        timer.observe_duration();
    }
}

/// Compares the system's clock with the one that only runs. Nothing here depends on the first but
/// the times in logs, certificates and the ends of TURN credentials; whoever reads those should know.
struct Jumps {
    /// The system's time when the server's clock was zero.
    origin: SystemTime,
}

impl Jumps {
    /// Less is what time servers correct all the time.
    const NOTABLE: Duration = Duration::from_secs(1);

    fn start(clock: Clock) -> Self {
        let origin = clock.origin();
        Self { origin }
    }

    /// Whether the clocks have parted since the last look.
    fn look(&mut self, clock: Clock) -> bool {
        let before = std::mem::replace(&mut self.origin, clock.origin());
        let parted = match self.origin.duration_since(before) {
            Ok(ahead) => ahead,
            Err(behind) => behind.duration(),
        };
        parted > Self::NOTABLE
    }
}

fn sweep_connections(hub: &Hub, ping_ms: u64) {
    let mut waiting = 0;
    for connection in &hub.connections {
        let now_ms = hub.clock.now_ms();
        waiting += connection.tidy(now_ms);
        let silent_ms = now_ms.saturating_sub(connection.heard_ms());
        if silent_ms > ping_ms * (1 + MISSED_PINGS) {
            connection.request_close(ClosedBy::Idle);
        } else if silent_ms >= ping_ms && now_ms - connection.pinged_ms() >= ping_ms {
            connection.ping(now_ms);
        }
    }
    hub.metrics.outbox_messages.set(waiting as i64);
}
