//! The HTTP side: pages, health, statistics, metrics, refused upgrades.

use e2e::{Announce, Received, TestServer, answer, hash, offer_id, peer, sdp};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn pages_and_probes_answer() {
    let server = TestServer::start().await;
    for (path, kind, part) in [
        ("/", "text/html", ""),
        ("/style.css", "text/css", ""),
        ("/app.js", "text/javascript", ""),
        ("/easypeers.mjs", "text/javascript", ""),
        ("/easypeers.js", "text/javascript", ""),
        ("/easypeers.d.ts", "text/plain", "class Easypeers"),
        ("/easypeers.wasm", "application/wasm", ""),
        ("/stats", "text/html", "<h1>Statistics</h1>"),
        ("/stats.json", "application/json", "\"connections\":0"),
        ("/healthz", "text/plain", "ok"),
        ("/readyz", "text/plain", "ready"),
        (
            "/metrics",
            "text/plain; version=0.0.4",
            "# TYPE easypeers_tracker_swarms gauge",
        ),
    ] {
        let response = server.get(path).await;
        assert_eq!(response.status, 200, "{path}");
        let given = response.header("content-type");
        assert!(given.starts_with(kind), "{path} is {given}");
        let body = response.body.to_lowercase();
        assert!(
            body.contains(&part.to_lowercase()),
            "{path}: {}",
            response.body
        );
    }
    let missing = server.get("/nothing-here").await;
    assert_eq!(missing.status, 404);
    assert!(missing.header("content-type").starts_with("text/plain"));
    assert!(missing.body.contains("/stats.json") && missing.body.ends_with('\n'));
}

#[tokio::test]
async fn pages_bring_their_protection() {
    let server = TestServer::start().await;
    for path in ["/", "/stats"] {
        let response = server.get(path).await;
        assert!(
            response
                .header("content-security-policy")
                .contains("default-src 'none'")
        );
        assert_eq!(response.header("x-content-type-options"), "nosniff");
    }
}

#[tokio::test]
async fn a_page_that_the_browser_has_is_not_sent_again() {
    let server = TestServer::start().await;
    let etag = server.get("/app.js").await.header("etag").to_owned();
    assert!(etag.len() > 2, "{etag}");
    for (known, status) in [(&*etag, 304), ("\"another\"", 200)] {
        let head = format!("GET /app.js HTTP/1.1\r\nHost: x\r\nIf-None-Match: {known}");
        let response = server.request(&head).await;
        assert_eq!(response.status, status, "{known}");
        assert_eq!(response.header("etag"), etag);
    }
}

#[tokio::test]
async fn files_of_the_page_are_kept_for_ever_and_those_for_others_are_asked_for_anew() {
    let server = TestServer::start().await;
    let page = server.get("/").await;
    assert_eq!(page.header("cache-control"), "no-cache");
    assert!(!page.body.contains("{assets}"), "{}", page.body);
    let (_, rest) = page.body.split_once("src=\"").unwrap();
    let (app, _) = rest.split_once('"').unwrap();
    let folder = app.strip_suffix("app.js").unwrap();
    assert_eq!(folder.len(), 18, "{folder}");
    for file in ["app.js", "map.js", "easypeers.mjs", "easypeers.wasm"] {
        let kept = server.get(&format!("{folder}{file}")).await;
        assert_eq!(kept.status, 200, "{file}");
        assert!(kept.header("cache-control").contains("immutable"));
        let plain = server.get(&format!("/{file}")).await;
        assert_eq!(plain.header("cache-control"), "no-cache");
        assert_eq!(plain.header("access-control-allow-origin"), "*");
        assert_eq!(plain.header("etag"), kept.header("etag"));
    }
}

/// Peer 1 seeds, peer 2 leeches, one offer is answered.
async fn traffic(server: &TestServer) -> (e2e::Client, e2e::Client) {
    let (mut one, mut two) = (server.client().await, server.client().await);
    two.announce(&Announce::new(hash(1), peer(2)).event("started"))
        .await;
    let offer = Announce::new(hash(1), peer(1))
        .seeding()
        .offer(offer_id(1), &sdp("offer", 1));
    one.announce(&offer).await;
    assert!(matches!(two.next().await, Received::Offer { .. }));
    two.send(answer(
        hash(1),
        peer(2),
        peer(1),
        offer_id(1),
        &sdp("answer", 1),
    ))
    .await;
    assert!(matches!(one.next().await, Received::Answer { .. }));
    (one, two)
}

