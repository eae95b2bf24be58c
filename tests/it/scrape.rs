//! Scrapes: one swarm, many, unknown ones, and what is refused.

use e2e::{Announce, Received, TestServer, hash, peer};
use easypeers_proto::tracker::ScrapeEntry;
use serde_json::{Value, json};

#[tokio::test]
async fn one_infohash_as_a_string() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client
        .announce(&Announce::new(hash(1), peer(1)).seeding())
        .await;
    client.announce(&Announce::new(hash(1), peer(2))).await;
    client
        .send(json!({"action": "scrape", "info_hash": hash(1)}).to_string())
        .await;
    let text: Value = serde_json::from_str(&client.next_text().await).unwrap();
    let key = json!(hash(1)).as_str().unwrap().to_owned();
    let expected = json!({"action": "scrape", "files": {
        key: {"complete": 1, "incomplete": 1, "downloaded": 0},
    }});
    assert_eq!(text, expected);
}

#[tokio::test]
async fn many_infohashes_and_unknown_ones_with_zeros() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client
        .announce(&Announce::new(hash(2), peer(1)).event("completed"))
        .await;
    let entry = |number, complete, downloaded| ScrapeEntry {
        info_hash: hash(number),
        complete,
        incomplete: 0,
        downloaded,
    };
    let entries = client.scrape(&[hash(1), hash(2), hash(3)]).await;
    assert_eq!(entries, [entry(1, 0, 0), entry(2, 1, 1), entry(3, 0, 0)]);
    assert_eq!(
        server.metric("swarms").await,
        1.0,
        "a scrape makes no swarm"
    );
}

#[tokio::test]
async fn a_hundred_infohashes_are_answered_and_one_more_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let hashes: Vec<_> = (0..101).map(hash).collect();
    assert_eq!(client.scrape(&hashes[..100]).await.len(), 100);
    client
        .send(json!({"action": "scrape", "info_hash": hashes}).to_string())
        .await;
    assert!(client.failure().await.contains("too many"));
    let counted = server
        .metric("messages_rejected_total{reason=\"scrape_too_large\"}")
        .await;
    assert_eq!(counted, 1.0);
}

#[tokio::test]
async fn a_scrape_of_nothing_or_of_nonsense_is_refused_with_its_action() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.announce(&Announce::new(hash(1), peer(1))).await;
    let cases = [
        (json!({"action": "scrape"}), "missing_info_hash"),
        (
            json!({"action": "scrape", "info_hash": []}),
            "missing_info_hash",
        ),
        (
            json!({"action": "scrape", "info_hash": null}),
            "invalid_info_hash",
        ),
        (
            json!({"action": "scrape", "info_hash": 5}),
            "invalid_info_hash",
        ),
        (
            json!({"action": "scrape", "info_hash": {"a": 1}}),
            "invalid_info_hash",
        ),
        (
            json!({"action": "scrape", "info_hash": [hash(1), 7]}),
            "invalid_info_hash",
        ),
        (
            json!({"action": "scrape", "info_hash": [[hash(1)]]}),
            "invalid_info_hash",
        ),
        (
            json!({"action": "scrape", "info_hash": "short"}),
            "invalid_info_hash",
        ),
    ];
    for (message, reason) in cases {
        let series = format!("messages_rejected_total{{reason=\"{reason}\"}}");
        let before = server.metric(&series).await;
        client.send(message.to_string()).await;
        match client.next().await {
            Received::Failure { action, .. } => assert_eq!(action, Some("scrape"), "{message}"),
            other => panic!("{message}: {other:?}"),
        }
        assert_eq!(server.metric(&series).await, before + 1.0, "{message}");
    }
    client.fence().await;
}

#[tokio::test]
async fn a_scrape_needs_no_announce_and_makes_no_peer() {
    let server = TestServer::start().await;
    server.scrape(hash(1)).await;
    assert_eq!(server.metric("peers{role=\"incomplete\"}").await, 0.0);
    assert_eq!(
        server
            .metric("messages_received_total{kind=\"scrape\"}")
            .await,
        1.0
    );
}
