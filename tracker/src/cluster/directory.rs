//! The directory of swarms: what this node has is written when it changed, what others have is read when
//! an announce or a scrape wants it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use easypeers_proto::InfoHash;
use easypeers_proto::cluster::{Body, Counts, Frame};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::relay::{Entries, Relay, RelayError, Write};
use super::run::{no_node, node_of};
use super::views::Part;
use super::wanted::Waiting;
use super::{MAX_VOID, Node, lock};
use crate::hub::Hub;
use crate::metrics::{FrameDropped, Kind, OfferDropped, Operation};

/// How often changed counts are written.
const FLUSH: Duration = Duration::from_secs(1);

/// Most entries written in one go: when the engine is back, a node with a million swarms needs the
/// best part of a minute for them, of an engine that could take them in two seconds.
const FLUSH_MOST: usize = 20_000;

/// After the engine refused to write, it is left alone for so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);

/// How long offers wait for a view.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// Swarms read in one go.
const READ_MOST: usize = 256;

impl Node {
    /// The directory's clock.
    fn directory_s(&self) -> u64 {
        let ours = (self.clock.now_ms() / 1000) as i64;
        (ours + self.ahead_s.load(Ordering::Relaxed)).max(0) as u64
    }

    /// A swarm's entry as it is now.
    fn entry(&self, hub: &Hub, info_hash: InfoHash) -> Write {
        let counts = hub.swarms.scrape(info_hash);
        let expires_s = self.directory_s() + self.keep_ms / 1000;
        let counts = (counts.complete + counts.incomplete > 0).then(|| Counts {
            complete: counts.complete,
            incomplete: counts.incomplete,
            expires_s: u32::try_from(expires_s).unwrap_or(u32::MAX),
        });
        Write {
            info_hash,
            node: self.id,
            counts,
        }
    }

    fn keep(&self) -> Duration {
        Duration::from_millis(self.keep_ms)
    }

    /// Remembers what was written, and marks again what was refused.
    fn note_written(&self, writes: &[Write], refused: &[usize]) {
        let now_ms = self.clock.now_ms();
        let mut written = lock(&self.written);
        for (place, write) in writes.iter().enumerate() {
            if write.node != self.id {
                continue;
            }
            if refused.binary_search(&place).is_ok() {
                self.dirty.mark(write.info_hash);
            } else if write.counts.is_some() {
                written.add(write.info_hash, now_ms);
            } else {
                written.remove(&write.info_hash);
            }
        }
        self.metrics.errors.add(Operation::Write, refused.len());
        self.metrics
            .writes
            .inc_by((writes.len() - refused.len()) as u64);
    }

    /// What was read of a swarm becomes its view. Returns whether it names a node that we never
    /// heard of.
    fn note_read(&self, info_hash: InfoHash, entries: &Entries) -> bool {
        let now_s = self.directory_s();
        let mut void = Vec::new();
        let mut parts = Vec::new();
        for &(node, counts) in entries {
            if node == self.id {
                continue;
            }
            if u64::from(counts.expires_s) < now_s {
                void.push(Write {
                    info_hash,
                    node,
                    counts: None,
                });
            } else if counts.complete > 0 || counts.incomplete > 0 {
                let Counts {
                    complete,
                    incomplete,
                    ..
                } = counts;
                parts.push(Part {
                    node,
                    complete,
                    incomplete,
                });
            }
        }
        if !void.is_empty() {
            let mut waiting = lock(&self.void);
            void.truncate(MAX_VOID.saturating_sub(waiting.len()));
            waiting.append(&mut void);
        }
        self.views.set(info_hash, &parts, self.clock.now_ms());
        let nodes = lock(&self.nodes);
        parts.iter().any(|part| !nodes.is_known(part.node))
    }
}

/// Writes the directory.
pub(super) async fn flush(hub: Arc<Hub>, relay: Arc<dyn Relay>) -> RelayError {
    let Some(node) = node_of(&hub) else {
        return no_node();
    };
    let mut ticks = interval(FLUSH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = node.leave.notified() => {}
        }
        let result = match hub.is_draining() {
            true => leave(&hub, node, &*relay).await,
            false => flush_once(&hub, node, &*relay).await,
        };
        match result {
            Ok(0) => {}
            Ok(_) => sleep(REFUSED_PAUSE).await,
            Err(error) => {
                node.metrics.errors.inc(Operation::Write);
                return error;
            }
        }
    }
}

