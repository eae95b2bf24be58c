//! What no client should send. The connection stays open, the failure has a shape that clients
//! bear, and the reason is counted.

use e2e::{Announce, Client, Received, TestServer, answer, hash, offer_id, peer, sdp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Sends `text`, expects a failure with this action, this echo and this counter, and then a
/// following announce to work.
async fn assert_failure(
    server: &TestServer,
    client: &mut Client,
    text: &str,
    reason: &str,
    expected: (Option<&str>, Option<&str>),
) {
    let series = format!("messages_rejected_total{{reason=\"{reason}\"}}");
    let before = server.metric(&series).await;
    client.send(text).await;
    match client.next().await {
        Received::Failure {
            action,
            info_hash,
            reason,
        } => {
            assert_eq!((action, info_hash.as_deref()), expected, "{text}: {reason}");
        }
        other => panic!("{text}: {other:?}"),
    }
    assert_eq!(server.metric(&series).await, before + 1.0, "{text}");
    let announce = Announce::new(hash(1), peer(1));
    assert_eq!(client.announce(&announce).await, (0, 1), "after {text}");
}

#[tokio::test]
async fn what_is_no_object_gets_a_bare_failure() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let deep = 50_000;
    let cases = [
        (String::new(), "not_json"),
        ("hello".to_owned(), "not_json"),
        ("{".to_owned(), "not_json"),
        ("{\"action\":\"announce\"".to_owned(), "not_json"),
        ("{\"action\":\"announce\"}}".to_owned(), "not_json"),
        ("{'action':'announce'}".to_owned(), "not_json"),
        ("{\"a\":".repeat(deep / 5), "not_json"),
        ("null".to_owned(), "not_an_object"),
        ("true".to_owned(), "not_an_object"),
        ("7".to_owned(), "not_an_object"),
        ("\"announce\"".to_owned(), "not_an_object"),
        ("[]".to_owned(), "not_an_object"),
        ("[{\"action\":\"announce\"}]".to_owned(), "not_an_object"),
        (
            format!("{}{}", "[".repeat(deep), "]".repeat(deep)),
            "not_an_object",
        ),
    ];
    for (text, reason) in cases {
        assert_failure(&server, &mut client, &text, reason, (None, None)).await;
    }
}

#[tokio::test]
async fn an_unknown_action_is_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for action in [
        json!(null),
        json!(1),
        json!("connect"),
        json!("ANNOUNCE"),
        json!(["announce"]),
    ] {
        let text = json!({"action": action}).to_string();
        assert_failure(&server, &mut client, &text, "unknown_action", (None, None)).await;
    }
    assert_failure(&server, &mut client, "{}", "unknown_action", (None, None)).await;
    // A client that sent an infohash can match the failure, and dies without an action.
    let text = json!({"action": "x", "info_hash": "abc"}).to_string();
    let expected = (Some("announce"), Some("\"abc\""));
    assert_failure(&server, &mut client, &text, "unknown_action", expected).await;
}

#[tokio::test]
async fn ids_of_other_lengths_or_characters_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let bad = [
        String::new(),
        "a".repeat(19),
        "a".repeat(21),
        "a".repeat(40),
        "\u{100}".repeat(20),
        format!("{}\u{1f600}", "a".repeat(19)),
    ];
    for id in bad {
        let raw = json!(id).to_string();
        let text = Announce::new(hash(1), peer(1))
            .with("info_hash", id.clone())
            .text();
        let expected = (Some("announce"), Some(&*raw));
        assert_failure(&server, &mut client, &text, "invalid_info_hash", expected).await;
        let text = Announce::new(hash(1), peer(1))
            .with("peer_id", id.clone())
            .text();
        let sent: Value = serde_json::from_str(&text).unwrap();
        let sent = sent["info_hash"].to_string();
        let expected = (Some("announce"), Some(&*sent));
        assert_failure(&server, &mut client, &text, "invalid_peer_id", expected).await;
    }
}

#[tokio::test]
async fn missing_and_wrong_fields_of_an_announce_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let base = Announce::new(hash(1), peer(1));
    let echo = json!(hash(1)).to_string();
    let (known, bare) = ((Some("announce"), Some(&*echo)), (None, None));
    let cases = [
        (base.clone().without("info_hash"), "missing_info_hash", bare),
        (
            base.clone().with("info_hash", Value::Null),
            "invalid_info_hash",
            bare,
        ),
        (base.clone().with("info_hash", 7), "invalid_info_hash", bare),
        (
            base.clone().with("info_hash", json!(["x"])),
            "invalid_info_hash",
            bare,
        ),
        (
            base.clone().with("info_hash", "x".repeat(5000)),
            "invalid_info_hash",
            bare,
        ),
        (base.clone().without("peer_id"), "invalid_peer_id", known),
        (base.clone().with("peer_id", 7), "invalid_peer_id", known),
        (base.clone().with("event", "begun"), "invalid_event", known),
        (base.clone().with("event", 1), "invalid_event", known),
        (
            base.clone().with("event", json!({})),
            "invalid_event",
            known,
        ),
    ];
    for (announce, reason, expected) in cases {
        assert_failure(&server, &mut client, &announce.text(), reason, expected).await;
    }
}

