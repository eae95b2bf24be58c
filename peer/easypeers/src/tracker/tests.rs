//! The client against a small server on loopback, which sends what a tracker sends.

use std::net::SocketAddr;

use easypeers_proto::tracker::client::{ClientMessage, Event};
use easypeers_proto::tracker::server::ServerMessage;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::*;

const ME: PeerId = PeerId::new([1; 20]);
const OTHER: PeerId = PeerId::new([2; 20]);
const SWARM: InfoHash = InfoHash::new([3; 20]);
const OFFER: OfferId = OfferId::new([4; 20]);

struct Server(TcpListener);

type Connection = WebSocketStream<TcpStream>;

impl Server {
    async fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn url(&self) -> TrackerUrl {
        format!("ws://{}", self.address()).parse().unwrap()
    }

    async fn accept(&self) -> Connection {
        let (stream, _) = self.0.accept().await.unwrap();
        accept_async(stream).await.unwrap()
    }
}

/// The next text of a client, as JSON.
async fn said(connection: &mut Connection) -> serde_json::Value {
    loop {
        match connection.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Close(_) => panic!("closed"),
            _ => {}
        }
    }
}

async fn say(connection: &mut Connection, message: &ServerMessage<'_>) {
    let mut json = Vec::new();
    message.write_json(&mut json);
    let text = String::from_utf8(json).unwrap();
    connection.send(Message::text(text)).await.unwrap();
}

fn join(urls: &[TrackerUrl]) -> (Trackers, mpsc::Receiver<TrackerEvent>) {
    Trackers::spawn(urls, SWARM, ME, Duration::from_secs(30))
}

#[tokio::test]
async fn announces_offers_and_answers_go_both_ways() {
    let server = Server::bind().await;
    let (trackers, mut events) = join(&[server.url()]);
    let mut connection = server.accept().await;
    let id = TrackerId::new(0);
    assert!(matches!(events.recv().await, Some(TrackerEvent::Connected(at)) if at == id));
    assert!(matches!(events.recv().await, Some(TrackerEvent::Due(at)) if at == id));
    trackers.announce(id, vec![(OFFER, "v=0 \"offer\"\r\n".into())]);
    let text = match connection.next().await.unwrap().unwrap() {
        Message::Text(text) => text,
        other => panic!("{other:?}"),
    };
    let ClientMessage::Announce(announce) = ClientMessage::decode(&text).unwrap() else {
        panic!("{text}");
    };
    assert_eq!((announce.info_hash, announce.peer_id), (SWARM, ME));
    assert_eq!(announce.event, Event::Started);
    assert_eq!(announce.numwant, Some(1));
    assert_eq!(announce.offers[0].offer_id, OFFER);
    let offer: serde_json::Value = serde_json::from_str(announce.offers[0].offer.get()).unwrap();
    assert_eq!(
        offer,
        serde_json::json!({"type": "offer", "sdp": "v=0 \"offer\"\r\n"})
    );

    let announced = ServerMessage::Announced {
        info_hash: SWARM,
        interval: 120,
        complete: 0,
        incomplete: 2,
    };
    say(&mut connection, &announced).await;
    match events.recv().await {
        Some(TrackerEvent::Announced { incomplete, .. }) => assert_eq!(incomplete, 2),
        other => panic!("{other:?}"),
    }
    let description =
        serde_json::value::to_raw_value(&serde_json::json!({"sdp": "theirs"})).unwrap();
    for info_hash in [InfoHash::new([9; 20]), SWARM] {
        let offer = ServerMessage::Offer {
            info_hash,
            peer_id: OTHER,
            offer_id: OFFER,
            offer: &description,
        };
        say(&mut connection, &offer).await;
    }
    match events.recv().await {
        Some(TrackerEvent::Offer { peer, sdp, .. }) => assert_eq!((peer, &*sdp), (OTHER, "theirs")),
        other => panic!("{other:?}"),
    }
    trackers.answer(id, OTHER, OFFER, "ours".to_owned());
    let answer = said(&mut connection).await;
    assert_eq!(
        answer["answer"],
        serde_json::json!({"type": "answer", "sdp": "ours"})
    );
    let answer = ServerMessage::Answer {
        info_hash: SWARM,
        peer_id: OTHER,
        offer_id: OFFER,
        answer: &description,
    };
    say(&mut connection, &answer).await;
    assert!(matches!(
        events.recv().await,
        Some(TrackerEvent::Answer { .. })
    ));
    let failure = ServerMessage::Failure {
        action: None,
        info_hash: None,
        reason: format!("no such swarm here{}", " ".repeat(1000)).into(),
    };
    // A message that is not understood in between does not end the connection.
    connection.send(Message::text("{}")).await.unwrap();
    say(&mut connection, &failure).await;
    match events.recv().await {
        Some(TrackerEvent::Failure { reason, .. }) => {
            assert_eq!(reason.trim_end(), "no such swarm here");
            assert_eq!(reason.len(), 200);
        }
        other => panic!("{other:?}"),
    }

    trackers.announce(id, Vec::new());
    assert!(
        said(&mut connection)
            .await
            .get("event")
            .is_none_or(|event| event == "update")
    );
    let (stopped, ()) = tokio::join!(said(&mut connection), trackers.stop());
    assert_eq!(stopped["event"], "stopped");
    assert!(events.recv().await.is_none());
}

