//! What a node does while the engine is there, one task each: signs of life, writing the directory,
//! reading it, sending frames. And, always, handling frames that came.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use shared::InfoHash;
use shared::cluster::{Body, Counts, Frame, NodeId, NodeStatus, Offers, RelayedAnswer};
use shared::tracker::ServerMessage;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::outgoing::{Letter, Lost};
use super::relay::{Entries, Relay, RelayError, Write};
use super::views::Part;
use super::wanted::Waiting;
use super::{MAX_VOID, Node, lock};
use crate::hub::Hub;
use crate::metrics::{
    ClusterAnswerDropped, ClusterOfferDropped, FrameDropped, Kind, OfferDropped, Operation, Role,
    Scope,
};
use crate::session::outbox::Pushed;

/// A sign of life, and a look at those of others. A node that is gone is out of everybody's counts
/// after the one time and the other, 14.5 s; two signs may be late.
const BEAT: Duration = Duration::from_millis(2_500);
const BEAT_TTL: Duration = Duration::from_secs(12);

/// Signs of life that may pass without a ping that came back.
const LOST_PINGS: u64 = 3;

/// Between two looks at who has come.
const HELLO_PAUSE: Duration = Duration::from_millis(200);

/// What docs/operations.md promises.
const _: () = assert!(BEAT.as_millis() + BEAT_TTL.as_millis() <= 15_000);

/// How often changed counts are written.
const FLUSH: Duration = Duration::from_secs(1);

/// Most entries written in one go: when the engine is back, a node with a million swarms needs the
/// best part of a minute for them, of an engine that could take them in two seconds.
const FLUSH_MOST: usize = 20_000;

/// After the engine refused to write, it is left alone for so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);

/// How long offers wait for a view.
const READ_TIMEOUT: Duration = Duration::from_millis(250);

/// Swarms read in one go, and frames sent.
const READ_MOST: usize = 256;
const SEND_MOST: usize = 512;

/// Frames handled between two looks at other tasks.
const RECEIVE_MOST: usize = 32;

/// How often offers are dealt again because their node was gone.
const MOST_TRIES: u8 = 3;

fn node_of(hub: &Hub) -> Option<&Arc<Node>> {
    hub.cluster.node()
}

/// A task that has nothing to do: never, since only nodes have tasks.
fn no_node() -> RelayError {
    RelayError("this tracker is no node".into())
}

/// Signs of life.
pub(super) struct Beats {
    hub: Arc<Hub>,
    relay: Arc<dyn Relay>,
    count: u64,
    started_s: u64,
}

impl Beats {
    pub(super) fn new(hub: &Arc<Hub>, relay: &Arc<dyn Relay>) -> Self {
        let started = hub.clock.origin().duration_since(std::time::UNIX_EPOCH);
        Self {
            hub: Arc::clone(hub),
            relay: Arc::clone(relay),
            count: 0,
            started_s: started.map_or(0, |since| since.as_secs()),
        }
    }

    pub(super) async fn run(mut self) -> RelayError {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first beat was before.
        ticks.tick().await;
        let Some(node) = node_of(&self.hub).cloned() else {
            return no_node();
        };
        loop {
            let result = tokio::select! {
                _ = ticks.tick() => self.beat().await,
                () = node.hello.notified() => {
                    let result = node.look(&*self.relay).await;
                    sleep(HELLO_PAUSE).await;
                    result
                }
            };
            if let Err(error) = result {
                node.metrics.errors.inc(Operation::Beat);
                return error;
            }
        }
    }

    pub(super) async fn beat(&mut self) -> Result<(), RelayError> {
        let node = node_of(&self.hub).ok_or_else(no_node)?;
        let metrics = &self.hub.metrics;
        self.count += 1;
        let status = NodeStatus {
            // Of another connection it must differ too.
            beat: self.hub.clock.now_ms(),
            started_s: self.started_s,
            peers: [Role::Complete, Role::Incomplete]
                .map(|role| metrics.peers(role).get() as u64)
                .iter()
                .sum(),
        };
        let beat = self.relay.beat(status, BEAT_TTL).await?;
        let ours_s = node.clock.now_ms() / 1000;
        node.ahead_s
            .store(beat.now_s as i64 - ours_s as i64, Ordering::Relaxed);
        if !beat.kept {
            node.metrics.errors.inc(Operation::Write);
        }
        if !beat.held && self.count > 1 {
            tracing::warn!(
                "the cluster's engine has forgotten this node; writing everything again"
            );
            node.write_all_again(&self.hub);
        }
        node.look(&*self.relay).await?;
        let lost = self
            .count
            .saturating_sub(1)
            .saturating_sub(node.pong.load(Ordering::Relaxed));
        if lost > LOST_PINGS {
            return Err(RelayError("frames to this node do not arrive".into()));
        }
        let ping = Frame {
            node: node.id,
            body: Body::Ping(self.count),
        };
        let bytes = ping
            .encode()
            .map_err(|error| RelayError(error.to_string()))?;
        node.metrics.frames_sent.inc(Kind::Ping);
        self.relay.publish(&[(node.id, bytes.into())]).await?;
        Ok(())
    }
}

