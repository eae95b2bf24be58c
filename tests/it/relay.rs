//! Offers and answers: who gets them, how often, and that nothing in them changes.

use std::collections::BTreeSet;

use e2e::{Announce, Client, Received, TestServer, answer, hash, offer_id, peer, sdp};
use easypeers_proto::OfferId;

/// Peers `1..=count` of swarm 1, each on its own connection.
async fn crowd(server: &TestServer, count: u32) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 1..=count {
        let mut client = server.client().await;
        client.announce(&Announce::new(hash(1), peer(number))).await;
        clients.push(client);
    }
    clients
}

/// The offers that wait at each client, after the sender's fence.
async fn offers(clients: &mut [Client]) -> Vec<Vec<OfferId>> {
    let mut all = Vec::new();
    for client in clients {
        client
            .send("{\"action\":\"scrape\",\"info_hash\":\"aaaaaaaaaaaaaaaaaaaa\"}")
            .await;
        let mut own = Vec::new();
        loop {
            match client.next().await {
                Received::Offer { offer_id, .. } => own.push(offer_id),
                Received::Scraped(_) => break,
                other => panic!("{other:?}"),
            }
        }
        all.push(own);
    }
    all
}

#[tokio::test]
async fn offers_go_one_each_to_different_peers_and_never_back() {
    let server = TestServer::start().await;
    let mut others = crowd(&server, 8).await;
    let mut sender = server.client().await;
    for _ in 0..20 {
        sender
            .announce(&Announce::new(hash(1), peer(99)).offers(5))
            .await;
        sender.fence().await;
        let got = offers(&mut others).await;
        assert!(got.iter().all(|own| own.len() <= 1), "{got:?}");
        let ids: BTreeSet<_> = got.into_iter().flatten().collect();
        assert_eq!(ids, (0..5).map(offer_id).collect());
    }
    assert_eq!(
        server.metric("offers_relayed_total{scope=\"local\"}").await,
        100.0
    );
}

#[tokio::test]
async fn every_peer_gets_offers_in_the_long_run() {
    let server = TestServer::start().await;
    let mut others = crowd(&server, 8).await;
    let mut sender = server.client().await;
    let mut counts = [0; 8];
    for _ in 0..60 {
        sender
            .announce(&Announce::new(hash(1), peer(99)).offers(2))
            .await;
        sender.fence().await;
        for (count, own) in counts.iter_mut().zip(offers(&mut others).await) {
            *count += own.len();
        }
    }
    assert_eq!(counts.iter().sum::<usize>(), 120);
    // Each expects 15; that one gets none has a chance below 1e-6.
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}

#[tokio::test]
async fn more_offers_than_peers_leaves_the_rest() {
    let server = TestServer::start().await;
    let mut others = crowd(&server, 3).await;
    let mut sender = server.client().await;
    sender
        .announce(&Announce::new(hash(1), peer(99)).offers(10))
        .await;
    sender.fence().await;
    let got = offers(&mut others).await;
    assert!(got.iter().all(|own| own.len() == 1), "{got:?}");
    assert_eq!(
        server
            .metric("offers_dropped_total{reason=\"no_receiver\"}")
            .await,
        7.0
    );
}

#[tokio::test]
async fn numwant_smaller_than_the_offers_counts() {
    let server = TestServer::start().await;
    let mut others = crowd(&server, 8).await;
    let mut sender = server.client().await;
    for (numwant, expected) in [(2, 2), (0, 0), (50, 6)] {
        let announce = Announce::new(hash(1), peer(99))
            .offers(6)
            .with("numwant", numwant);
        sender.announce(&announce).await;
        sender.fence().await;
        let got: usize = offers(&mut others).await.iter().map(Vec::len).sum();
        assert_eq!(got, expected, "numwant {numwant}");
    }
}

