//! Frames between nodes: sent, and handled when they come.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use easypeers_proto::cluster::{Body, Frame, NodeId, Offers, RelayedAnswer};
use easypeers_proto::tracker::ServerMessage;

use super::outgoing::{Letter, Lost};
use super::relay::{Relay, RelayError};
use super::run::node_of;
use super::{Node, lock};
use crate::hub::Hub;
use crate::metrics::{ClusterAnswerDropped, ClusterOfferDropped, FrameDropped, Operation, Scope};
use crate::session::outbox::Pushed;

/// Frames sent in one go.
const SEND_MOST: usize = 512;

/// Frames handled between two looks at other tasks.
const RECEIVE_MOST: usize = 32;

/// How often offers are dealt again because their node was gone.
const MOST_TRIES: u8 = 3;

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