impl Node {
    /// Has the others look at the list now, rather than with their next sign of life.
    pub(super) async fn say_hello(&self, relay: &dyn Relay) {
        let frame = Frame {
            node: self.id,
            body: Body::Ping(0),
        };
        let Ok(bytes) = frame.encode() else {
            return;
        };
        let bytes: Arc<[u8]> = bytes.into();
        let others: Vec<_> = lock(&self.nodes)
            .alive()
            .map(|other| (other, Arc::clone(&bytes)))
            .collect();
        self.metrics.frames_sent.add(Kind::Ping, others.len());
        // They find out anyway.
        let _ = relay.publish(&others).await;
    }

    /// Looks which nodes there are.
    async fn look(&self, relay: &dyn Relay) -> Result<(), RelayError> {
        let (mut listed, foreign) = relay.nodes().await?;
        self.metrics
            .frames_dropped
            .add(FrameDropped::Foreign, foreign);
        listed.retain(|(node, _)| *node != self.id);
        let mut nodes = lock(&self.nodes);
        if nodes.look(&listed) {
            let others: Vec<_> = nodes.alive().map(|node| node.to_string()).collect();
            tracing::info!(?others, "nodes beside this one");
        }
        self.metrics.nodes.set(1 + nodes.alive().count() as i64);
        Ok(())
    }

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

/// Sends frames, and deals the offers again whose node is gone.
pub(super) async fn send(node: Arc<Node>, relay: Arc<dyn Relay>) -> RelayError {
    loop {
        let mut batch = node.outgoing.take(SEND_MOST).await;
        let frames = batch.letters.iter();
        let frames: Vec<_> = frames
            .map(|letter| (letter.to, Arc::clone(&letter.bytes)))
            .collect();
        let receivers = match relay.publish(&frames).await {
            Ok(receivers) => receivers,
            Err(error) => {
                node.metrics.errors.inc(Operation::Publish);
                return error;
            }
        };
        for (letter, receivers) in batch.letters.drain(..).zip(receivers) {
            if receivers > 0 {
                node.metrics.frames_sent.inc(letter.kind);
                node.metrics.sent_bytes.inc_by(letter.bytes.len() as u64);
            } else {
                node.lose(letter);
            }
        }
    }
}

impl Node {
    /// A frame found nobody.
    fn lose(&self, letter: Letter) {
        if lock(&self.nodes).lose(letter.to) {
            tracing::info!(node = %letter.to, "a node is gone: it does not listen");
            self.metrics.nodes.dec();
        }
        let now_ms = self.clock.now_ms();
        let Ok(Frame {
            body: Body::Offers(offers),
            ..
        }) = Frame::decode(&letter.bytes)
        else {
            self.outgoing.lose(&letter, Lost::Node);
            return;
        };
        {
            let mut sent = lock(&self.sent);
            for offer in &offers.offers {
                let _ = sent.take(self.sent_key(letter.to, &offers, &offer.offer_id), now_ms);
            }
        }
        let mut left_over = offers.offers.len();
        if letter.tries < MOST_TRIES {
            let others = self.others(&offers.info_hash, now_ms);
            left_over = self.deal(&offers, &others.parts, letter.tries + 1, now_ms);
        }
        self.metrics
            .offers_dropped
            .add(ClusterOfferDropped::Node, left_over);
    }
}

/// Handles frames that came.
pub(super) async fn receive(hub: Arc<Hub>) {
    let Some(node) = node_of(&hub) else {
        return;
    };
    loop {
        for (kind, bytes) in node.inbox.take(RECEIVE_MOST).await {
            match Frame::decode(&bytes) {
                Ok(frame) => handle(&hub, node, &frame),
                Err(error) => {
                    tracing::debug!(?kind, %error, "a frame that is none");
                    node.metrics.frames_dropped.inc(FrameDropped::of(error));
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

fn handle(hub: &Hub, node: &Node, frame: &Frame<'_>) {
    let own = frame.node == node.id;
    match &frame.body {
        Body::Ping(count) if own => {
            node.pong.fetch_max(*count, Ordering::Relaxed);
        }
        Body::Ping(_) => node.hello.notify_one(),
        Body::Offers(offers) if !own => take_offers(hub, node, frame.node, offers),
        Body::Answer(answer) if !own => take_answer(hub, node, frame.node, answer),
        Body::Leave if !own => {
            let mut nodes = lock(&node.nodes);
            nodes.leave(frame.node);
            node.metrics.nodes.set(1 + nodes.alive().count() as i64);
        }
        _ => node.metrics.frames_dropped.inc(FrameDropped::Foreign),
    }
}

/// Gives the offers of a peer elsewhere to random peers here.
fn take_offers(hub: &Hub, node: &Node, from: NodeId, offers: &Offers<'_>) {
    let metrics = &node.metrics;
    let count = offers.offers.len();
    if hub.is_draining() {
        metrics
            .offers_dropped
            .add(ClusterOfferDropped::Draining, count);
        return;
    }
    let (swarm, peer_id) = (offers.info_hash, offers.peer_id);
    let mut chosen = Vec::with_capacity(count);
    hub.swarms
        .choose(&swarm, &peer_id, offers.incomplete_only, count, &mut chosen);
    metrics
        .offers_dropped
        .add(ClusterOfferDropped::NoReceiver, count - chosen.len());
    let now_ms = hub.clock.now_ms();
    for (offer, (receiver, connection)) in offers.offers.iter().zip(chosen) {
        let offer_id = offer.offer_id;
        let key = hub.offer_key(&swarm, &receiver, &peer_id, &offer_id);
        // Before it is sent: the answer may come at once.
        lock(&node.origins).insert(key, from, now_ms);
        let message = ServerMessage::Offer {
            info_hash: swarm,
            peer_id,
            offer_id,
            offer: offer.offer,
        };
        let (pushed, size) = Hub::with_frame(&message, |frame| {
            (connection.send_offer(frame, key, now_ms), frame.len())
        });
        let dropped = match pushed {
            Pushed::Written | Pushed::Started | Pushed::Queued => {
                hub.metrics.offers_relayed.add(Scope::Remote, 1);
                hub.metrics.sent_bytes.inc_by(size as u64);
                continue;
            }
            Pushed::Full => ClusterOfferDropped::Outbox,
            Pushed::Gone => ClusterOfferDropped::Gone,
        };
        let _ = lock(&node.origins).take(key, now_ms);
        metrics.offers_dropped.inc(dropped);
    }
}

/// Passes an answer from elsewhere to the peer here whose offer it answers, if that offer went to
/// exactly that node and is not answered yet.
fn take_answer(hub: &Hub, node: &Node, from: NodeId, answer: &RelayedAnswer<'_>) {
    let metrics = &node.metrics;
    let RelayedAnswer {
        info_hash,
        peer_id,
        to_peer_id,
        offer_id,
        answer,
    } = *answer;
    let key = node.answer_key(from, &info_hash, &to_peer_id, &offer_id);
    if lock(&node.sent).take(key, hub.clock.now_ms()).is_none() {
        metrics
            .answers_dropped
            .inc(ClusterAnswerDropped::Unsolicited);
        return;
    }
    let Some(offerer) = hub.swarms.owner(&info_hash, &to_peer_id) else {
        metrics.answers_dropped.inc(ClusterAnswerDropped::Gone);
        return;
    };
    let message = ServerMessage::Answer {
        info_hash,
        peer_id,
        offer_id,
        answer,
    };
    if hub.send(&offerer, &message) {
        hub.metrics.answers_relayed.inc(Scope::Remote);
    } else if offerer.has_ended() {
        metrics.answers_dropped.inc(ClusterAnswerDropped::Gone);
    } else {
        metrics.answers_dropped.inc(ClusterAnswerDropped::Outbox);
    }
}