#[tokio::test]
async fn malformed_answers_are_refused() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let echo = json!(hash(1)).to_string();
    let good = answer(hash(1), peer(1), peer(2), offer_id(1), &sdp("answer", 1));
    let good: Value = serde_json::from_str(&good).unwrap();
    let cases = [
        ("answer", json!("v=0"), "invalid_answer"),
        ("answer", json!({}), "invalid_answer"),
        ("answer", json!(7), "invalid_answer"),
        ("answer", json!([]), "invalid_answer"),
        ("answer", json!(false), "invalid_answer"),
        ("to_peer_id", json!(null), "invalid_to_peer_id"),
        ("to_peer_id", json!("x"), "invalid_to_peer_id"),
        ("offer_id", json!(null), "invalid_offer_id"),
        ("offer_id", json!("x".repeat(40)), "invalid_offer_id"),
    ];
    for (field, value, reason) in cases {
        let mut message = good.clone();
        message[field] = value;
        let expected = (Some("announce"), Some(&*echo));
        assert_failure(&server, &mut client, &message.to_string(), reason, expected).await;
    }
    let mut message = good;
    message["answer"] = Value::Null;
    client.send(message.to_string()).await;
    assert!(
        matches!(client.next().await, Received::Announced { .. }),
        "a null answer is none"
    );
}

#[tokio::test]
async fn deep_nesting_anywhere_is_read_over() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let text = Announce::new(hash(1), peer(1)).text();
    for field in ["x", "left", "numwant", "offers", "uploaded"] {
        let text = text.replacen('{', &format!("{{\"{field}\":{deep},"), 1);
        client.send(text).await;
        assert!(
            matches!(client.next().await, Received::Announced { .. }),
            "{field}"
        );
    }
    let objects = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    client
        .send(text.replacen('{', &format!("{{\"offers\":[{objects}],"), 1))
        .await;
    assert!(matches!(client.next().await, Received::Announced { .. }));
}

#[tokio::test]
async fn a_binary_message_that_is_no_utf8_is_not_json() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client
        .send_message(Message::binary(vec![0xff, 0xfe, 0]))
        .await;
    assert!(client.failure().await.contains("not valid JSON"));
    client.fence().await;
}

/// A message like a real one, with some of its characters changed.
fn mutated(rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = match rng.random_range(0..3) {
        0 => Announce::new(hash(2), peer(2))
            .offers(3)
            .text()
            .into_bytes(),
        1 => answer(hash(2), peer(2), peer(1), offer_id(1), &sdp("answer", 1)).into_bytes(),
        _ => (0..rng.random_range(0..300))
            .map(|_| rng.random())
            .collect(),
    };
    for _ in 0..rng.random_range(0..6) {
        if !bytes.is_empty() {
            let at = rng.random_range(0..bytes.len());
            let known = b"{}[]\",:\\0n\xff";
            match rng.random_range(0..3) {
                0 => bytes[at] = rng.random(),
                1 => bytes[at] = known[rng.random_range(0..known.len())],
                _ => drop(bytes.drain(at..bytes.len().min(at + 9))),
            }
        }
    }
    bytes
}

#[tokio::test]
async fn random_messages_harm_neither_server_nor_others() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let server = TestServer::start().await;
    let mut other = server.client().await;
    other.announce(&Announce::new(hash(1), peer(1))).await;
    for _ in 0..4 {
        let mut client = server.client().await;
        for _ in 0..400 {
            let bytes = mutated(&mut rng);
            let message = match String::from_utf8(bytes) {
                Ok(text) => Message::text(text),
                Err(error) => Message::binary(error.into_bytes()),
            };
            client.send_message(message).await;
        }
        client.close().await;
        other.fence().await;
    }
    assert_eq!(
        other.announce(&Announce::new(hash(1), peer(1))).await,
        (0, 1)
    );
    server
        .metric_becomes("connections_closed_total{reason=\"client\"}", 4.0)
        .await;
}

#[tokio::test]
async fn random_bytes_on_the_wire_harm_neither_server_nor_others() {
    use tokio::io::AsyncWriteExt as _;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let server = TestServer::start().await;
    let mut other = server.client().await;
    for round in 0..50 {
        let bytes: Vec<u8> = (0..rng.random_range(1..2000))
            .map(|_| rng.random())
            .collect();
        let mut stream = if round % 2 == 0 {
            e2e::RawClient::open(server.address()).await.stream
        } else {
            tokio::net::TcpStream::connect(server.address())
                .await
                .unwrap()
        };
        let _ = stream.write_all(&bytes).await;
        drop(stream);
        other.fence().await;
    }
    server.metric_becomes("connections", 1.0).await;
}
