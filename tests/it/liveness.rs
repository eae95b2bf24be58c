//! Pings: who answers stays, who is silent goes.

use std::time::Duration;

use e2e::{Announce, RawClient, Received, TestServer, hash, peer};

async fn impatient() -> TestServer {
    TestServer::with(|s| s.ping_interval = Duration::from_millis(300)).await
}

#[tokio::test]
async fn a_silent_connection_is_pinged_and_closed_and_its_peer_goes() {
    let server = impatient().await;
    let mut dead = RawClient::open(server.address()).await;
    dead.send(&Announce::new(hash(1), peer(1)).text())
        .await
        .unwrap();
    server.counts_become(hash(1), 0, 1).await;
    server.counts_become(hash(1), 0, 0).await;
    server
        .metric_becomes("connections_closed_total{reason=\"idle\"}", 1.0)
        .await;
    let bytes = dead.read_to_end().await;
    let ping = [0x89, 0];
    assert!(
        bytes.windows(2).any(|two| two == ping),
        "no ping in {bytes:?}"
    );
}

#[tokio::test]
async fn a_connection_that_answers_pings_stays_while_silent_ones_go() {
    let server = impatient().await;
    let mut alive = server.client().await;
    alive.announce(&Announce::new(hash(1), peer(1))).await;
    // One after another, so that the quiet one outlives several times the patience.
    for round in 1..=3 {
        let _dead = RawClient::open(server.address()).await;
        server
            .metric_becomes(
                "connections_closed_total{reason=\"idle\"}",
                f64::from(round),
            )
            .await;
    }
    assert_eq!(
        alive.announce(&Announce::new(hash(1), peer(1))).await,
        (0, 1)
    );
    assert_eq!(server.metric("connections").await, 1.0);
}

#[tokio::test]
async fn a_peer_that_announces_nothing_but_pongs_is_kept_and_gets_offers() {
    let server = impatient().await;
    let mut quiet = server.client().await;
    quiet.announce(&Announce::new(hash(1), peer(1))).await;
    let _dead = RawClient::open(server.address()).await;
    server
        .metric_becomes("connections_closed_total{reason=\"idle\"}", 1.0)
        .await;
    let mut other = server.client().await;
    other
        .announce(&Announce::new(hash(1), peer(2)).offers(1))
        .await;
    assert!(matches!(quiet.next().await, Received::Offer { .. }));
    assert_eq!(server.metric("peers_expired_total").await, 0.0);
}
