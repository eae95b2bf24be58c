//! What happens to the engine, or between it and a node: nothing local is lost, and all is as it was
//! some seconds after it is back.

use e2e::{Announce, hash, peer, until};
use easypeers_proto::tracker::ScrapeEntry;
use rustix::process::Signal;

use super::redis::{Local, Redis, are_together, joined, meet, metric_becomes, node_at};
use crate::binary::process::Tracker;

async fn scrape(tracker: &Tracker, swarm: u32) -> (u32, u32) {
    let mut client = tracker.client().await;
    let ScrapeEntry {
        complete,
        incomplete,
        ..
    } = client.scrape(&[hash(swarm)]).await[0];
    (complete, incomplete)
}

async fn counts_become(tracker: &Tracker, swarm: u32, counts: (u32, u32)) {
    let what = format!("swarm {swarm} has {counts:?}");
    until(&what, || async { scrape(tracker, swarm).await == counts }).await;
}

/// Two nodes, a peer of one swarm on each, and load on each by itself.
struct Pair {
    a: Tracker,
    b: Tracker,
    peers: [e2e::Client; 2],
    loads: [Local; 2],
}

impl Pair {
    async fn start(redis: &Redis) -> Self {
        let (a, b) = (redis.node(&[]), redis.node(&[]));
        Self::of(a, b).await
    }

    async fn of(a: Tracker, b: Tracker) -> Self {
        are_together(&[&a, &b]).await;
        let loads = [
            Local::start(&a, hash(100)).await,
            Local::start(&b, hash(200)).await,
        ];
        let mut peers = [joined(&a, hash(1), 1).await, joined(&b, hash(1), 2).await];
        let [one, two] = &mut peers;
        meet(hash(1), one, two).await;
        Self { a, b, peers, loads }
    }

    /// Offers and answers cross again.
    async fn healed(&mut self) {
        let [one, two] = &mut self.peers;
        meet(hash(1), one, two).await;
    }

    async fn end(self) {
        for load in self.loads {
            load.end().await;
        }
    }
}

