//! Frames on their way to other nodes, between whoever made them and the task that sends them.

use std::sync::{Arc, Mutex, PoisonError};

use easypeers_proto::cluster::NodeId;
use tokio::sync::Notify;

use super::queue::{Class, Queue};
use crate::metrics::{ClusterAnswerDropped, ClusterMetrics, ClusterOfferDropped, Kind};

/// Bytes that wait for the engine: some seconds of a busy node's.
const MAX_WAITING: usize = 16 << 20;

/// A frame for a node.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) to: NodeId,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) kind: Kind,
    /// Offers in it.
    pub(crate) count: usize,
    /// How often its offers were dealt before.
    pub(crate) tries: u8,
}

#[derive(Debug)]
pub(crate) struct Outgoing {
    queue: Mutex<Queue<Letter>>,
    added: Notify,
    metrics: Arc<ClusterMetrics>,
}

impl Outgoing {
    pub(crate) fn new(metrics: Arc<ClusterMetrics>) -> Self {
        Self {
            queue: Mutex::new(Queue::new(MAX_WAITING)),
            added: Notify::new(),
            metrics,
        }
    }

    /// Adds a frame, or counts it as lost when the engine is away.
    pub(crate) fn add(
        &self,
        up: bool,
        to: NodeId,
        bytes: Vec<u8>,
        kind: Kind,
        count: usize,
        tries: u8,
    ) {
        let bytes: Arc<[u8]> = bytes.into();
        let length = bytes.len();
        let letter = Letter {
            to,
            bytes,
            kind,
            count,
            tries,
        };
        if !up {
            self.lose(&letter, Lost::Engine);
            return;
        }
        let class = match kind {
            Kind::Offers => Class::Offers,
            _ => Class::Needed,
        };
        let mut shed = Vec::new();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.push(letter, length, class, &mut shed);
        drop(queue);
        shed.iter()
            .for_each(|letter| self.lose(letter, Lost::Queue));
        self.added.notify_one();
    }

    /// Waits for frames and takes up to `most`.
    pub(crate) async fn take(&self, most: usize) -> Batch<'_> {
        loop {
            let letters = self.take_now(most);
            if !letters.is_empty() {
                return Batch {
                    letters,
                    outgoing: self,
                };
            }
            self.added.notified().await;
        }
    }

    fn take_now(&self, most: usize) -> Vec<Letter> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.take(most)
    }

    /// The engine went away: what waits is lost.
    pub(crate) fn clear(&self) {
        for letter in self.take_now(usize::MAX) {
            self.lose(&letter, Lost::Engine);
        }
    }

    pub(crate) fn lose(&self, letter: &Letter, why: Lost) {
        match letter.kind {
            Kind::Offers => {
                let reason = match why {
                    Lost::Engine => ClusterOfferDropped::Engine,
                    Lost::Queue => ClusterOfferDropped::Queue,
                    Lost::Node => ClusterOfferDropped::Node,
                };
                self.metrics.offers_dropped.add(reason, letter.count);
            }
            Kind::Answer => self.metrics.answers_dropped.inc(match why {
                Lost::Engine => ClusterAnswerDropped::Engine,
                Lost::Queue => ClusterAnswerDropped::Queue,
                Lost::Node => ClusterAnswerDropped::Node,
            }),
            Kind::Ping | Kind::Leave => {}
        }
    }
}

/// Why a frame did not reach its node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    Engine,
    Queue,
    Node,
}

/// Frames in the hands of the sender; those that it never took out were lost with the engine.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) letters: Vec<Letter>,
    outgoing: &'a Outgoing,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for letter in &self.letters {
            self.outgoing.lose(letter, Lost::Engine);
        }
    }
}
