//! Announces: the response, events, `left`, and who counts as what.

use e2e::{Announce, Received, TestServer, hash, peer};
use easypeers_proto::PeerId;
use easypeers_proto::tracker::ScrapeEntry;
use serde_json::{Value, json};

#[tokio::test]
async fn the_response_has_interval_and_counts() {
    let server =
        TestServer::with(|s| s.announce_interval = std::time::Duration::from_secs(77)).await;
    let mut client = server.client().await;
    client.send(Announce::new(hash(1), peer(1)).text()).await;
    let expected = Received::Announced {
        info_hash: hash(1),
        interval: 77,
        complete: 0,
        incomplete: 1,
    };
    assert_eq!(client.next().await, expected);
}

#[tokio::test]
async fn the_response_has_these_keys_and_no_others() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client
        .send(Announce::new(hash(1), peer(1)).seeding().text())
        .await;
    let response: Value = serde_json::from_str(&client.next_text().await).unwrap();
    let expected = json!({
        "action": "announce", "interval": 120, "info_hash": hash(1), "complete": 1, "incomplete": 0,
    });
    assert_eq!(response, expected);
}

#[tokio::test]
async fn left_says_who_is_a_seeder() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let cases = [
        (json!(0), true),
        (json!(0.0), true),
        (json!("0"), true),
        (json!(null), false),
        (json!(-1), false),
        (json!(1), false),
        (json!(1.5), false),
        (json!(1e300), false),
        (json!("5"), false),
        (json!([]), false),
        (json!({}), false),
    ];
    for (number, (left, seeder)) in cases.into_iter().enumerate() {
        let swarm = hash(number as u32);
        let counts = client
            .announce(&Announce::new(swarm, peer(1)).with("left", left.clone()))
            .await;
        let expected = if seeder { (1, 0) } else { (0, 1) };
        assert_eq!(counts, expected, "left: {left}");
        let entry = client.scrape(&[swarm]).await[0];
        assert_eq!((entry.complete, entry.incomplete), expected, "left: {left}");
    }
    let absent = Announce::new(hash(99), peer(1)).without("left");
    assert_eq!(client.announce(&absent).await, (0, 1));
}

#[tokio::test]
async fn every_known_event_is_accepted() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let events = [
        json!("started"),
        json!("update"),
        json!("paused"),
        json!("empty"),
        json!(""),
        json!(null),
    ];
    for event in events {
        let announce = Announce::new(hash(1), peer(1)).with("event", event.clone());
        assert_eq!(client.announce(&announce).await, (0, 1), "event: {event}");
    }
    let completed = Announce::new(hash(1), peer(1)).event("completed");
    assert_eq!(client.announce(&completed).await, (1, 0));
    let stopped = Announce::new(hash(1), peer(1)).event("stopped");
    assert_eq!(client.announce(&stopped).await, (0, 0));
    for (event, count) in [
        ("started", 1.0),
        ("update", 4.0),
        ("paused", 1.0),
        ("completed", 1.0),
        ("stopped", 1.0),
    ] {
        let series = format!("announces_total{{event=\"{event}\"}}");
        assert_eq!(server.metric(&series).await, count, "{event}");
    }
}

#[tokio::test]
async fn completed_makes_a_seeder_whatever_is_left_and_counts_once_as_downloaded() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let leecher = Announce::new(hash(1), peer(1));
    assert_eq!(client.announce(&leecher).await, (0, 1));
    let completed = leecher.clone().event("completed").with("left", 5);
    assert_eq!(client.announce(&completed).await, (1, 0));
    assert_eq!(client.announce(&completed).await, (1, 0));
    let expected = ScrapeEntry {
        info_hash: hash(1),
        complete: 1,
        incomplete: 0,
        downloaded: 1,
    };
    assert_eq!(client.scrape(&[hash(1)]).await, [expected]);
}

#[tokio::test]
async fn who_starts_as_a_seeder_has_not_downloaded() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client
        .announce(&Announce::new(hash(1), peer(1)).seeding().event("started"))
        .await;
    assert_eq!(client.scrape(&[hash(1)]).await[0].downloaded, 0);
}