#[tokio::test]
async fn statistics_tell_what_there_is() {
    let server = TestServer::start().await;
    let _clients = traffic(&server).await;
    let stats: Value = serde_json::from_str(&server.get("/stats.json").await.body).unwrap();
    for (key, value) in [
        ("connections", 2),
        ("swarms", 1),
        ("peers", 2),
        ("complete", 1),
        ("incomplete", 1),
        ("announces_total", 2),
        ("offers_relayed_total", 1),
        ("answers_relayed_total", 1),
        ("torrents", 1),
        ("activeTorrents", 1),
        ("peersAll", 2),
        ("peersSeederOnly", 1),
        ("peersLeecherOnly", 1),
    ] {
        assert_eq!(stats[key], value, "{key}");
    }
    assert_eq!(stats["version"], tracker::VERSION);
    assert_eq!(stats["draining"], false);
    let page = server.get("/stats").await.body;
    assert!(
        page.contains("<th scope=\"row\">Peers</th><td>2</td>"),
        "{page}"
    );
}

/// Series that must be there from the start, by their beginning.
const SERIES: [&str; 26] = [
    "easypeers_tracker_connections ",
    "easypeers_tracker_connections_opened_total ",
    "easypeers_tracker_connections_closed_total{reason=\"",
    "easypeers_tracker_upgrades_rejected_total{reason=\"",
    "easypeers_tracker_messages_received_total{kind=\"",
    "easypeers_tracker_messages_rejected_total{reason=\"",
    "easypeers_tracker_received_bytes_total ",
    "easypeers_tracker_sent_bytes_total ",
    "easypeers_tracker_announces_total{event=\"",
    "easypeers_tracker_swarms ",
    "easypeers_tracker_peers{role=\"",
    "easypeers_tracker_offers_relayed_total{scope=\"",
    "easypeers_tracker_offers_dropped_total{reason=\"",
    "easypeers_tracker_answers_relayed_total{scope=\"",
    "easypeers_tracker_answers_dropped_total{reason=\"",
    "easypeers_tracker_announce_duration_seconds_bucket{le=\"",
    "easypeers_tracker_announce_duration_seconds_count ",
    "easypeers_tracker_swarm_peers_bucket{le=\"",
    "easypeers_tracker_swarm_peers_sum ",
    "easypeers_tracker_outbox_messages ",
    "easypeers_tracker_peers_expired_total ",
    "easypeers_tracker_sweep_duration_seconds_count ",
    "easypeers_tracker_reloads_total{result=\"",
    "easypeers_build_info{",
    "process_resident_memory_bytes ",
    "process_open_fds ",
];

#[tokio::test]
async fn every_series_is_there_from_the_start_and_well_formed() {
    let server = TestServer::start().await;
    let text = server.get("/metrics").await.body;
    for series in SERIES {
        assert!(
            text.lines().any(|line| line.starts_with(series)),
            "no {series} in:\n{text}"
        );
    }
    let mut typed = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(typed.insert(name.to_owned()), "{name} twice");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap();
            let bare = name.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| bare.strip_suffix(end));
            let known = typed.contains(bare) || family.is_some_and(|name| typed.contains(name));
            assert!(known, "{line} has no type");
        }
    }
}

#[tokio::test]
async fn metrics_count_real_traffic() {
    let server = TestServer::with(|s| s.ping_interval = std::time::Duration::from_secs(1)).await;
    let (mut one, two) = traffic(&server).await;
    one.send("nonsense").await;
    one.failure().await;
    one.scrape(&[hash(1)]).await;
    for (series, value) in [
        ("connections", 2.0),
        ("connections_opened_total", 2.0),
        ("messages_received_total{kind=\"announce\"}", 2.0),
        ("messages_received_total{kind=\"answer\"}", 1.0),
        ("messages_received_total{kind=\"scrape\"}", 1.0),
        ("messages_received_total{kind=\"invalid\"}", 1.0),
        ("messages_rejected_total{reason=\"not_json\"}", 1.0),
        ("announces_total{event=\"started\"}", 1.0),
        ("announces_total{event=\"update\"}", 1.0),
        ("swarms", 1.0),
        ("peers{role=\"complete\"}", 1.0),
        ("peers{role=\"incomplete\"}", 1.0),
        ("offers_relayed_total{scope=\"local\"}", 1.0),
        ("answers_relayed_total{scope=\"local\"}", 1.0),
        ("announce_duration_seconds_count", 2.0),
    ] {
        assert_eq!(server.metric(series).await, value, "{series}");
    }
    assert!(server.metric("received_bytes_total").await > 500.0);
    assert!(server.metric("sent_bytes_total").await > 500.0);
    server.metric_becomes("swarm_peers_count", 1.0).await;
    assert_eq!(server.metric("swarm_peers_sum").await, 2.0);
    assert_eq!(server.metric("swarm_peers_bucket{le=\"1\"}").await, 0.0);
    assert_eq!(server.metric("swarm_peers_bucket{le=\"2\"}").await, 1.0);
    assert!(server.metric("sweep_duration_seconds_count").await > 0.0);
    two.close().await;
    server
        .metric_becomes("connections_closed_total{reason=\"client\"}", 1.0)
        .await;
    assert_eq!(server.metric("connections").await, 1.0);
    server
        .metric_becomes("peers{role=\"incomplete\"}", 0.0)
        .await;
}

