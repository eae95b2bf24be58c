//! What happens to nodes: killed, stopped for a while, drained, flooded.

use e2e::{Announce, Client, Received, answer, hash, offer_id, peer, sdp, until};
use rustix::process::Signal;
use tokio_tungstenite::tungstenite::Message;

use super::redis::{Local, Redis, are_together, joined, meet, metric_becomes, swarm_key};
use crate::binary::process::Tracker;

/// What was offered of `sender`'s announce, by id.
async fn offered(client: &mut Client) -> easypeers_proto::OfferId {
    loop {
        match client.next().await {
            Received::Offer { offer_id, .. } => return offer_id,
            Received::Announced { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn leechers(tracker: &Tracker, swarm: u32) -> u32 {
    tracker.client().await.scrape(&[hash(swarm)]).await[0].incomplete
}

/// An offer to a node that was killed is dealt again at once, and its peers no longer count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_to_a_killed_node_go_to_others() {
    let redis = Redis::start(&[]);
    let (a, b, c) = (redis.node(&[]), redis.node(&[]), redis.node(&[]));
    are_together(&[&a, &b, &c]).await;
    let load = Local::start(&a, hash(100)).await;
    let mut offerer = joined(&a, hash(1), 1).await;
    let _doomed = joined(&b, hash(1), 2).await;
    let mut other = joined(&c, hash(1), 3).await;
    until("all are seen", || async { leechers(&a, 1).await == 3 }).await;
    b.kill();
    // Both of them, though A does not know yet that one of its two others is gone: an offer each.
    let announce = Announce::new(hash(1), peer(1)).offers(2);
    offerer.send(announce.text()).await;
    let first = offered(&mut other).await;
    let text = answer(hash(1), peer(3), peer(1), first, &sdp("answer", 1));
    other.send(text).await;
    until("B is gone", || async { leechers(&a, 1).await == 2 }).await;
    metric_becomes(&a, "cluster_nodes", 2.0).await;
    metric_becomes(&c, "cluster_nodes", 2.0).await;
    let lost = a
        .metric("cluster_offers_dropped_total{reason=\"node_gone\"}")
        .await;
    assert!(lost <= 1.0, "one peer is left, and it has an offer: {lost}");
    load.end().await;
    assert_eq!(a.metric("cluster_up").await, 1.0);
}

/// A node that stands still for longer than nodes are remembered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_is_back_by_itself() {
    let redis = Redis::start(&[]);
    let (a, b) = (redis.node(&[]), redis.node(&[]));
    are_together(&[&a, &b]).await;
    let load = Local::start(&a, hash(100)).await;
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    meet(hash(1), &mut one, &mut two).await;
    b.signal(Signal::STOP);
    // Offers to it wait in the engine meanwhile.
    for number in 0..50 {
        let announce =
            Announce::new(hash(1), peer(1)).offer(offer_id(1000 + number), &sdp("offer", number));
        one.send(announce.text()).await;
    }
    metric_becomes(&a, "cluster_nodes", 1.0).await;
    until("its peers no longer count", || async {
        leechers(&a, 1).await == 1
    })
    .await;
    b.signal(Signal::CONT);
    are_together(&[&a, &b]).await;
    meet(hash(1), &mut one, &mut two).await;
    load.end().await;
}

/// TERM: out of the directory at once, answers in flight arrive, clients get 1001.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_node_leaves_the_directory_first() {
    let redis = Redis::start(&[]);
    let a = redis.node(&[]);
    let b = redis.node(&["--drain-timeout", "120s"]);
    are_together(&[&a, &b]).await;
    let load = Local::start(&a, hash(100)).await;
    let mut offerer = joined(&a, hash(1), 1).await;
    let mut answerer = joined(&b, hash(1), 2).await;
    until("it is seen", || async { leechers(&a, 1).await == 2 }).await;
    offerer
        .send(Announce::new(hash(1), peer(1)).offers(1).text())
        .await;
    let id = offered(&mut answerer).await;
    b.signal(Signal::TERM);
    until("its entries are gone", || async {
        redis.ask(&["HLEN".as_bytes(), &swarm_key(hash(1))]) == ":1\r\n"
    })
    .await;
    metric_becomes(&a, "cluster_nodes", 1.0).await;
    // It is still there for what was under way.
    let text = answer(hash(1), peer(2), peer(1), id, &sdp("answer", 9));
    answerer.send(text).await;
    loop {
        match offerer.next().await {
            Received::Answer { answer, .. } => {
                assert_eq!(answer, sdp("answer", 9));
                break;
            }
            Received::Announced { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answerer.closed().await, 1001);
    let (status, _, stderr) = b.end();
    assert_eq!(status, Some(0), "{stderr}");
    until("it is off the list", || async {
        redis.ask(&["SCARD", "ep:nodes"]) == ":1\r\n"
    })
    .await;
    load.end().await;
}

/// A client that announces as fast as it can, in a swarm whose other peers are elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_on_one_node_hurts_nobody_else() {
    let redis = Redis::start(&[]);
    let unlimited = ["--max-messages-per-second", "1000000"];
    let (a, b) = (redis.node(&unlimited), redis.node(&[]));
    are_together(&[&a, &b]).await;
    let loads = [
        Local::start(&a, hash(100)).await,
        Local::start(&b, hash(200)).await,
    ];
    let mut one = joined(&a, hash(1), 1).await;
    let mut two = joined(&b, hash(1), 2).await;
    meet(hash(1), &mut one, &mut two).await;
    // Who get the flood; they read nothing, so that it meets the bound of their outboxes.
    let _targets = [joined(&b, hash(3), 11).await, joined(&b, hash(3), 12).await];
    let mut flooder = joined(&a, hash(3), 10).await;
    let flood = tokio::spawn(async move {
        let announce = Announce::new(hash(3), peer(10)).offers(10).text();
        for _ in 0..3_000 {
            if !flooder.try_send(Message::text(&*announce)).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        flooder
    });
    meet(hash(1), &mut one, &mut two).await;
    let _flooder = e2e::within("the flood's end", flood).await.unwrap();
    meet(hash(1), &mut one, &mut two).await;
    for load in loads {
        load.end().await;
    }
    let crossed = b.metric("offers_relayed_total{scope=\"remote\"}").await;
    assert!(crossed > 100.0, "{crossed} offers of the flood");
    for node in [&a, &b] {
        assert_eq!(node.metric("cluster_up").await, 1.0);
        assert_eq!(
            node.metric("cluster_connects_total{result=\"ok\"}").await,
            1.0
        );
    }
}