#[tokio::test]
async fn a_seeder_with_something_left_is_a_leecher_again() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let announce = Announce::new(hash(1), peer(1));
    assert_eq!(client.announce(&announce.clone().seeding()).await, (1, 0));
    assert_eq!(client.announce(&announce.with("left", 10)).await, (0, 1));
    assert_eq!(server.metric("peers{role=\"complete\"}").await, 0.0);
    assert_eq!(server.metric("peers{role=\"incomplete\"}").await, 1.0);
}

#[tokio::test]
async fn stopped_is_answered_and_removes_the_peer_and_the_empty_swarm() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    assert_eq!(two.announce(&Announce::new(hash(1), peer(2))).await, (0, 2));
    let stopped = |number| Announce::new(hash(1), peer(number)).event("stopped");
    assert_eq!(one.announce(&stopped(1)).await, (0, 1));
    assert_eq!(server.metric("swarms").await, 1.0);
    assert_eq!(two.announce(&stopped(2)).await, (0, 0));
    assert_eq!(server.metric("swarms").await, 0.0);
    assert_eq!(two.announce(&stopped(2)).await, (0, 0), "again");
    assert_eq!(
        two.announce(&Announce::new(hash(7), peer(2)).event("stopped"))
            .await,
        (0, 0)
    );
}

#[tokio::test]
async fn ids_may_have_any_bytes() {
    let server = TestServer::start().await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    for start in (0..=255).step_by(20) {
        let bytes = std::array::from_fn(|i| (start + i) as u8);
        let (swarm, id) = (easypeers_proto::InfoHash::new(bytes), PeerId::new(bytes));
        two.announce(&Announce::new(swarm, peer(2))).await;
        let offer = easypeers_proto::OfferId::new(bytes);
        one.announce(&Announce::new(swarm, id).offer(offer, &e2e::sdp("offer", 1)))
            .await;
        let expected = Received::Offer {
            info_hash: swarm,
            peer_id: id,
            offer_id: offer,
            offer: e2e::sdp("offer", 1),
        };
        assert_eq!(two.next().await, expected);
        let entry = one.scrape(&[swarm]).await[0];
        assert_eq!((entry.info_hash, entry.incomplete), (swarm, 2));
    }
}

#[tokio::test]
async fn unknown_keys_and_odd_values_of_unused_ones_are_ignored() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let announce = Announce::new(hash(1), peer(1))
        .with("uploaded", "x")
        .with("downloaded", json!([1]))
        .with("key", "89abcdef")
        .with("corrupt", 0)
        .with("trackerid", json!(null))
        .with("room", json!({"deep": [[[[{}]]]]}));
    assert_eq!(client.announce(&announce).await, (0, 1));
    for numwant in [
        json!(null),
        json!("5"),
        json!(1.5),
        json!(-1),
        json!(1e99),
        json!({}),
    ] {
        let announce = Announce::new(hash(1), peer(1)).with("numwant", numwant);
        assert_eq!(client.announce(&announce).await, (0, 1));
    }
    for offers in [
        json!(null),
        json!([]),
        json!({}),
        json!("x"),
        json!([null]),
        json!([{}]),
        json!([{"fake_offer": 1}]),
    ] {
        let announce = Announce::new(hash(1), peer(1)).with("offers", offers);
        assert_eq!(client.announce(&announce).await, (0, 1));
    }
}

#[tokio::test]
async fn peers_over_ipv4_and_ipv6_meet() {
    let address = (std::net::Ipv6Addr::LOCALHOST, 0);
    if tokio::net::TcpListener::bind(address).await.is_err() {
        println!("skipped: no IPv6 loopback here");
        return;
    }
    let both = std::net::SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 0));
    let server = TestServer::with(|s| s.listen = vec![both.into()]).await;
    let port = server.address().port();
    let mut clients = Vec::new();
    for ip in ["127.0.0.1", "::1"] {
        let address = std::net::SocketAddr::new(ip.parse().unwrap(), port);
        let stream = e2e::tls::connect(address, None).await.unwrap();
        clients.push(e2e::Client::upgrade(stream, "/", &[]).await.unwrap());
    }
    assert_eq!(
        clients[0].announce(&Announce::new(hash(1), peer(1))).await,
        (0, 1)
    );
    let announce = Announce::new(hash(1), peer(2)).offers(1);
    assert_eq!(clients[1].announce(&announce).await, (0, 2));
    assert!(matches!(clients[0].next().await, Received::Offer { .. }));
}
