//! https and wss with a certificate made here.

use e2e::{Announce, Received, TempDir, TestServer, answer, hash, offer_id, peer, sdp};
use rustls::pki_types::CertificateDer;
use tracker::Settings;

/// A new certificate for `localhost` in `cert.pem`, its key in `key.pem`.
fn make_certificate(files: &TempDir) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    files.write("cert.pem", made.cert.pem());
    files.write("key.pem", made.signing_key.serialize_pem());
    made.cert.der().clone()
}

fn point_to(files: &TempDir) -> impl FnOnce(&mut Settings) {
    let (cert, key) = (files.path("cert.pem"), files.path("key.pem"));
    |settings| {
        settings.tls_cert = Some(cert);
        settings.tls_key = Some(key);
    }
}

async fn start(files: &TempDir) -> TestServer {
    let root = make_certificate(files);
    let mut server = TestServer::with(point_to(files)).await;
    server.root = Some(root);
    server
}

#[tokio::test]
async fn wss_clients_exchange_offer_and_answer() {
    let files = TempDir::new();
    let server = start(&files).await;
    assert_eq!(server.get("/healthz").await.body, "ok\n");
    let (mut one, mut two) = (server.client().await, server.client().await);
    two.announce(&Announce::new(hash(1), peer(2))).await;
    one.announce(&Announce::new(hash(1), peer(1)).offers(1))
        .await;
    match two.next().await {
        Received::Offer { offer, .. } => assert_eq!(offer, sdp("offer", 0)),
        other => panic!("{other:?}"),
    }
    two.send(answer(
        hash(1),
        peer(2),
        peer(1),
        offer_id(0),
        &sdp("answer", 0),
    ))
    .await;
    match one.next().await {
        Received::Answer { answer, .. } => assert_eq!(answer, sdp("answer", 0)),
        other => panic!("{other:?}"),
    }
    one.close().await;
    server.counts_become(hash(1), 0, 1).await;
}

#[tokio::test]
async fn large_messages_pass_through_tls() {
    let files = TempDir::new();
    let server = start(&files).await;
    let (mut one, mut two) = (server.client().await, server.client().await);
    two.announce(&Announce::new(hash(1), peer(2))).await;
    for size in [100, 16_000, 16_384, 17_000, 66_000, 120_000] {
        let description = sdp("offer", size).replace("v=0", &"v".repeat(size as usize));
        one.announce(&Announce::new(hash(1), peer(1)).offer(offer_id(size), &description))
            .await;
        match two.next().await {
            Received::Offer { offer, .. } => assert_eq!(offer, description),
            other => panic!("{other:?}"),
        }
    }
    let hashes: Vec<_> = (0..100).map(hash).collect();
    for _ in 0..20 {
        assert_eq!(one.scrape(&hashes).await.len(), 100);
    }
}

#[tokio::test]
async fn messages_too_big_are_closed_over_tls_too() {
    use tokio_tungstenite::tungstenite::Message;
    let files = TempDir::new();
    let server = start(&files).await;
    let mut client = server.client().await;
    client.try_send(Message::text("x".repeat(1_000_000))).await;
    assert_eq!(client.closed().await, 1009);
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_counted_and_harms_nobody() {
    let files = TempDir::new();
    let server = start(&files).await;
    let stream = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let head = "GET / HTTP/1.1\r\nHost: x";
    let answered = e2e::within("the end", e2e::http::exchange(stream, head)).await;
    assert!(answered.is_err());
    server.metric_becomes("tls_errors_total", 1.0).await;
    server.client().await.fence().await;
}

#[tokio::test]
async fn a_tls_handshake_that_never_comes_is_cut_off() {
    use tokio::io::AsyncReadExt as _;
    let files = TempDir::new();
    let root = make_certificate(&files);
    let point = point_to(&files);
    let mut server = TestServer::with(|s| {
        point(s);
        s.header_timeout = std::time::Duration::from_millis(300);
    })
    .await;
    server.root = Some(root);
    let mut stream = tokio::net::TcpStream::connect(server.address())
        .await
        .unwrap();
    let _ = e2e::within("the end", stream.read_to_end(&mut Vec::new())).await;
    server.metric_becomes("http_timeouts_total", 1.0).await;
}

#[tokio::test]
async fn a_reload_replaces_the_certificate_and_keeps_connections() {
    let files = TempDir::new();
    let mut server = start(&files).await;
    let mut old = server.client().await;
    let mut settings = TestServer::settings();
    point_to(&files)(&mut settings);
    let root = make_certificate(&files);
    server.reloader().reload(&settings).unwrap();
    assert!(
        server.connect().await.is_err(),
        "the old certificate is gone"
    );
    server.root = Some(root);
    server.client().await.fence().await;
    old.fence().await;

    files.write("key.pem", "no key");
    assert!(server.reloader().reload(&settings).is_err());
    server.client().await.fence().await;
    assert_eq!(server.metric("reloads_total{result=\"ok\"}").await, 1.0);
    assert_eq!(server.metric("reloads_total{result=\"error\"}").await, 1.0);
}

#[tokio::test]
async fn files_that_make_no_tls_server_are_named() {
    let files = TempDir::new();
    make_certificate(&files);
    let bind = || {
        let mut settings = TestServer::settings();
        point_to(&files)(&mut settings);
        tracker::Server::bind(settings).unwrap_err().to_string()
    };
    files.write("cert.pem", "");
    assert!(bind().contains("cert.pem"), "{}", bind());
    make_certificate(&files);
    files.write("key.pem", "nothing");
    assert!(bind().contains("key.pem"), "{}", bind());
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    files.write("key.pem", other.signing_key.serialize_pem());
    assert!(bind().contains("certificate and key"), "{}", bind());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_healthcheck_asks_with_and_without_tls() {
    let files = TempDir::new();
    let check = async |settings: Settings| {
        let asked = tokio::task::spawn_blocking(move || tracker::healthcheck(&settings));
        asked.await.unwrap()
    };
    let mut settings = TestServer::settings();
    let mut plain = TestServer::start().await;
    settings.listen = vec![plain.address().into()];
    check(settings.clone()).await.unwrap();
    plain.stopped().await;
    let error = check(settings.clone()).await.unwrap_err();
    assert!(error.contains("no answer from 127.0.0.1:"), "{error}");
    let encrypted = start(&files).await;
    settings.listen = vec![encrypted.address().into()];
    point_to(&files)(&mut settings);
    check(settings).await.unwrap();
}
