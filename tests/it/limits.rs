//! Limits: what goes beyond is refused with a reason and counted, and nobody else notices.

use std::time::Duration;

use e2e::{Announce, Client, RawClient, Received, TestServer, hash, offer_id, peer, sdp, until};
use tokio_tungstenite::tungstenite::Message;

/// A server that believes what the test says about addresses.
async fn behind_proxy(change: impl FnOnce(&mut tracker::Settings)) -> TestServer {
    TestServer::with(|s| {
        s.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
        change(s);
    })
    .await
}

/// A client that a proxy says is at `address`.
async fn from(server: &TestServer, address: &str) -> Result<Client, e2e::Response> {
    server
        .try_client("/", &[("x-forwarded-for", address)])
        .await
}

#[tokio::test]
async fn one_connection_may_be_in_so_many_swarms() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for number in 0..1000 {
        client
            .send(Announce::new(hash(number), peer(1)).text())
            .await;
    }
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..1000 {
        match client.next().await {
            Received::Announced { .. } => accepted += 1,
            Received::Failure { reason, .. } => {
                assert!(
                    reason.contains("too many swarms on one connection"),
                    "{reason}"
                );
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((accepted, refused), (500, 500));
    assert_eq!(server.metric("swarms").await, 500.0);
    let series = "messages_rejected_total{reason=\"connection_swarm_limit\"}";
    assert_eq!(server.metric(series).await, 500.0);
    // Those it is in go on, and another connection may still make new ones.
    assert_eq!(
        client.announce(&Announce::new(hash(3), peer(1))).await,
        (0, 1)
    );
    let mut other = server.client().await;
    other.announce(&Announce::new(hash(999), peer(2))).await;
    // Leaving one makes room for another.
    client
        .announce(&Announce::new(hash(3), peer(1)).event("stopped"))
        .await;
    client.announce(&Announce::new(hash(998), peer(1))).await;
}

#[tokio::test]
async fn there_may_be_so_many_swarms_in_all() {
    let server = TestServer::with(|s| s.max_swarms = 2).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    one.announce(&Announce::new(hash(2), peer(1))).await;
    two.send(Announce::new(hash(3), peer(2)).text()).await;
    assert!(two.failure().await.contains("tracker is full"));
    assert_eq!(two.announce(&Announce::new(hash(2), peer(2))).await, (0, 2));
    assert_eq!(
        server
            .metric("messages_rejected_total{reason=\"swarm_limit\"}")
            .await,
        1.0
    );
    one.announce(&Announce::new(hash(1), peer(1)).event("stopped"))
        .await;
    assert_eq!(two.announce(&Announce::new(hash(3), peer(2))).await, (0, 1));
}

#[tokio::test]
async fn there_may_be_so_many_connections_in_all() {
    let server = TestServer::with(|s| s.max_connections = 2).await;
    let (one, mut two) = (server.client().await, server.client().await);
    assert_eq!(server.get("/readyz").await.status, 503);
    let refused = server.try_client("/", &[]).await.unwrap_err();
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("as many connections"), "{refused:?}");
    assert_eq!(
        server
            .metric("upgrades_rejected_total{reason=\"connection_limit\"}")
            .await,
        1.0
    );
    two.fence().await;
    one.close().await;
    server.metric_becomes("connections", 1.0).await;
    assert_eq!(server.get("/readyz").await.status, 200);
    server.client().await.fence().await;
}

#[tokio::test]
async fn one_address_may_have_a_thousand_connections() {
    let server = behind_proxy(|s| s.max_upgrades_per_second = 10_000).await;
    let mut other = server.client().await;
    let (mut open, mut refused) = (Vec::new(), 0);
    for _ in 0..2000 {
        match from(&server, "192.0.2.1").await {
            Ok(client) => open.push(client),
            Err(response) => {
                assert_eq!(response.status, 429);
                assert!(
                    response
                        .body
                        .contains("too many connections from your address")
                );
                refused += 1;
            }
        }
    }
    assert_eq!((open.len(), refused), (1000, 1000));
    assert_eq!(server.metric("connections").await, 1001.0);
    assert_eq!(
        server
            .metric("upgrades_rejected_total{reason=\"address_limit\"}")
            .await,
        1000.0
    );
    // Others, loopback among them, are unaffected, and whoever leaves makes room.
    other.fence().await;
    let mut neighbour = from(&server, "192.0.2.2").await.unwrap();
    neighbour.fence().await;
    server.client().await.fence().await;
    open.pop().unwrap().close().await;
    until("a place is free", || async {
        from(&server, "192.0.2.1").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn two_thousand_at_once_are_no_more_than_a_thousand() {
    let server = behind_proxy(|_| {}).await;
    let attempts = (0..2000).map(|_| from(&server, "192.0.2.1"));
    let results = futures_util::future::join_all(attempts).await;
    let (open, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((open.len(), refused.len()), (1000, 1000));
    for response in refused {
        let response = response.unwrap_err();
        assert_eq!(response.status, 429);
        assert!(response.body.starts_with("too many "), "{response:?}");
    }
    assert_eq!(server.metric("connections").await, 1000.0);
}

#[tokio::test]
async fn an_ipv6_client_is_its_64_network() {
    let server = behind_proxy(|s| s.max_connections_per_address = 2).await;
    let _one = from(&server, "2001:db8::1").await.unwrap();
    let _two = from(&server, "2001:db8::2").await.unwrap();
    assert_eq!(from(&server, "2001:db8::3").await.unwrap_err().status, 429);
    let _other = from(&server, "2001:db8:0:1::1").await.unwrap();
}

#[tokio::test]
async fn the_header_of_an_untrusted_proxy_means_nothing() {
    let server = TestServer::with(|s| s.max_connections_per_address = 1).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(from(&server, "192.0.2.1").await.unwrap());
    }
}

#[tokio::test]
async fn loopback_is_exempt() {
    let server = TestServer::with(|s| {
        s.max_connections_per_address = 1;
        s.max_upgrades_per_second = 1;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(server.client().await);
    }
    assert_eq!(server.metric("connections").await, 50.0);
}

#[tokio::test]
async fn upgrades_have_a_rate_by_address() {
    let server = behind_proxy(|s| s.max_upgrades_per_second = 1).await;
    let mut last = None;
    for _ in 0..100 {
        match from(&server, "192.0.2.1").await {
            Ok(client) => drop(client),
            Err(response) => {
                last = Some(response);
                break;
            }
        }
    }
    let refused = last.expect("a refusal after the burst");
    assert_eq!(refused.status, 429);
    assert!(refused.body.contains("slow down"), "{refused:?}");
    assert!(
        server
            .metric("upgrades_rejected_total{reason=\"rate\"}")
            .await
            >= 1.0
    );
    from(&server, "192.0.2.2").await.unwrap();
    until("a second has passed", || async {
        from(&server, "192.0.2.1").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_messages_is_refused_and_then_closed() {
    let server = TestServer::with(|s| s.max_messages_per_second = 1).await;
    let mut other = server.client().await;
    let mut client = server.client().await;
    let text = Announce::new(hash(1), peer(1)).text();
    let mut sent = 0;
    while sent < 500 && client.try_send(Message::text(text.clone())).await {
        sent += 1;
    }
    let (mut accepted, mut refused) = (0, 0);
    let code = loop {
        match client.next().await {
            Received::Announced { .. } => accepted += 1,
            Received::Failure {
                action,
                info_hash,
                reason,
            } => {
                assert_eq!(reason, "too many messages");
                assert!(action == Some("announce") && info_hash.is_some());
                refused += 1;
            }
            Received::Closed { code, reason } => {
                assert_eq!(reason, "too many messages");
                break code;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1008);
    assert!(
        accepted >= 10 && refused >= 11,
        "{accepted} accepted, {refused} refused"
    );
    assert!(
        server
            .metric("messages_rejected_total{reason=\"rate_limit\"}")
            .await
            >= 11.0
    );
    server
        .metric_becomes("connections_closed_total{reason=\"limit\"}", 1.0)
        .await;
    other.fence().await;
    server.counts_become(hash(1), 0, 0).await;
}

/// The server closes with 1009, and somebody else is served.
async fn assert_too_big(server: &TestServer, mut client: Client, message: Message) {
    let mut other = server.client().await;
    client.try_send(message).await;
    assert_eq!(client.closed().await, 1009);
    server
        .metric_becomes("connections_closed_total{reason=\"protocol\"}", 1.0)
        .await;
    other.fence().await;
}

#[tokio::test]
async fn a_frame_of_ten_megabytes_is_closed_with_1009() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let text = "x".repeat(10_000_000);
    assert_too_big(&server, client, Message::text(text)).await;
}

#[tokio::test]
async fn a_message_of_the_largest_size_is_read_and_one_byte_more_is_not() {
    let server = TestServer::with(|s| s.max_message_size = 4096).await;
    let mut client = server.client().await;
    let base = Announce::new(hash(1), peer(1)).with("pad", "").text().len();
    let padded = |size: usize| Announce::new(hash(1), peer(1)).with("pad", "x".repeat(size - base));
    client.announce(&padded(4096)).await;
    assert_too_big(&server, client, Message::text(padded(4097).text())).await;
}

#[tokio::test]
async fn a_hundred_thousand_offers_are_too_big_by_default() {
    let server = TestServer::start().await;
    let client = server.client().await;
    let text = Announce::new(hash(1), peer(1)).offers(100_000).text();
    assert_too_big(&server, client, Message::text(text)).await;
}

#[tokio::test]
async fn of_a_hundred_thousand_offers_twenty_are_relayed() {
    let server = TestServer::with(|s| s.max_message_size = 32 << 20).await;
    let mut others = Vec::new();
    for number in 0..30 {
        let mut client = server.client().await;
        client.announce(&Announce::new(hash(1), peer(number))).await;
        others.push(client);
    }
    let mut client = server.client().await;
    client
        .announce(&Announce::new(hash(1), peer(99)).offers(100_000))
        .await;
    client.fence().await;
    assert_eq!(
        server.metric("offers_relayed_total{scope=\"local\"}").await,
        20.0
    );
    assert_eq!(
        server
            .metric("offers_dropped_total{reason=\"limit\"}")
            .await,
        99_980.0
    );
    assert_eq!(
        server
            .metric("offers_dropped_total{reason=\"malformed\"}")
            .await,
        0.0
    );
}

/// A client that never reads gets offers until its queue is full.
#[tokio::test]
async fn a_client_that_never_reads_loses_offers_and_is_closed_when_more_must_wait() {
    let server = TestServer::start().await;
    let mut slow = RawClient::open(server.address()).await;
    slow.send(&Announce::new(hash(1), peer(1)).text())
        .await
        .unwrap();
    server.counts_become(hash(1), 0, 1).await;
    let mut sender = server.client().await;
    let description = sdp("offer", 1).replace("v=0", &"a".repeat(100_000));
    let announce = Announce::new(hash(1), peer(2)).offer(offer_id(1), &description);
    e2e::within("offers to be dropped", async {
        while server
            .metric("offers_dropped_total{reason=\"outbox_full\"}")
            .await
            < 5.0
        {
            sender.announce(&announce).await;
        }
    })
    .await;
    assert_eq!(
        server
            .metric("connections_closed_total{reason=\"slow\"}")
            .await,
        0.0
    );
    // Responses may use what offers may not; where even they do not fit, it is closed.
    let hashes: Vec<_> = (0..100).map(hash).collect();
    let scrape = serde_json::json!({"action": "scrape", "info_hash": hashes}).to_string();
    for _ in 0..100 {
        if slow.send(&scrape).await.is_err() {
            break;
        }
    }
    server
        .metric_becomes("connections_closed_total{reason=\"slow\"}", 1.0)
        .await;
    assert_eq!(
        sender.announce(&Announce::new(hash(1), peer(2))).await,
        (0, 1)
    );
}

#[tokio::test]
async fn a_request_of_one_byte_at_a_time_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = TestServer::with(|s| s.header_timeout = Duration::from_millis(500)).await;
    let mut stream = server.connect().await.unwrap();
    let mut read = Vec::new();
    let trickle = async {
        for byte in e2e::raw::UPGRADE.bytes().cycle() {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            let pause = Duration::from_millis(100);
            let heard = tokio::time::timeout(pause, stream.read_buf(&mut read)).await;
            if let Ok(Ok(0) | Err(_)) = heard {
                break;
            }
        }
    };
    e2e::within("the server to give up", trickle).await;
    assert_eq!(server.metric("http_timeouts_total").await, 1.0);
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_cut_off() {
    use tokio::io::AsyncReadExt as _;
    let server = TestServer::with(|s| s.header_timeout = Duration::from_millis(200)).await;
    let mut stream = server.connect().await.unwrap();
    let mut read = Vec::new();
    let ended = e2e::within("the end", stream.read_to_end(&mut read)).await;
    assert!(ended.is_err() || !read.starts_with(b"HTTP/1.1 2"));
    assert_eq!(server.metric("http_timeouts_total").await, 1.0);
}