#[tokio::test]
async fn max_offers_bounds_one_announce() {
    let server = TestServer::with(|s| s.max_offers = 2).await;
    let mut others = crowd(&server, 5).await;
    let mut sender = server.client().await;
    sender
        .announce(&Announce::new(hash(1), peer(99)).offers(5))
        .await;
    sender.fence().await;
    let got: usize = offers(&mut others).await.iter().map(Vec::len).sum();
    assert_eq!(got, 2);
    assert_eq!(
        server
            .metric("offers_dropped_total{reason=\"limit\"}")
            .await,
        3.0
    );
}

#[tokio::test]
async fn malformed_offers_are_skipped_and_the_others_relayed() {
    let server = TestServer::start().await;
    let mut others = crowd(&server, 5).await;
    let mut sender = server.client().await;
    let good = sdp("offer", 1);
    let announce = Announce::new(hash(1), peer(99))
        .offer(offer_id(0), "null")
        .offer(offer_id(1), "{}")
        .offer(offer_id(2), "[1,2]")
        .offer(offer_id(3), &good)
        .offer(offer_id(4), "{\"type\":\"offer\"}");
    sender.announce(&announce).await;
    sender.fence().await;
    let got: Vec<_> = offers(&mut others).await.concat();
    assert_eq!(got, [offer_id(3)]);
    assert_eq!(
        server
            .metric("offers_dropped_total{reason=\"malformed\"}")
            .await,
        4.0
    );
}

/// Descriptions whose text a parser and printer would change.
const ODD: [&str; 4] = [
    "{ \"type\" : \"offer\" ,\n\t\"sdp\":\"v=0\\r\\n\\u0041\\/\\\"\" }",
    "{\"sdp\":\"grüße ☃ \u{1f600} \\ud83d\\ude00\",\"type\":\"offer\"}",
    "{\"type\":\"offer\",\"sdp\":\"a\",\"extra\":[1.0,1e3,-0,{\"b\":null}],\"sdp\":\"b\"}",
    "{\"type\":\"offer\",\"sdp\":\"\\u0000\\u001f\u{7f}\u{80}\"}",
];

#[tokio::test]
async fn descriptions_are_relayed_byte_for_byte() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    two.announce(&Announce::new(hash(1), peer(2))).await;
    for (number, description) in ODD.into_iter().enumerate() {
        let id = offer_id(number as u32);
        one.announce(&Announce::new(hash(1), peer(1)).offer(id, description))
            .await;
        let expected = Received::Offer {
            info_hash: hash(1),
            peer_id: peer(1),
            offer_id: id,
            offer: description.to_owned(),
        };
        assert_eq!(two.next().await, expected);
        two.send(answer(hash(1), peer(2), peer(1), id, description))
            .await;
        let expected = Received::Answer {
            info_hash: hash(1),
            peer_id: peer(2),
            offer_id: id,
            answer: description.to_owned(),
        };
        assert_eq!(one.next().await, expected);
    }
}

/// Peer 1 has made offer 7 to peer 2.
async fn offered(server: &TestServer) -> (Client, Client) {
    let (mut one, mut two) = (server.client().await, server.client().await);
    two.announce(&Announce::new(hash(1), peer(2))).await;
    one.announce(&Announce::new(hash(1), peer(1)).offer(offer_id(7), &sdp("offer", 7)))
        .await;
    assert!(matches!(two.next().await, Received::Offer { .. }));
    (one, two)
}

