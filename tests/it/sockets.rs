//! What a WebSocket may carry: several swarms and peers, any path, binary and fragmented messages.

use e2e::{Announce, Received, TestServer, hash, peer};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

#[tokio::test]
async fn any_path_opens_a_websocket() {
    let server = TestServer::start().await;
    for path in [
        "/",
        "/announce",
        "/a/b/c?x=1&y=%20",
        "/stats",
        "/metrics",
        "/?room=ü",
    ] {
        let path = path.replace('ü', "%C3%BC");
        let mut client = server.try_client(&path, &[]).await.unwrap();
        assert_eq!(
            client.announce(&Announce::new(hash(1), peer(1))).await,
            (0, 1),
            "{path}"
        );
        client
            .announce(&Announce::new(hash(1), peer(1)).event("stopped"))
            .await;
    }
}

#[tokio::test]
async fn binary_messages_are_read_as_text() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let text = Announce::new(hash(1), peer(1)).text();
    client
        .send_message(Message::binary(text.into_bytes()))
        .await;
    assert!(matches!(
        client.next().await,
        Received::Announced { incomplete: 1, .. }
    ));
}

#[tokio::test]
async fn fragments_make_one_message_wherever_they_are_cut() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let text = Announce::new(hash(1), peer(1)).text().into_bytes();
    for size in [1, 2, 7, 50] {
        let pieces: Vec<_> = text.chunks(size).collect();
        let last = pieces.len() - 1;
        for (at, piece) in pieces.into_iter().enumerate() {
            let data = if at == 0 { Data::Text } else { Data::Continue };
            let frame = Frame::message(piece.to_vec(), OpCode::Data(data), at == last);
            client.send_message(Message::Frame(frame)).await;
            if at % 10 == 3 {
                client.send_message(Message::Ping(vec![1].into())).await;
            }
        }
        assert!(matches!(
            client.next().await,
            Received::Announced { incomplete: 1, .. }
        ));
    }
}

#[tokio::test]
async fn several_swarms_and_peers_share_a_socket_and_leave_with_it() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for swarm in 1..=3 {
        for id in 1..=2 {
            let counts = client.announce(&Announce::new(hash(swarm), peer(id))).await;
            assert_eq!(counts, (0, id));
        }
    }
    assert_eq!(server.metric("peers{role=\"incomplete\"}").await, 6.0);
    client.close().await;
    for swarm in 1..=3 {
        server.counts_become(hash(swarm), 0, 0).await;
    }
    assert_eq!(server.metric("peers{role=\"incomplete\"}").await, 0.0);
    assert_eq!(server.metric("swarms").await, 0.0);
    server
        .metric_becomes("connections_closed_total{reason=\"client\"}", 4.0)
        .await;
}

#[tokio::test]
async fn a_lost_connection_removes_its_peers_without_a_close() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.announce(&Announce::new(hash(1), peer(1))).await;
    assert_eq!(server.scrape(hash(1)).await.incomplete, 1);
    drop(client);
    server.counts_become(hash(1), 0, 0).await;
}

#[tokio::test]
async fn a_stopped_swarm_leaves_the_others_of_the_socket() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.announce(&Announce::new(hash(1), peer(1))).await;
    client.announce(&Announce::new(hash(2), peer(1))).await;
    client
        .announce(&Announce::new(hash(1), peer(1)).event("stopped"))
        .await;
    let entries = client.scrape(&[hash(1), hash(2)]).await;
    assert_eq!((entries[0].incomplete, entries[1].incomplete), (0, 1));
}

#[tokio::test]
async fn a_close_is_answered_with_the_clients_code() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: 1000.into(),
        reason: "bye".into(),
    };
    client.send_message(Message::Close(Some(frame))).await;
    assert_eq!(client.closed().await, 1000);
}

#[tokio::test]
async fn what_comes_with_the_upgrade_request_is_not_lost() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = TestServer::start().await;
    let mut stream = server.connect().await.unwrap();
    let text = Announce::new(hash(1), peer(1)).text();
    let mut bytes = format!("{}\r\n\r\n", e2e::raw::UPGRADE).into_bytes();
    bytes.extend([0x81, 0x80 | 126]);
    bytes.extend((text.len() as u16).to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(text.as_bytes());
    stream.write_all(&bytes).await.unwrap();
    let mut answer = Vec::new();
    e2e::within("a response", async {
        while !answer.ends_with(b"\"incomplete\":1}") {
            stream.read_buf(&mut answer).await.unwrap();
        }
    })
    .await;
}
