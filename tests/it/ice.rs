//! `/ice.json`: STUN and TURN servers with credentials that end.

use std::time::{SystemTime, UNIX_EPOCH};

use e2e::{TempDir, TestServer};
use serde_json::Value;
use tracker::Settings;

fn with_servers(files: &TempDir) -> impl FnOnce(&mut Settings) {
    let secret = files.write("secret", "north\n");
    move |settings| {
        settings.ice_server = vec!["stun:192.0.2.1:3478".into(), "turn:192.0.2.1:3478".into()];
        settings.turn_secret_file = Some(secret);
    }
}

fn list(body: &str) -> Vec<Value> {
    let json: Value = serde_json::from_str(body).unwrap();
    json["iceServers"].as_array().unwrap().clone()
}

#[tokio::test]
async fn without_servers_nothing_is_said() {
    let server = TestServer::start().await;
    let answer = server.get("/ice.json").await;
    assert_eq!((answer.status, &*answer.body), (204, ""));
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "compares with the system's own time"
)]
async fn turn_servers_come_with_a_credential_that_ends() {
    let files = TempDir::new();
    let server = TestServer::with(with_servers(&files)).await;
    let answer = server.get("/ice.json").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let servers = list(&answer.body);
    assert_eq!(
        servers[0],
        serde_json::json!({"urls": ["stun:192.0.2.1:3478"]})
    );
    assert_eq!(servers[1]["urls"][0], "turn:192.0.2.1:3478");
    let name = servers[1]["username"].as_str().unwrap();
    let (end, user) = name.split_once(':').unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = end.parse::<u64>().unwrap() - now.as_secs();
    // Four hours, less what the test takes.
    assert!((14_000..=14_400).contains(&left), "{left}");
    assert_eq!(user, "easypeers");
    assert_eq!(servers[1]["credential"].as_str().unwrap().len(), 28);
    assert_eq!(
        server.metric("ice_requests_total{result=\"served\"}").await,
        1.0
    );
}

#[tokio::test]
async fn the_list_is_for_admitted_origins_and_follows_a_reload() {
    let files = TempDir::new();
    let point = with_servers(&files);
    let server = TestServer::with(|settings| {
        point(settings);
        settings.allow_origin = vec!["https://example.org".into()];
    })
    .await;
    let ask = async |origin: &str| {
        let head = format!("GET /ice.json HTTP/1.1\r\nHost: x\r\nOrigin: {origin}");
        server.request(&head).await
    };
    assert_eq!(ask("https://example.org").await.status, 200);
    assert_eq!(ask("https://example.com").await.status, 403);
    assert_eq!(
        server
            .metric("ice_requests_total{result=\"refused\"}")
            .await,
        1.0
    );

    let mut settings = TestServer::settings();
    with_servers(&files)(&mut settings);
    settings.ice_server = vec!["turn:192.0.2.9".into()];
    server.reloader().reload(&settings).unwrap();
    let servers = list(&ask("https://example.com").await.body);
    assert_eq!(servers[0]["urls"][0], "turn:192.0.2.9");

    files.write("secret", " \n");
    let error = server.reloader().reload(&settings).unwrap_err();
    assert!(error.to_string().contains("secret"), "{error}");
    assert_eq!(list(&server.get("/ice.json").await.body).len(), 1);
}

#[tokio::test]
async fn one_address_gets_the_list_as_often_as_it_may_connect() {
    let files = TempDir::new();
    let point = with_servers(&files);
    let server = TestServer::with(|settings| {
        point(settings);
        settings.trusted_proxy = vec!["127.0.0.1".parse::<std::net::IpAddr>().unwrap().into()];
        settings.max_upgrades_per_second = 1;
    })
    .await;
    let head = "GET /ice.json HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7";
    let mut refused = 0;
    for _ in 0..30 {
        refused += u32::from(server.request(head).await.status == 429);
    }
    assert!(refused > 0);
    assert_eq!(server.get("/ice.json").await.status, 200);
}
