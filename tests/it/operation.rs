//! Reload of lists and the end of the server.

use std::time::Duration;

use e2e::{
    Announce, RawClient, Received, TempDir, TestServer, answer, hash, offer_id, peer, sdp, within,
};
use tracker::Settings;

/// Settings with a deny list and an allow list, as far as `files` has them.
fn lists(files: &TempDir) -> impl Fn(&mut Settings) {
    let list = |name: &str| Some(files.path(name)).filter(|path| path.exists());
    let (deny, allow) = (list("deny"), list("allow"));
    move |settings| {
        settings.deny_file.clone_from(&deny);
        settings.allow_file.clone_from(&allow);
    }
}

#[tokio::test]
async fn a_reload_denies_what_is_new_in_the_list() {
    let files = TempDir::new();
    files.write("deny", format!("# none yet\n{}  not this one\n", hash(1)));
    let server = TestServer::with(lists(&files)).await;
    let mut settings = TestServer::settings();
    lists(&files)(&mut settings);
    let mut client = server.client().await;
    client.send(Announce::new(hash(1), peer(1)).text()).await;
    assert_eq!(client.failure().await, "not this one");
    client.announce(&Announce::new(hash(2), peer(1))).await;

    files.write("deny", format!("{}\n{} taken down\n", hash(1), hash(2)));
    server.reloader().reload(&settings).unwrap();
    // The old connection lives, and its next announce is refused.
    client.send(Announce::new(hash(2), peer(1)).text()).await;
    assert_eq!(client.failure().await, "taken down");
    client.send(Announce::new(hash(1), peer(1)).text()).await;
    assert!(client.failure().await.contains("not served"));
    assert_eq!(
        server
            .metric("messages_rejected_total{reason=\"denied\"}")
            .await,
        3.0
    );
    // It may still leave.
    assert_eq!(
        client
            .announce(&Announce::new(hash(2), peer(1)).event("stopped"))
            .await,
        (0, 0)
    );
    assert_eq!(server.metric("reloads_total{result=\"ok\"}").await, 1.0);

    files.write("deny", "this is no infohash\n");
    let error = server.reloader().reload(&settings).unwrap_err().to_string();
    assert!(error.contains(":1:"), "{error}");
    client.send(Announce::new(hash(2), peer(1)).text()).await;
    assert_eq!(
        client.failure().await,
        "taken down",
        "the old list stays in force"
    );
    assert_eq!(server.metric("reloads_total{result=\"error\"}").await, 1.0);
}

#[tokio::test]
async fn with_an_allow_list_nothing_else_is_served() {
    let files = TempDir::new();
    files.write("allow", format!("{}\n", hash(1)));
    let server = TestServer::with(lists(&files)).await;
    let mut client = server.client().await;
    client.announce(&Announce::new(hash(1), peer(1))).await;
    client.send(Announce::new(hash(2), peer(1)).text()).await;
    assert!(client.failure().await.contains("not served"));
    assert_eq!(
        server
            .metric("messages_rejected_total{reason=\"not_allowed\"}")
            .await,
        1.0
    );
}

#[tokio::test]
async fn a_reload_changes_origins() {
    let server = TestServer::start().await;
    let mut settings = TestServer::settings();
    settings.allow_origin = vec!["https://example.org".to_owned()];
    let page = [("origin", "https://other.example")];
    server.try_client("/", &page).await.unwrap();
    server.reloader().reload(&settings).unwrap();
    assert_eq!(server.try_client("/", &page).await.unwrap_err().status, 403);
}

#[tokio::test]
async fn a_drain_closes_clients_with_1001_and_ends() {
    let mut server = TestServer::start().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = server.client().await;
        client.announce(&Announce::new(hash(1), peer(number))).await;
        clients.push(client);
    }
    server.stop();
    for client in &mut clients {
        match client.next().await {
            Received::Closed { code, reason } => {
                assert_eq!((code, &*reason), (1001, "server is shutting down"));
            }
            other => panic!("{other:?}"),
        }
    }
    server.stopped().await;
    let refused = tokio::net::TcpStream::connect(server.address()).await;
    assert!(refused.is_err(), "the port is closed");
}

#[tokio::test]
async fn while_it_drains_it_is_not_ready_and_takes_nobody() {
    // A drain far longer than the test looks at it.
    let mut server = TestServer::with(|s| s.drain_timeout = Duration::from_secs(60)).await;
    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(server.client().await);
    }
    assert_eq!(server.get("/readyz").await.status, 200);
    server.stop();
    e2e::until("it is not ready", || async {
        let response = server.get("/readyz").await;
        (response.status, &*response.body) == (503, "draining\n")
    })
    .await;
    let refused = server.try_client("/", &[]).await.unwrap_err();
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("shutting down"), "{refused:?}");
    assert_eq!(
        server
            .metric("upgrades_rejected_total{reason=\"draining\"}")
            .await,
        1.0
    );
    assert_eq!(server.get("/healthz").await.status, 200);
    assert!(
        server
            .get("/stats.json")
            .await
            .body
            .contains("\"draining\":true")
    );
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_client_that_does_not_answer() {
    let mut server = TestServer::start().await;
    let mut dead = RawClient::open(server.address()).await;
    server.metric_becomes("connections", 1.0).await;
    server.stopped().await;
    let bytes = dead.read_to_end().await;
    assert_eq!(
        bytes[..4],
        [0x88, bytes[1], 0x03, 0xe9],
        "a Close with 1001"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_flag() {
    let server = TestServer::start().await;
    let mut settings = TestServer::settings();
    settings.listen = vec![server.address().into()];
    let error = tracker::Server::bind(settings).unwrap_err().to_string();
    assert!(
        error.contains("--listen") && error.contains(&server.address().to_string()),
        "{error}"
    );
}

/// The Close tells a client that we go; what it sent before it saw that still counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_crosses_our_close_arrives() {
    use tokio::io::AsyncReadExt as _;
    let mut server = TestServer::with(|s| s.drain_timeout = Duration::from_secs(12)).await;
    // Who came first is closed first: the answerer, many others, the offerer.
    let mut answerer = RawClient::open(server.address()).await;
    let announce = Announce::new(hash(1), peer(2)).text();
    answerer.send(&announce).await.unwrap();
    server.counts_become(hash(1), 0, 1).await;
    let mut crowd = Vec::new();
    for _ in 0..80 {
        crowd.push(server.client().await);
    }
    let mut offerer = server.client().await;
    offerer
        .announce(&Announce::new(hash(1), peer(1)).offers(1))
        .await;
    server.stop();
    let mut heard = Vec::new();
    let is_told = |heard: &[u8]| String::from_utf8_lossy(heard).contains("shutting down");
    while !is_told(&heard) {
        let read = answerer.stream.read_buf(&mut heard);
        assert!(within("our Close", read).await.unwrap() > 0);
    }
    let description = sdp("answer", 1);
    let text = answer(hash(1), peer(2), peer(1), offer_id(0), &description);
    answerer.send(&text).await.unwrap();
    match offerer.next().await {
        Received::Answer { answer, .. } => assert_eq!(answer, description),
        other => panic!("{other:?}"),
    }
    // Nothing follows our Close.
    let after = heard.windows(4).rposition(|four| four == b"down").unwrap() + 4;
    assert_eq!(heard.len(), after);
}
