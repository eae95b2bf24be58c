//! Nobody speaks for somebody else: answers that nobody asked for, peer ids that are in use, and
//! the exception, an owner that is dead.

use e2e::{Announce, Client, RawClient, Received, TestServer, answer, hash, offer_id, peer, sdp};

/// Peer 1 has made offer 7 to peer 2 in swarm 1.
async fn offered(server: &TestServer) -> (Client, Client) {
    let (mut one, mut two) = (server.client().await, server.client().await);
    two.announce(&Announce::new(hash(1), peer(2))).await;
    one.announce(&Announce::new(hash(1), peer(1)).offer(offer_id(7), &sdp("offer", 7)))
        .await;
    assert!(matches!(two.next().await, Received::Offer { .. }));
    (one, two)
}

/// `text` is refused as unsolicited, and `victim` gets nothing.
async fn assert_refused(
    server: &TestServer,
    sender: &mut Client,
    victim: &mut Client,
    text: String,
) {
    sender.send(text).await;
    assert!(sender.failure().await.contains("no such offer"));
    sender.fence().await;
    victim.fence().await;
    assert_eq!(
        server
            .metric("answers_relayed_total{scope=\"local\"}")
            .await,
        0.0
    );
    assert_eq!(
        server
            .metric("answers_dropped_total{reason=\"unsolicited\"}")
            .await,
        1.0
    );
    assert_eq!(
        server
            .metric("messages_rejected_total{reason=\"unsolicited_answer\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn an_answer_to_an_offer_that_was_never_made_is_refused() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    let text = answer(hash(1), peer(2), peer(1), offer_id(8), &sdp("answer", 8));
    assert_refused(&server, &mut two, &mut one, text).await;
}

#[tokio::test]
async fn an_answer_in_another_swarm_is_refused() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    one.announce(&Announce::new(hash(2), peer(1))).await;
    two.announce(&Announce::new(hash(2), peer(2))).await;
    let text = answer(hash(2), peer(2), peer(1), offer_id(7), &sdp("answer", 7));
    assert_refused(&server, &mut two, &mut one, text).await;
}

#[tokio::test]
async fn an_answer_with_the_receivers_peer_id_from_another_connection_is_refused() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    let mut thief = server.client().await;
    thief.announce(&Announce::new(hash(1), peer(3))).await;
    let text = answer(hash(1), peer(2), peer(1), offer_id(7), &sdp("answer", 7));
    thief.send(text.clone()).await;
    assert!(thief.failure().await.contains("no such offer"));
    one.fence().await;
    two.send(text).await;
    assert!(
        matches!(one.next().await, Received::Answer { .. }),
        "the right one still may"
    );
}

#[tokio::test]
async fn an_answer_under_another_peer_id_is_refused() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    let text = answer(hash(1), peer(9), peer(1), offer_id(7), &sdp("answer", 7));
    assert_refused(&server, &mut two, &mut one, text).await;
}

#[tokio::test]
async fn an_answer_to_a_third_peer_is_refused() {
    let server = TestServer::start().await;
    let (_one, mut two) = offered(&server).await;
    let mut three = server.client().await;
    three.announce(&Announce::new(hash(1), peer(3))).await;
    let text = answer(hash(1), peer(2), peer(3), offer_id(7), &sdp("answer", 7));
    assert_refused(&server, &mut two, &mut three, text).await;
}

#[tokio::test]
async fn a_peer_id_in_use_cannot_be_announced_completed_or_stopped_by_another() {
    let server = TestServer::start().await;
    let (mut owner, mut thief) = (server.client().await, server.client().await);
    owner.announce(&Announce::new(hash(1), peer(1))).await;
    let announce = Announce::new(hash(1), peer(1));
    let attempts = [
        announce.clone().offers(3),
        announce.clone().seeding(),
        announce.clone().event("completed"),
        announce.clone().event("stopped"),
    ];
    for (number, attempt) in attempts.into_iter().enumerate() {
        thief.send(attempt.text()).await;
        let reason = thief.failure().await;
        assert!(reason.contains("peer_id is in use"), "{reason}");
        let entry = thief.scrape(&[hash(1)]).await[0];
        assert_eq!((entry.complete, entry.incomplete), (0, 1));
        let series = "messages_rejected_total{reason=\"peer_id_in_use\"}";
        assert_eq!(server.metric(series).await, number as f64 + 1.0);
    }
    // The owner still is who gets offers, and may go on.
    let mut other = server.client().await;
    other
        .announce(&Announce::new(hash(1), peer(2)).offers(2))
        .await;
    assert!(matches!(owner.next().await, Received::Offer { .. }));
    thief.fence().await;
    assert_eq!(owner.announce(&announce.event("completed")).await, (1, 1));
    assert_eq!(server.metric("peer_ids_taken_over_total").await, 0.0);
}