#[tokio::test]
async fn no_metric_tells_of_a_swarm_a_peer_or_an_address() {
    let server = TestServer::start().await;
    let _clients = traffic(&server).await;
    let text = server.get("/metrics").await.body;
    assert!(text.contains("\neasypeers_tracker_swarms 1\n"), "{text}");
    for secret in [
        hash(1).to_string(),
        peer(1).to_string(),
        "127.0.0.1".to_owned(),
    ] {
        assert!(!text.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn bad_upgrades_are_told_what_is_wrong() {
    let server = TestServer::start().await;
    let good = e2e::raw::UPGRADE;
    let cases = [
        (good.replace("Version: 13", "Version: 8"), 426, "version 13"),
        (
            good.replace("Sec-WebSocket-Version: 13\r\n", ""),
            426,
            "version 13",
        ),
        (
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            400,
            "Sec-WebSocket-Key",
        ),
        (
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", ""),
            400,
            "Sec-WebSocket-Key",
        ),
        (good.replace("GET /", "POST /"), 400, "GET"),
        (
            good.replace("Connection: Upgrade", "Connection: keep-alive"),
            400,
            "Connection",
        ),
    ];
    for (head, status, text) in &cases {
        let response = server.request(head).await;
        assert_eq!(response.status, *status, "{head}");
        assert!(response.body.contains(text), "{head}: {}", response.body);
        if *status == 426 {
            assert_eq!(response.header("sec-websocket-version"), "13");
        }
    }
    let series = "upgrades_rejected_total{reason=\"bad_request\"}";
    assert_eq!(server.metric(series).await, cases.len() as f64);
    assert_eq!(server.metric("connections_opened_total").await, 0.0);
}

#[tokio::test]
async fn an_upgrade_that_offers_compression_is_accepted_without_it() {
    let server = TestServer::start().await;
    let head = format!(
        "{}\r\nSec-WebSocket-Extensions: permessage-deflate",
        e2e::raw::UPGRADE
    );
    let response = server.request(&head).await;
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), "");
    assert_eq!(
        response.header("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

#[tokio::test]
async fn only_pages_of_listed_origins_may_connect() {
    let server =
        TestServer::with(|s| s.allow_origin = vec!["https://example.org".to_owned()]).await;
    let origin = |origin: &'static str| [("origin", origin)];
    server
        .try_client("/", &origin("https://example.org"))
        .await
        .unwrap();
    server.client().await;
    for other in ["https://evil.example", "http://example.org", "null"] {
        let refused = server.try_client("/", &origin(other)).await.unwrap_err();
        assert_eq!(refused.status, 403);
        assert!(refused.body.contains("origin"), "{refused:?}");
    }
    assert_eq!(
        server
            .metric("upgrades_rejected_total{reason=\"origin\"}")
            .await,
        3.0
    );
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let server = TestServer::start().await;
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "a".repeat(64 * 1024));
    let mut stream = server.connect().await.unwrap();
    let mut answer = Vec::new();
    e2e::within("an answer", async {
        // The server closes before it has read everything. Then the rest of the request, and the
        // end of the answer, meet a reset connection. The answer itself is there.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.read_to_end(&mut answer).await;
    })
    .await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn one_socket_serves_several_requests() {
    let server = TestServer::start().await;
    let mut stream = server.connect().await.unwrap();
    let twice = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    stream.write_all(twice.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    e2e::within("two answers", async {
        while String::from_utf8_lossy(&read)
            .matches("\r\n\r\nok\n")
            .count()
            < 2
        {
            stream.read_buf(&mut read).await.unwrap();
        }
    })
    .await;
}
