//! Which connection announces when.

use std::time::Duration;

use tokio::time::Instant;

use crate::{ids::mix, modes::Run};

/// The order of the connections, and when the next one is due (open loop).
#[derive(Debug)]
pub(crate) struct Pace {
    pub order: Vec<u32>,
    at: usize,
    /// When the next announce is due.
    pub next: Instant,
    gap: Duration,
    /// Closed loop: nothing was started yet.
    pub first: bool,
}

impl Pace {
    pub(crate) fn new(run: &Run<'_>) -> Self {
        let mut order: Vec<u32> = (0..run.args.connections).collect();
        order.sort_by_key(|connection| mix(run.seed ^ u64::from(*connection)));
        Self {
            order,
            at: 0,
            next: Instant::now(),
            gap: Duration::from_secs_f64(1.0 / run.args.rate),
            first: true,
        }
    }

    /// Announces all that is due; nothing is left out when the generator is late.
    pub(crate) fn announce(&mut self, run: &Run<'_>, now: Instant) {
        let state = &mut *run.shared.state.borrow_mut();
        while self.next <= now {
            if state.load.measuring {
                let late = now.duration_since(self.next);
                state.stats.schedule_lag.record(late.as_nanos() as u64);
            }
            let connection = self.order[self.at % self.order.len()];
            if state.peers[connection as usize].live {
                state.announce_soon(connection);
            }
            self.at += 1;
            self.next += self.gap;
        }
    }
}
