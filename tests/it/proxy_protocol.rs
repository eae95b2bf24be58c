//! A TCP proxy in front: the client's address comes in a PROXY header, from trusted proxies only.

use std::io::ErrorKind;

use e2e::{Client, Response, TestServer, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn server() -> TestServer {
    TestServer::with(|settings| {
        settings.proxy_protocol = true;
        settings.trusted_proxy = vec!["127.0.0.0/8".parse().unwrap()];
        settings.max_connections_per_address = 1;
    })
    .await
}

async fn through_proxy(server: &TestServer, header: &[u8]) -> Result<Client, Response> {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(header).await.unwrap();
    within("an answer", Client::upgrade(Box::new(stream), "/", &[])).await
}

#[tokio::test]
async fn clients_count_by_the_address_that_the_proxy_names() {
    let server = server().await;
    let v1 = |ip: &str| format!("PROXY TCP4 {ip} 198.51.100.1 5000 443\r\n").into_bytes();
    let mut first = through_proxy(&server, &v1("192.0.2.1")).await.unwrap();
    let refused = through_proxy(&server, &v1("192.0.2.1")).await.unwrap_err();
    assert_eq!(refused.status, 429);
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([192, 0, 2, 1, 198, 51, 100, 1, 19, 136, 1, 187]);
    let refused = through_proxy(&server, &v2).await.unwrap_err();
    assert_eq!(refused.status, 429);
    let mut second = through_proxy(&server, &v1("192.0.2.2")).await.unwrap();
    first.fence().await;
    second.fence().await;
    // The proxy's own checks are its own.
    let mut own = through_proxy(&server, b"PROXY UNKNOWN\r\n").await.unwrap();
    own.fence().await;
    let rejected = "upgrades_rejected_total{reason=\"address_limit\"}";
    let text = within("metrics", async {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
        e2e::http::exchange(stream, "GET /metrics HTTP/1.1\r\nHost: x").await
    });
    let text = text.await.unwrap().body;
    assert!(text.contains(&format!("easypeers_tracker_{rejected} 2\n")));
}

#[tokio::test]
async fn a_proxy_that_introduces_nobody_is_cut_off_and_counted() {
    let server = server().await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let ended = within("the end", stream.read_to_end(&mut answer)).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    assert_eq!(answer, b"");
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let head = "GET /metrics HTTP/1.1\r\nHost: x";
    let metrics = within("metrics", e2e::http::exchange(stream, head)).await;
    let metrics = metrics.unwrap().body;
    assert!(metrics.contains("easypeers_tracker_proxy_header_errors_total 1\n"));
}

#[tokio::test]
async fn nobody_else_may_send_the_header() {
    let server = TestServer::with(|settings| {
        settings.proxy_protocol = true;
        settings.trusted_proxy = vec!["192.0.2.0/24".parse().unwrap()];
    })
    .await;
    server.client().await.fence().await;
    let refused = through_proxy(&server, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n").await;
    assert_eq!(refused.unwrap_err().status, 400);
}