/// Returns how many writes were refused.
async fn flush_once(hub: &Hub, node: &Node, relay: &dyn Relay) -> Result<usize, RelayError> {
    let now_ms = node.clock.now_ms();
    {
        // Quiet entries stay by being written again at half their time.
        let mut written = lock(&node.written);
        let before_ms = now_ms.saturating_sub(node.keep_ms / 2);
        for _ in 0..FLUSH_MOST {
            match written.pop_older(before_ms) {
                Some(info_hash) => node.dirty.mark(info_hash),
                None => break,
            }
        }
    }
    node.views.tidy(now_ms, node.keep_ms);
    lock(&node.sent).expire(now_ms);
    lock(&node.origins).expire(now_ms);
    let dirty = node.dirty.take(FLUSH_MOST);
    let mut writes: Vec<_> = dirty
        .into_iter()
        .map(|info_hash| node.entry(hub, info_hash))
        .collect();
    writes.append(&mut lock(&node.void));
    let mut refused = 0;
    if !writes.is_empty() {
        let timer = node.metrics.flush_duration.start_timer();
        match relay.exchange(&writes, &[], node.keep()).await {
            Ok(exchanged) => {
                node.note_written(&writes, &exchanged.refused);
                refused = exchanged.refused.len();
            }
            Err(error) => {
                // Everything is written again when the engine is back.
                timer.observe_duration();
                return Err(error);
            }
        }
        timer.observe_duration();
    }
    node.metrics
        .directory_entries
        .set(lock(&node.written).len() as i64);
    node.metrics.directory_dirty.set(node.dirty.len() as i64);
    Ok(refused)
}

/// Tells all others that offers are no longer welcome here, then takes our entries out.
async fn leave(hub: &Hub, node: &Node, relay: &dyn Relay) -> Result<usize, RelayError> {
    if node.left.is_cancelled() {
        return Ok(0);
    }
    let frame = Frame {
        node: node.id,
        body: Body::Leave,
    }
    .encode();
    let bytes: Arc<[u8]> = frame.map_err(|error| RelayError(error.to_string()))?.into();
    let others: Vec<_> = lock(&node.nodes)
        .alive()
        .map(|other| (other, Arc::clone(&bytes)))
        .collect();
    node.metrics.frames_sent.add(Kind::Leave, others.len());
    relay.publish(&others).await?;
    let mut entries = lock(&node.written).drain();
    // After a break, what is there was written by the connection before.
    hub.swarms.each(|info_hash| entries.push(info_hash));
    let remove = |info_hash| Write {
        info_hash,
        node: node.id,
        counts: None,
    };
    let writes: Vec<_> = entries.into_iter().map(remove).collect();
    relay.exchange(&writes, &[], node.keep()).await?;
    node.metrics.directory_entries.set(0);
    node.left.cancel();
    Ok(0)
}

/// Reads the views that announces and scrapes want.
pub(super) async fn read(hub: Arc<Hub>, relay: Arc<dyn Relay>) -> RelayError {
    let Some(node) = node_of(&hub) else {
        return no_node();
    };
    loop {
        let mut wanted = node.wanted.take(READ_MOST).await;
        let hashes: Vec<_> = wanted
            .swarms
            .iter()
            .map(|(info_hash, _)| *info_hash)
            .collect();
        // Our own entries first: of two nodes that do this at once for a new swarm, one sees the
        // other.
        let dirty = hashes
            .iter()
            .filter(|info_hash| !hub.is_draining() && node.dirty.unmark(info_hash));
        let writes: Vec<_> = dirty
            .map(|info_hash| node.entry(&hub, *info_hash))
            .collect();
        let reading = async {
            let exchanged = relay.exchange(&writes, &hashes, node.keep()).await?;
            node.note_written(&writes, &exchanged.refused);
            node.metrics
                .frames_dropped
                .add(FrameDropped::Foreign, exchanged.foreign);
            let mut strangers = false;
            for (info_hash, view) in hashes.iter().zip(&exchanged.views) {
                if let Some(entries) = view {
                    strangers |= node.note_read(*info_hash, entries);
                }
            }
            if strangers {
                node.look(&*relay).await?;
                let named = exchanged.views.iter().flatten().flatten();
                let mut nodes = lock(&node.nodes);
                named.for_each(|(stranger, _)| nodes.is_missing(*stranger));
            }
            Ok::<_, RelayError>(())
        };
        match timeout(READ_TIMEOUT, reading).await {
            Ok(Ok(())) => node.metrics.reads.inc_by(hashes.len() as u64),
            // An engine that is gone is noticed by others; what was not written is written later.
            Ok(Err(_)) | Err(_) => {
                node.metrics.errors.inc(Operation::Read);
                writes
                    .iter()
                    .for_each(|write| node.dirty.mark(write.info_hash));
            }
        }
        for (info_hash, waiting) in wanted.swarms.drain(..) {
            deal_waiting(&hub, node, info_hash, &waiting);
        }
    }
}

/// Deals what waited for a view, by what is known now.
fn deal_waiting(hub: &Hub, node: &Node, info_hash: InfoHash, waiting: &Waiting) {
    let now_ms = node.clock.now_ms();
    for (frame, _) in waiting {
        // It is our own.
        if let Ok(Frame {
            body: Body::Offers(offers),
            ..
        }) = Frame::decode(frame)
        {
            let others = node.others(&info_hash, now_ms);
            let left_over = node.deal(&offers, &others.parts, 0, now_ms);
            hub.metrics
                .offers_dropped
                .add(OfferDropped::NoReceiver, left_over);
        }
    }
}
