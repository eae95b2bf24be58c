//! Links that do not open, and what they leave behind.

use std::net::SocketAddr;

use ::webrtc::data_channel::RTCDataChannelInit;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::super::sdp::own_hosts;
use super::*;

/// A description does not wait for a STUN server that never answers: when it is there, the server
/// is still being asked.
#[tokio::test]
async fn unreachable_stun_server() {
    let silent = tokio::net::UdpSocket::bind((LOCALHOST, 0)).await.unwrap();
    let mut options = options();
    let url = format!("stun:{}", silent.local_addr().unwrap());
    options.ice_servers = vec![IceServer {
        urls: vec![url],
        username: None,
        credential: None,
    }];
    let a = Transport::new(options).await.unwrap();
    let offer = a.offer().await.unwrap();
    let mut asked = 0;
    while silent.try_recv(&mut [0; 64]).is_ok() {
        asked += 1;
    }
    assert!(asked > 0);
    let mut request = [0; 64];
    let again = tokio::time::timeout(Duration::from_secs(30), silent.recv(&mut request));
    again
        .await
        .expect("the search for candidates goes on")
        .unwrap();
    drop(offer);
    talk(&a, &transport().await).await;
}

/// Without the relay that the options ask for there is an error, not a description without
/// candidates.
#[tokio::test]
async fn relay_only_without_a_relay() {
    let mut options = options();
    options.relay_only = true;
    let a = Transport::new(options).await.unwrap();
    let error = a.offer().await.err().unwrap();
    assert!(matches!(error, LinkError::NoRelay), "{error}");
}

/// A relay that refuses us is an error too.
#[tokio::test]
async fn relay_that_refuses() {
    let relay = tokio::net::UdpSocket::bind((LOCALHOST, 0)).await.unwrap();
    let mut options = options();
    options.relay_only = true;
    options.ice_servers = vec![IceServer {
        urls: vec![format!("turn:{}", relay.local_addr().unwrap())],
        username: Some("1:expired".to_owned()),
        credential: Some("secret".to_owned()),
    }];
    let a = Transport::new(options).await.unwrap();
    let refuse = async {
        loop {
            let mut request = [0; 512];
            let (_, from) = relay.recv_from(&mut request).await.unwrap();
            // The error response to an Allocate request, of the same transaction, with code 403
            // (RFC 8489, section 14.8).
            let mut response = vec![0x01, 0x13, 0, 8];
            response.extend_from_slice(&request[4..20]);
            response.extend_from_slice(&[0, 9, 0, 4, 0, 0, 4, 3]);
            relay.send_to(&response, from).await.unwrap();
        }
    };
    let offer = tokio::select! {
        offer = a.offer() => offer,
        () = refuse => unreachable!(),
    };
    let error = offer.err().unwrap();
    assert!(matches!(error, LinkError::NoCandidate), "{error}");
}

/// ICE notices a peer that vanishes without closing: first suspect, then gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn side_that_vanishes() {
    let a = transport().await;
    let (offers, mut offer) = tokio::sync::mpsc::channel(1);
    let (answers, answer) = tokio::sync::oneshot::channel::<String>();
    let (kill, killed) = std::sync::mpsc::sync_channel::<()>(1);
    // A runtime of its own, which ends before any of its tasks can close a link.
    let other = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.enable_all().worker_threads(1).build().unwrap();
        runtime.spawn(async move {
            let b = transport().await;
            let offer = b.offer().await.unwrap();
            offers.send(offer.sdp().to_owned()).await.unwrap();
            let _link = offer.open(&answer.await.unwrap()).await.unwrap();
            std::future::pending::<()>().await;
        });
        killed.recv().unwrap();
        runtime.shutdown_background();
    });
    let pending = a.answer(&offer.recv().await.unwrap()).await.unwrap();
    answers.send(pending.sdp().to_owned()).unwrap();
    let (_sender, mut receiver) = pending.open().await.unwrap().split();
    kill.send(()).unwrap();
    other.join().unwrap();
    let first = receiver.recv().await;
    assert!(
        matches!(first, Some(LinkEvent::Suspect) | None),
        "{first:?}"
    );
    if first.is_some() {
        assert_eq!(receiver.recv().await, None);
    }
}

/// Datagrams of strangers harm neither a link nor one that is being made.
#[tokio::test]
async fn garbage_datagrams() {
    let port = ports::free_port();
    for udp_ports in [UdpPorts::Any, UdpPorts::One(port)] {
        let options = LinkOptions {
            udp_ports,
            ..options()
        };
        let (a, b) = (Transport::new(options).await.unwrap(), transport().await);
        let stranger = std::net::UdpSocket::bind((LOCALHOST, 0)).unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        let mut litter = |address: SocketAddr| {
            for _ in 0..2_000 {
                let mut bytes = vec![0; rng.random_range(0..1_500)];
                rng.fill_bytes(&mut bytes);
                if let [kind, _, _, rest @ ..] = &mut bytes[..]
                    && rng.random()
                {
                    // Looks like STUN or a DTLS record at first.
                    *kind = rng.random_range(0..64);
                    if let Some(cookie) = rest.get_mut(1..5) {
                        cookie.copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
                    }
                }
                // A full buffer drops it, which is fine.
                let _ = stranger.send_to(&bytes, address);
            }
        };
        let offer = a.offer().await.unwrap();
        let at = own_hosts(offer.sdp())[0];
        litter(at);
        let answer = b.answer(offer.sdp()).await.unwrap();
        let sdp = answer.sdp().to_owned();
        litter(at);
        let (left, right) = tokio::join!(offer.open(&sdp), answer.open());
        let ((sender, _from_right), (_to_left, mut receiver)) =
            (left.unwrap().split(), right.unwrap().split());
        litter(at);
        sender.send(b"unharmed").await.unwrap();
        assert_eq!(
            receiver.recv().await,
            Some(LinkEvent::Data(b"unharmed".to_vec()))
        );
    }
}

/// A byte stream needs a channel that keeps the order.
#[tokio::test]
async fn unordered_channel() {
    let (a, b) = (transport().await, transport().await);
    let unordered = RTCDataChannelInit {
        ordered: false,
        ..RTCDataChannelInit::default()
    };
    let offer = a.offer_with(Some(unordered)).await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let (_offerer, answerer) = tokio::join!(offer.open(&sdp), answer.open());
    assert!(matches!(answerer, Err(LinkError::Channel)), "{answerer:?}");
}
