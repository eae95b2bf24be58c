//! Frames from other nodes, between the task that reads the bus and the one that handles them: the
//! first must never wait, or the engine cuts a subscriber that is slow.

use std::sync::{Arc, Mutex, PoisonError};

use easypeers_proto::cluster::FrameKind;
use tokio::sync::Notify;

use super::queue::{Class, Queue};
use crate::metrics::{ClusterMetrics, FrameDropped, Kind};

/// Bytes that wait. About 20,000 offers: what a node gets in several seconds on its busiest day.
const MAX_WAITING: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct Inbox {
    queue: Mutex<Queue<(FrameKind, Vec<u8>)>>,
    arrived: Notify,
    metrics: Arc<ClusterMetrics>,
}

impl Inbox {
    pub(crate) fn new(metrics: Arc<ClusterMetrics>) -> Self {
        Self {
            queue: Mutex::new(Queue::new(MAX_WAITING)),
            arrived: Notify::new(),
            metrics,
        }
    }

    /// A frame came from the bus.
    pub(crate) fn deliver(&self, bytes: &[u8]) {
        self.metrics.received_bytes.inc_by(bytes.len() as u64);
        let kind = match FrameKind::of(bytes) {
            Ok(kind) => kind,
            Err(error) => {
                self.metrics.frames_dropped.inc(FrameDropped::of(error));
                return;
            }
        };
        self.metrics.frames_received.inc(Kind::of(kind));
        let class = match kind {
            FrameKind::Offers => Class::Offers,
            _ => Class::Needed,
        };
        let mut shed = Vec::new();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push((kind, bytes.to_vec()), bytes.len(), class, &mut shed);
        drop(queue);
        self.metrics
            .frames_dropped
            .add(FrameDropped::Shed, shed.len());
        self.arrived.notify_one();
    }

    /// Waits for frames and takes up to `most` of them.
    pub(crate) async fn take(&self, most: usize) -> Vec<(FrameKind, Vec<u8>)> {
        loop {
            let taken = self
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(most);
            if !taken.is_empty() {
                return taken;
            }
            self.arrived.notified().await;
        }
    }
}
