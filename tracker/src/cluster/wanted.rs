//! Swarms whose view is to be read, each once however many ask, and offers that wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use easypeers_proto::InfoHash;
use tokio::sync::Notify;

use crate::metrics::{ClusterMetrics, ClusterOfferDropped};

/// Most swarms that wait to be read: seconds of reading. Whoever scrapes beyond that gets what is
/// known.
const MAX_SWARMS: usize = 50_000;

/// Bytes of offers that wait, some 250 ms at most.
const MAX_BYTES: usize = 16 << 20;

/// Frames of offers as they would be sent, with the number of offers in each.
pub(crate) type Waiting = Vec<(Vec<u8>, usize)>;

#[derive(Debug, Default)]
struct State {
    order: VecDeque<InfoHash>,
    waiting: HashMap<InfoHash, Waiting>,
    bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Wanted {
    state: Mutex<State>,
    added: Notify,
    metrics: Arc<ClusterMetrics>,
}

impl Wanted {
    pub(crate) fn new(metrics: Arc<ClusterMetrics>) -> Self {
        Self {
            state: Mutex::default(),
            added: Notify::new(),
            metrics,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants a swarm to be read, and offers to wait for that.
    pub(crate) fn add(&self, info_hash: InfoHash, offers: Option<(Vec<u8>, usize)>) {
        let mut state = self.state();
        let state = &mut *state;
        let known = state.waiting.contains_key(&info_hash);
        let length = offers.as_ref().map_or(0, |(frame, _)| frame.len());
        if (!known && state.order.len() >= MAX_SWARMS) || state.bytes + length > MAX_BYTES {
            let count = offers.map_or(0, |(_, count)| count);
            self.metrics
                .offers_dropped
                .add(ClusterOfferDropped::Queue, count);
            return;
        }
        if !known {
            state.order.push_back(info_hash);
        }
        state.bytes += length;
        state.waiting.entry(info_hash).or_default().extend(offers);
        self.added.notify_one();
    }

    /// Waits for swarms and takes up to `most`.
    pub(crate) async fn take(&self, most: usize) -> Taken<'_> {
        loop {
            let swarms = self.take_now(most);
            if !swarms.is_empty() {
                let metrics = &self.metrics;
                return Taken { swarms, metrics };
            }
            self.added.notified().await;
        }
    }

    fn take_now(&self, most: usize) -> Vec<(InfoHash, Waiting)> {
        let mut state = self.state();
        let count = most.min(state.order.len());
        let taken: Vec<InfoHash> = state.order.drain(..count).collect();
        let taken: Vec<_> = taken
            .into_iter()
            .map(|info_hash| {
                let waiting = state.waiting.remove(&info_hash).unwrap_or_default();
                let length: usize = waiting.iter().map(|(frame, _)| frame.len()).sum();
                state.bytes -= length;
                (info_hash, waiting)
            })
            .collect();
        if state.order.is_empty() {
            *state = State::default();
        }
        taken
    }

    /// The engine went away: the offers are lost.
    pub(crate) fn clear(&self) {
        drop(Taken {
            swarms: self.take_now(usize::MAX),
            metrics: &self.metrics,
        });
    }
}

/// Swarms in the hands of the reader; offers that it never dealt were lost with the engine.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    pub(crate) swarms: Vec<(InfoHash, Waiting)>,
    metrics: &'a ClusterMetrics,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let offers = self.swarms.iter().flat_map(|(_, waiting)| waiting);
        let count = offers.map(|(_, count)| count).sum();
        self.metrics
            .offers_dropped
            .add(ClusterOfferDropped::Engine, count);
    }
}