#[tokio::test]
async fn a_lost_tracker_is_tried_again_and_delays_nobody() {
    let dead = Server::bind().await;
    let dead_url = dead.url();
    drop(dead);
    let server = Server::bind().await;
    let (_trackers, mut events) = join(&[dead_url, server.url()]);
    let (mut refused, mut connected) = (false, false);
    let connection = server.accept().await;
    while !(refused && connected) {
        match events.recv().await.unwrap() {
            TrackerEvent::Lost {
                tracker,
                error,
                retry_in,
            } => {
                assert_eq!((tracker.index(), &*error), (0, "connection refused"));
                assert!(retry_in.unwrap() <= Duration::from_secs(60));
                refused = true;
            }
            TrackerEvent::Connected(tracker) => {
                assert_eq!(tracker.index(), 1);
                connected = true;
            }
            _ => {}
        }
    }
    drop(connection);
    let mut lost = false;
    let back = server.accept();
    tokio::pin!(back);
    loop {
        tokio::select! {
            _ = &mut back => break,
            Some(event) = events.recv() => {
                lost |= matches!(event, TrackerEvent::Lost { tracker, .. } if tracker.index() == 1);
            }
        }
    }
    assert!(lost, "told before it was tried again");
}

#[tokio::test]
async fn a_tracker_that_is_not_wanted_is_left_and_returned_to() {
    let server = Server::bind().await;
    let (trackers, mut events) = join(&[server.url()]);
    let mut connection = server.accept().await;
    trackers.announce(TrackerId::new(0), Vec::new());
    assert_eq!(said(&mut connection).await["event"], "started");
    trackers.use_them(false);
    assert_eq!(said(&mut connection).await["event"], "stopped");
    drop(connection);
    loop {
        if let TrackerEvent::Lost { retry_in, .. } = events.recv().await.unwrap() {
            assert_eq!(retry_in, None, "not tried by itself");
            break;
        }
    }
    trackers.use_them(true);
    let _connection = server.accept().await;
    let event = events.recv().await.unwrap();
    assert_eq!(event, TrackerEvent::Connected(TrackerId::new(0)));
}

#[tokio::test]
async fn ice_servers_come_from_the_trackers_host() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let server = Server::bind().await;
    let url = server.url();
    for (status, body, servers) in [
        (
            "200 OK",
            r#"{"iceServers":[{"urls":"stun:192.0.2.1:3478"}]}"#,
            Some(1),
        ),
        (
            "200 OK",
            r#"[{"urls":["stun:192.0.2.1:3478"]},{"urls":"stun:192.0.2.2"}]"#,
            Some(2),
        ),
        ("200 OK", r#"{"iceServers":[]}"#, None),
        (
            "200 OK",
            &format!("[{}]", [r#"{"urls":"stun:192.0.2.1"}"#; 20].join(",")),
            Some(8),
        ),
        ("200 OK", "<html>", None),
        ("404 Not Found", "[]", None),
    ] {
        let serve = async {
            let (mut stream, _) = server.0.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /ice.json HTTP/1.0\r\n"));
            let answer = format!("HTTP/1.1 {status}\r\nContent-Type: x\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (found, ()) = tokio::join!(ice_servers(&url), serve);
        assert_eq!(found.map(|found| found.len()), servers, "{status} {body}");
    }
}

/// A tracker that accepts the connection and stays silent is the worst case: there is no error.
#[tokio::test]
async fn a_silent_tracker_delays_nobody() {
    let silent = Server::bind().await;
    let server = Server::bind().await;
    let (trackers, mut events) = join(&[silent.url(), server.url()]);
    let (_held, _) = silent.0.accept().await.unwrap();
    let mut connection = server.accept().await;
    loop {
        match events.recv().await.unwrap() {
            TrackerEvent::Due(tracker) => {
                assert_eq!(tracker.index(), 1);
                trackers.announce(tracker, Vec::new());
                break;
            }
            TrackerEvent::Connected(tracker) => assert_eq!(tracker.index(), 1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(said(&mut connection).await["event"], "started");
    let (stopped, ()) = tokio::join!(said(&mut connection), trackers.stop());
    assert_eq!(stopped["event"], "stopped");
}

/// A shorter time between announces takes effect at once.
#[tokio::test]
async fn a_new_interval_counts_at_once() {
    let server = Server::bind().await;
    let (trackers, mut events) =
        Trackers::spawn(&[server.url()], SWARM, ME, Duration::from_secs(3600));
    let mut connection = server.accept().await;
    let id = TrackerId::new(0);
    trackers.set_deficit(Deficit::Some);
    assert!(matches!(
        events.recv().await,
        Some(TrackerEvent::Connected(_))
    ));
    assert!(matches!(events.recv().await, Some(TrackerEvent::Due(_))));
    trackers.announce(id, Vec::new());
    said(&mut connection).await;
    trackers.set_interval(Duration::from_secs(1));
    assert!(matches!(events.recv().await, Some(TrackerEvent::Due(_))));
}

/// TLS is checked against the roots that are trusted, and only against them.
#[tokio::test]
async fn wss_needs_a_certificate_that_is_trusted() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let root = signed.cert.der().clone();
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = Server::bind().await;
    let url: TrackerUrl = format!("wss://localhost:{}", server.address().port())
        .parse()
        .unwrap();
    let serve = || async {
        let (stream, _) = server.0.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.ok()?;
        accept_async(stream).await.ok()
    };
    let client = Connector::new();
    let (refused, _) = tokio::join!(client.connect(&url), serve());
    let error = refused.expect_err("an unknown certificate is refused");
    assert!(error.contains("certificate"), "{error}");
    let client = Connector::trusting(&[root]);
    let (connected, _) = tokio::join!(client.connect(&url), serve());
    assert!(connected.is_ok());
}