#[tokio::test]
async fn an_answer_reaches_the_offerer_only_and_gets_no_response() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    let mut three = server.client().await;
    three.announce(&Announce::new(hash(1), peer(3))).await;
    two.send(answer(
        hash(1),
        peer(2),
        peer(1),
        offer_id(7),
        &sdp("answer", 7),
    ))
    .await;
    two.fence().await;
    let text = one.next_text().await;
    assert!(!text.contains("to_peer_id"), "{text}");
    let message: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut keys: Vec<_> = message.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        ["action", "answer", "info_hash", "offer_id", "peer_id"]
    );
    one.fence().await;
    three.fence().await;
    assert_eq!(
        server
            .metric("answers_relayed_total{scope=\"local\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_second_answer_to_one_offer_is_refused() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    let text = answer(hash(1), peer(2), peer(1), offer_id(7), &sdp("answer", 7));
    two.send(text.clone()).await;
    two.send(text).await;
    assert!(two.failure().await.contains("answered already"));
    assert!(matches!(one.next().await, Received::Answer { .. }));
    one.fence().await;
    assert_eq!(
        server
            .metric("answers_relayed_total{scope=\"local\"}")
            .await,
        1.0
    );
    assert_eq!(
        server
            .metric("answers_dropped_total{reason=\"unsolicited\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn an_answer_to_a_peer_that_has_left_is_dropped_in_silence() {
    let server = TestServer::start().await;
    let (one, mut two) = offered(&server).await;
    one.close().await;
    server.counts_become(hash(1), 0, 1).await;
    two.send(answer(
        hash(1),
        peer(2),
        peer(1),
        offer_id(7),
        &sdp("answer", 7),
    ))
    .await;
    two.fence().await;
    assert_eq!(
        server
            .metric("answers_dropped_total{reason=\"receiver_gone\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn an_answer_reaches_the_offerer_that_has_reconnected() {
    let server = TestServer::start().await;
    let (one, mut two) = offered(&server).await;
    one.close().await;
    server.counts_become(hash(1), 0, 1).await;
    let mut one = server.client().await;
    one.announce(&Announce::new(hash(1), peer(1))).await;
    two.send(answer(
        hash(1),
        peer(2),
        peer(1),
        offer_id(7),
        &sdp("answer", 7),
    ))
    .await;
    assert!(matches!(one.next().await, Received::Answer { .. }));
}

#[tokio::test]
async fn the_same_offer_may_come_again_and_be_answered_again() {
    let server = TestServer::start().await;
    let (mut one, mut two) = offered(&server).await;
    one.announce(&Announce::new(hash(1), peer(1)).offer(offer_id(7), &sdp("offer", 7)))
        .await;
    assert!(matches!(two.next().await, Received::Offer { .. }));
    for _ in 0..2 {
        two.send(answer(
            hash(1),
            peer(2),
            peer(1),
            offer_id(7),
            &sdp("answer", 7),
        ))
        .await;
        assert!(matches!(one.next().await, Received::Answer { .. }));
    }
}

#[tokio::test]
async fn a_seeders_offers_go_to_leechers_only() {
    let server = TestServer::start().await;
    let (mut seeder, mut leecher) = (server.client().await, server.client().await);
    seeder
        .announce(&Announce::new(hash(1), peer(1)).seeding())
        .await;
    leecher.announce(&Announce::new(hash(1), peer(2))).await;
    let mut sender = server.client().await;
    for _ in 0..10 {
        sender
            .announce(&Announce::new(hash(1), peer(3)).seeding().offers(2))
            .await;
        sender.fence().await;
        assert!(matches!(leecher.next().await, Received::Offer { .. }));
        leecher.fence().await;
        seeder.fence().await;
    }
    leecher
        .announce(&Announce::new(hash(1), peer(2)).offers(2))
        .await;
    leecher.fence().await;
    assert!(matches!(seeder.next().await, Received::Offer { .. }));
    assert!(matches!(sender.next().await, Received::Offer { .. }));
}

#[tokio::test]
async fn offers_stay_in_their_swarm() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    two.announce(&Announce::new(hash(2), peer(2)).offers(5))
        .await;
    two.fence().await;
    one.fence().await;
}

#[tokio::test]
async fn the_newcomers_response_comes_before_offers_made_to_it() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    assert_eq!(
        two.announce(&Announce::new(hash(1), peer(2)).offers(1))
            .await,
        (0, 2)
    );
    assert!(matches!(one.next().await, Received::Offer { peer_id, .. } if peer_id == peer(2)));
}
