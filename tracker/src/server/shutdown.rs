//! Draining: `/readyz` says 503, no WebSocket is opened and no offer relayed any more; the answers
//! to offers that were relayed before get up to a quarter of the drain time; then the open
//! WebSockets get 1001 spread over the rest of it, so that their clients do not all return to the
//! next process at once. HTTP is served until they are closed: otherwise nobody could ask `/readyz`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::hub::Hub;
use crate::metrics::ClosedBy;
use crate::ws::CLOSE_TIMEOUT;

/// With few connections there is no crowd to spread: a tenth of a second for each is enough.
const PACE: Duration = Duration::from_millis(100);

/// Between two looks for answers that are still to come.
const LOOK: Duration = Duration::from_millis(20);

/// For taking a node's entries out of the directory. What is left then goes on in the background, and
/// expires in the end.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long HTTP requests in flight may take.
const HTTP_GRACE: Duration = Duration::from_secs(2);

pub(super) async fn drain(hub: &Arc<Hub>, stop: &CancellationToken, sockets: &TaskTracker) {
    hub.start_draining();
    tracing::info!(connections = hub.connections.len(), "draining");
    let window = hub.settings.drain_timeout;
    if let Some(node) = hub.cluster.node() {
        let _ = timeout(LEAVE_TIMEOUT, node.leave()).await;
    }
    let waited = wait_for_answers(hub, window / 4).await;
    let window = window.saturating_sub(waited);
    // Who came first goes first.
    let mut open: Vec<_> = hub.connections.iter().map(|entry| *entry.key()).collect();
    open.sort_unstable();
    let pace = (window / open.len().max(1) as u32).min(PACE);
    // Timers are a millisecond coarse: close in groups where there are many.
    let group = (Duration::from_millis(5).as_nanos() / pace.as_nanos().max(1)).max(1) as usize;
    for ids in open.chunks(group) {
        for id in ids {
            close(hub, *id);
        }
        sleep(pace * ids.len() as u32).await;
    }
    // Whoever was upgraded meanwhile.
    let late: Vec<_> = hub.connections.iter().map(|entry| *entry.key()).collect();
    late.into_iter().for_each(|id| close(hub, id));
    let ended = async {
        while !hub.connections.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = timeout(CLOSE_TIMEOUT, ended).await;
    stop.cancel();
    sockets.close();
    let _ = timeout(HTTP_GRACE, sockets.wait()).await;
}

/// Waits until every relayed offer was answered; some never are. Returns how long it waited.
async fn wait_for_answers(hub: &Hub, most: Duration) -> Duration {
    let since = hub.clock.elapsed();
    loop {
        let waited = hub.clock.elapsed().saturating_sub(since);
        let here = hub.connections.iter().any(|entry| entry.awaits_answer());
        let node = hub.cluster.node();
        let elsewhere = node.is_some_and(|node| node.awaits_answer(hub.clock.now_ms()));
        let awaited = here || elsewhere;
        if waited >= most || !awaited {
            return waited;
        }
        sleep(LOOK).await;
    }
}

fn close(hub: &Hub, id: u64) {
    if let Some(connection) = hub.connections.get(&id) {
        connection.request_close(ClosedBy::Shutdown);
    }
}