#[tokio::test]
async fn the_failure_for_a_peer_id_in_use_names_action_and_swarm() {
    let server = TestServer::start().await;
    let (mut owner, mut thief) = (server.client().await, server.client().await);
    owner.announce(&Announce::new(hash(1), peer(1))).await;
    thief.send(Announce::new(hash(1), peer(1)).text()).await;
    match thief.next().await {
        Received::Failure {
            action, info_hash, ..
        } => {
            assert_eq!(action, Some("announce"));
            let echo: easypeers_proto::InfoHash =
                serde_json::from_str(&info_hash.unwrap()).unwrap();
            assert_eq!(echo, hash(1));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_same_peer_id_may_be_in_another_swarm_by_another_connection() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    assert_eq!(two.announce(&Announce::new(hash(2), peer(1))).await, (0, 1));
}

#[tokio::test]
async fn a_dead_owners_peer_id_passes_to_the_newcomer() {
    let server = TestServer::start().await;
    let mut dead = RawClient::open(server.address()).await;
    dead.send(&Announce::new(hash(1), peer(1)).text())
        .await
        .unwrap();
    server.counts_become(hash(1), 0, 1).await;
    let mut other = server.client().await;
    other.announce(&Announce::new(hash(1), peer(2))).await;
    let mut newcomer = server.client().await;
    assert_eq!(
        newcomer
            .announce(&Announce::new(hash(1), peer(1)).offers(1))
            .await,
        (0, 2)
    );
    assert_eq!(server.metric("peer_ids_taken_over_total").await, 1.0);
    assert!(
        matches!(other.next().await, Received::Offer { .. }),
        "the offers that waited"
    );
    // Offers now go to the newcomer, and the old connection's end takes nothing away.
    other
        .announce(&Announce::new(hash(1), peer(2)).offers(1))
        .await;
    assert!(matches!(newcomer.next().await, Received::Offer { .. }));
    drop(dead);
    server.metric_becomes("connections", 2.0).await;
    assert_eq!(server.scrape(hash(1)).await.incomplete, 2);
}

#[tokio::test]
async fn what_a_newcomer_asks_meanwhile_is_answered_while_its_announce_waits() {
    let server = TestServer::start().await;
    let mut dead = RawClient::open(server.address()).await;
    dead.send(&Announce::new(hash(1), peer(1)).text())
        .await
        .unwrap();
    server.counts_become(hash(1), 0, 1).await;
    let mut newcomer = server.client().await;
    newcomer.send(Announce::new(hash(1), peer(1)).text()).await;
    assert_eq!(
        newcomer.announce(&Announce::new(hash(2), peer(1))).await,
        (0, 1)
    );
    assert!(
        matches!(newcomer.next().await, Received::Announced { info_hash, .. } if info_hash == hash(1))
    );
}

#[tokio::test]
async fn a_waiting_announce_that_is_stopped_does_not_come_true() {
    let server = TestServer::start().await;
    let mut dead = RawClient::open(server.address()).await;
    dead.send(&Announce::new(hash(1), peer(1)).text())
        .await
        .unwrap();
    dead.send(&Announce::new(hash(2), peer(1)).text())
        .await
        .unwrap();
    server.counts_become(hash(2), 0, 1).await;
    let mut newcomer = server.client().await;
    newcomer.send(Announce::new(hash(1), peer(1)).text()).await;
    newcomer
        .send(Announce::new(hash(1), peer(1)).event("stopped").text())
        .await;
    assert!(
        newcomer.failure().await.contains("in use"),
        "it is not its own yet"
    );
    // A claim made later is decided later: then the first one would have been.
    newcomer.announce(&Announce::new(hash(2), peer(1))).await;
    newcomer.fence().await;
    assert_eq!(server.metric("peer_ids_taken_over_total").await, 1.0);
}

#[tokio::test]
async fn a_peer_id_is_free_at_once_when_its_owner_closed_or_stopped() {
    let server = TestServer::start().await;
    let announce = Announce::new(hash(1), peer(1));
    let mut owner = server.client().await;
    owner.announce(&announce).await;
    owner.announce(&announce.clone().event("stopped")).await;
    let mut second = server.client().await;
    second.announce(&announce).await;
    second.close().await;
    let mut third = server.client().await;
    third.announce(&announce).await;
    assert_eq!(server.metric("peer_ids_taken_over_total").await, 0.0);
    assert_eq!(
        server
            .metric("messages_rejected_total{reason=\"peer_id_in_use\"}")
            .await,
        0.0
    );
}

#[tokio::test]
async fn announces_that_wait_for_peer_ids_are_bounded() {
    let server = TestServer::start().await;
    let mut dead = RawClient::open(server.address()).await;
    dead.send(&Announce::new(hash(1), peer(1)).text())
        .await
        .unwrap();
    server.counts_become(hash(1), 0, 1).await;
    let mut newcomer = server.client().await;
    let long = Announce::new(hash(1), peer(1)).with("padding", "x".repeat(100_000));
    for _ in 0..3 {
        newcomer.send(long.text()).await;
    }
    assert!(newcomer.failure().await.contains("too many announces wait"));
    for _ in 0..2 {
        assert!(matches!(newcomer.next().await, Received::Announced { .. }));
    }
    assert_eq!(
        server
            .metric("messages_rejected_total{reason=\"claim_limit\"}")
            .await,
        1.0
    );
}
