//! What several nodes need of the engine between them: a directory of counts by swarm, a list of
//! nodes, and a bus with one address per node. Nothing here names an engine.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::InfoHash;
use easypeers_proto::cluster::{Counts, NodeId, NodeStatus};

use super::inbox::Inbox;

/// An engine's answer, some time later.
pub(crate) type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, RelayError>> + Send + 'a>>;

/// Why the engine did not do something. The text never has credentials.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RelayError(pub(crate) String);

/// One entry of the directory to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write {
    pub(crate) info_hash: InfoHash,
    pub(crate) node: NodeId,
    /// Nothing: the entry is removed.
    pub(crate) counts: Option<Counts>,
}

/// What the directory has of one swarm.
pub(crate) type Entries = Vec<(NodeId, Counts)>;

/// What came of writes and reads.
#[derive(Debug, Default)]
pub(crate) struct Exchanged {
    /// Places of the writes that were refused, such as for want of memory.
    pub(crate) refused: Vec<usize>,
    /// One for each read; nothing where it was refused.
    pub(crate) views: Vec<Option<Entries>>,
    /// Entries that are none of ours.
    pub(crate) foreign: usize,
}

/// What came of a sign of life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    /// The last one was still remembered.
    pub(crate) held: bool,
    /// This one was kept; not so when the engine is out of memory and the last one had expired.
    pub(crate) kept: bool,
    /// The directory's clock.
    pub(crate) now_s: u64,
}

/// A connection to the engine, for one node.
pub(crate) trait Relay: fmt::Debug + Send + Sync {
    /// Says that this node lives, for `ttl`.
    fn beat(&self, status: NodeStatus, ttl: Duration) -> Later<'_, Beat>;

    /// Nodes that live, and how many entries of the list were none.
    fn nodes(&self) -> Later<'_, (Vec<(NodeId, NodeStatus)>, usize)>;

    /// Writes, then reads, in this order: of two nodes that do so at once, one sees the other.
    /// What is written is kept for `keep`.
    fn exchange<'a>(
        &'a self,
        writes: &'a [Write],
        reads: &'a [InfoHash],
        keep: Duration,
    ) -> Later<'a, Exchanged>;

    /// Sends frames; how many receivers each had. The order between two frames is kept.
    fn publish<'a>(&'a self, frames: &'a [(NodeId, Arc<[u8]>)]) -> Later<'a, Vec<usize>>;

    /// Forgets this node.
    fn leave(&self) -> Later<'_, ()>;

    /// Resolves when frames no longer arrive, with an error that tells why.
    fn lost(&self) -> Later<'_, ()>;
}

/// Where the engine is; connects.
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// Connects and lets frames for `node` arrive in `inbox`.
    fn connect(&self, node: NodeId, inbox: Arc<Inbox>) -> Later<'_, Arc<dyn Relay>>;
}