/// Both nodes notice that the engine is gone, tell so, and forget each other's peers.
async fn is_noticed(pair: &Pair) {
    for tracker in [&pair.a, &pair.b] {
        metric_becomes(tracker, "cluster_up", 0.0).await;
        tracker.wait_for_log("retry_in");
        assert_eq!(tracker.get("/readyz").await.status, 200);
    }
    for tracker in [&pair.a, &pair.b] {
        counts_become(tracker, 1, (0, 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tracker_serves_without_its_engine_and_joins_when_it_comes() {
    let mut redis = Redis::stopped(&[]);
    let (a, b) = (redis.node(&[]), redis.node(&["--cluster-required"]));
    a.wait_for_log("retry_in");
    assert_eq!(a.metric("cluster_up").await, 0.0);
    assert_eq!(a.metric("cluster_configured").await, 1.0);
    assert_eq!(a.get("/readyz").await.status, 200);
    let response = b.get("/readyz").await;
    assert_eq!((response.status, &*response.body), (503, "cluster away\n"));
    assert_eq!(b.get("/healthz").await.status, 200);
    let load = Local::start(&a, hash(100)).await;
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    redis.restart();
    are_together(&[&a, &b]).await;
    assert_eq!(b.get("/readyz").await.status, 200);
    meet(hash(1), &mut one, &mut two).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_engine_costs_nothing_local_and_is_filled_again() {
    let mut redis = Redis::start(&[]);
    let mut pair = Pair::start(&redis).await;
    redis.kill();
    is_noticed(&pair).await;
    redis.restart();
    are_together(&[&pair.a, &pair.b]).await;
    // Everything, not what changed since only.
    for tracker in [&pair.a, &pair.b] {
        counts_become(tracker, 1, (0, 2)).await;
        counts_become(tracker, 100, (0, 2)).await;
        counts_become(tracker, 200, (0, 2)).await;
    }
    pair.healed().await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stands_still_is_as_good_as_gone() {
    let redis = Redis::start(&[]);
    let mut pair = Pair::start(&redis).await;
    redis.signal(Signal::STOP);
    is_noticed(&pair).await;
    redis.signal(Signal::CONT);
    are_together(&[&pair.a, &pair.b]).await;
    pair.healed().await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_without_memory_takes_nothing_new_and_loses_nothing() {
    let redis = Redis::start(&["--maxmemory-policy", "noeviction"]);
    let mut pair = Pair::start(&redis).await;
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let mut three = joined(&pair.a, hash(2), 1).await;
    let mut four = joined(&pair.b, hash(2), 2).await;
    let refused = "cluster_errors_total{operation=\"write\"}";
    until("writes are refused", || async {
        pair.a.metric(refused).await > 0.0
    })
    .await;
    // Who is known stays so, past the time that nodes are remembered without a sign of life: what is
    // published and prolonged needs no memory.
    let beats = "cluster_frames_received_total{kind=\"ping\"}";
    let before = pair.a.metric(beats).await;
    until("signs of life go on", || async {
        pair.a.metric(beats).await >= before + 6.0
    })
    .await;
    assert_eq!(pair.a.metric("cluster_nodes").await, 2.0);
    pair.healed().await;
    assert_eq!(scrape(&pair.a, 2).await, (0, 1));
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    counts_become(&pair.a, 2, (0, 2)).await;
    meet(hash(2), &mut three, &mut four).await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_was_emptied_is_filled_again() {
    let redis = Redis::start(&[]);
    let mut pair = Pair::start(&redis).await;
    redis.ask(&["FLUSHALL"]);
    assert!(redis.ask(&["DBSIZE"]).starts_with(':'));
    pair.a.wait_for_log("has forgotten this node");
    pair.b.wait_for_log("has forgotten this node");
    let mut late = pair.a.client().await;
    until("the swarms are there again", || async {
        redis.ask(&["EXISTS".as_bytes(), &super::redis::swarm_key(hash(200))]) == ":1\r\n"
    })
    .await;
    assert_eq!(late.announce(&Announce::new(hash(1), peer(3))).await.0, 0);
    late.close().await;
    pair.healed().await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_subscription_is_made_anew() {
    let redis = Redis::start(&[]);
    let mut pair = Pair::start(&redis).await;
    let connects = "cluster_connects_total{result=\"ok\"}";
    let before = pair.a.metric(connects).await;
    // As the engine does with a subscriber that is too slow.
    redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("it connects again", || async {
        pair.a.metric(connects).await > before
    })
    .await;
    are_together(&[&pair.a, &pair.b]).await;
    pair.healed().await;
    pair.end().await;
}

/// A node is cut off from an engine that the other reaches: both go on by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_side_of_a_partition_serves_its_own() {
    let redis = Redis::start(&[]);
    let files = e2e::TempDir::new();
    let door = files.path("door.sock");
    let proxy = proxy(door.clone(), redis.socket());
    let (a, b) = (
        redis.node(&[]),
        node_at(&format!("unix://{}", door.display()), &[]),
    );
    let mut pair = Pair::of(a, b).await;
    proxy.abort();
    let _ = proxy.await;
    metric_becomes(&pair.b, "cluster_up", 0.0).await;
    metric_becomes(&pair.a, "cluster_nodes", 1.0).await;
    assert_eq!(pair.a.metric("cluster_up").await, 1.0);
    counts_become(&pair.a, 1, (0, 1)).await;
    counts_become(&pair.b, 1, (0, 1)).await;
    std::fs::remove_file(&door).unwrap();
    let proxy = self::proxy(door, redis.socket());
    are_together(&[&pair.a, &pair.b]).await;
    pair.healed().await;
    pair.end().await;
    proxy.abort();
}

/// Passes bytes on; ending it ends the connections.
fn proxy(door: std::path::PathBuf, to: std::path::PathBuf) -> tokio::task::JoinHandle<()> {
    let listener = tokio::net::UnixListener::bind(door).unwrap();
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut here, _)) = listener.accept().await {
            let to = to.clone();
            connections.spawn(async move {
                if let Ok(mut there) = tokio::net::UnixStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                }
            });
        }
    })
}
