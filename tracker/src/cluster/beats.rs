//! A node's signs of life: a status in the engine's list, renewed; a look at those of others; a ping to
//! itself through the bus, which shows that frames arrive.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use easypeers_proto::cluster::{Body, Frame, NodeStatus};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::relay::{Relay, RelayError};
use super::run::{no_node, node_of};
use super::{Node, lock};
use crate::hub::Hub;
use crate::metrics::{FrameDropped, Kind, Operation, Role};

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
            heartbeat: self.hub.clock.now_ms(),
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
    pub(super) async fn look(&self, relay: &dyn Relay) -> Result<(), RelayError> {
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
}
