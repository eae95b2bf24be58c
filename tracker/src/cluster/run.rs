//! A node's life: connect, serve, and again, more and more slowly, when the engine is gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::beats::Beats;
use super::relay::{Relay, RelayError};
use super::{Node, directory, traffic};
use crate::hub::Hub;
use crate::metrics::{Connect, Operation};

/// Between two attempts to connect: at first, and at most. All of it with jitter, so that nodes
/// which lost one engine do not come back in step.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// For connecting, Sentinels that do not answer included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection that lasted so long starts the next attempts at the beginning.
const STABLE: Duration = Duration::from_secs(10);

/// For taking our name from the list at the end.
const GOODBYE: Duration = Duration::from_secs(1);

/// Runs the node, if this tracker is one, until cancelled.
pub(crate) async fn run(hub: Arc<Hub>, stop: CancellationToken) {
    let Some(node) = hub.cluster.node().cloned() else {
        return;
    };
    let receiving = tokio::spawn(traffic::receive(Arc::clone(&hub)));
    tokio::select! {
        () = stop.cancelled() => {}
        () = Box::pin(connect_again_and_again(&hub, &node, &stop)) => {}
    }
    receiving.abort();
}

async fn connect_again_and_again(hub: &Arc<Hub>, node: &Arc<Node>, stop: &CancellationToken) {
    let mut retry = FIRST_RETRY;
    loop {
        let connecting = node.engine.connect(node.id, Arc::clone(&node.inbox));
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        let connected =
            connected.unwrap_or_else(|_| Err(RelayError("connecting takes too long".into())));
        let error = match connected {
            Ok(relay) => {
                node.metrics.connects.inc(Connect::Ok);
                let since = Instant::now();
                let error = Box::pin(serve(hub, node, &relay, stop)).await;
                node.fall();
                if since.elapsed() > STABLE {
                    retry = FIRST_RETRY;
                }
                match error {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => {
                node.metrics.connects.inc(Connect::Error);
                error
            }
        };
        // From half of it to all of it.
        let wait = retry.mul_f64(rand::rng().random_range(0.5..=1.0));
        tracing::warn!(engine = node.place, %error, retry_in = ?wait, "the cluster's engine is away, serving our own clients");
        sleep(wait).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// Serves until the engine is gone, which is an error, or until cancelled.
async fn serve(
    hub: &Arc<Hub>,
    node: &Arc<Node>,
    relay: &Arc<dyn Relay>,
    stop: &CancellationToken,
) -> Option<RelayError> {
    // The directory's clock and the other nodes first: what is written and read needs both.
    node.pong.store(0, Ordering::Relaxed);
    let mut beats = Beats::new(hub, relay);
    if let Err(error) = beats.beat().await {
        node.metrics.errors.inc(Operation::Beat);
        return Some(error);
    }
    node.rise(hub);
    node.say_hello(&**relay).await;
    let (hub, link) = (|| Arc::clone(hub), || Arc::clone(relay));
    let mut tasks = JoinSet::new();
    tasks.spawn(beats.run());
    tasks.spawn(directory::flush(hub(), link()));
    tasks.spawn(directory::read(hub(), link()));
    tasks.spawn(traffic::send(Arc::clone(node), link()));
    tokio::select! {
        Some(ended) = tasks.join_next() => match ended {
            Ok(error) => Some(error),
            Err(panic) => Some(RelayError(panic.to_string())),
        },
        lost = relay.lost() => lost.err(),
        () = stop.cancelled() => {
            let _ = timeout(GOODBYE, relay.leave()).await;
            None
        }
    }
}

impl Node {
    /// The engine is there.
    fn rise(&self, hub: &Hub) {
        // It may have lost everything, and does not know what happened here meanwhile.
        self.write_all_again(hub);
        self.up.store(true, Ordering::Relaxed);
        self.metrics.up.set(1);
        tracing::info!(engine = self.place, node = %self.id, "one of the cluster");
    }

    /// The engine is gone.
    fn fall(&self) {
        if self.up.swap(false, Ordering::Relaxed) {
            self.away_since_ms
                .store(self.clock.now_ms(), Ordering::Relaxed);
        }
        self.metrics.up.set(0);
        self.metrics.nodes.set(0);
        self.outgoing.clear();
        self.wanted.clear();
    }

    /// Marks every swarm; the flusher's limit spreads it.
    pub(super) fn write_all_again(&self, hub: &Hub) {
        super::lock(&self.written).drain();
        hub.swarms.each(|info_hash| self.dirty.mark(info_hash));
    }
}

pub(super) fn node_of(hub: &Hub) -> Option<&Arc<Node>> {
    hub.cluster.node()
}

/// A task that has nothing to do: never, since only nodes have tasks.
pub(super) fn no_node() -> RelayError {
    RelayError("this tracker is no node".into())
}
