mod descriptions;
mod failures;
mod files;
mod opening;
mod ports;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOCALHOST_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn options() -> LinkOptions {
    LinkOptions {
        ice_servers: Vec::new(),
        bind: vec![LOCALHOST],
        udp_ports: UdpPorts::Any,
        public_addresses: Vec::new(),
        relay_only: false,
        max_message: 16_384,
    }
}

async fn transport() -> Transport {
    Transport::new(options()).await.unwrap()
}

async fn pair(a: &Transport, b: &Transport) -> (Link, Link) {
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let (offerer, answerer) = tokio::join!(offer.open(&sdp), answer.open());
    (offerer.unwrap(), answerer.unwrap())
}

/// Bytes both ways over a new link, then a close that both sides see.
async fn talk(a: &Transport, b: &Transport) {
    let (left, right) = pair(a, b).await;
    assert_eq!(left.remote_fingerprint(), right.local_fingerprint());
    assert_eq!(right.remote_fingerprint(), left.local_fingerprint());
    let ((to_right, mut from_right), (to_left, mut from_left)) = (left.split(), right.split());
    to_right.send(b"ping").await.unwrap();
    assert_eq!(
        from_left.recv().await,
        Some(LinkEvent::Data(b"ping".to_vec()))
    );
    to_left.send(b"pong").await.unwrap();
    assert_eq!(
        from_right.recv().await,
        Some(LinkEvent::Data(b"pong".to_vec()))
    );
    to_right.close().await;
    assert_eq!(from_left.recv().await, None);
    assert_eq!(from_right.recv().await, None);
    assert!(to_left.send(b"late").await.is_err());
}

#[tokio::test]
async fn both_directions() {
    talk(&transport().await, &transport().await).await;
}

#[tokio::test]
async fn ipv6() {
    let mut options = options();
    options.bind = vec![LOCALHOST_6];
    let a = Transport::new(options.clone()).await.unwrap();
    let offer = a.offer().await.unwrap();
    assert!(offer.sdp().contains(" ::1 "), "{}", offer.sdp());
    assert!(!offer.sdp().contains(" 127.0.0.1 "));
    talk(&a, &Transport::new(options).await.unwrap()).await;
}

/// The answer arrives 3 s after it was made.
#[tokio::test]
async fn late_answer() {
    let (a, b) = (transport().await, transport().await);
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let late = async {
        // The pause that the test is about.
        tokio::time::sleep(Duration::from_secs(3)).await;
        offer.open(&sdp).await
    };
    let (left, right) = tokio::join!(late, answer.open());
    left.unwrap();
    right.unwrap();
}

/// 300 KiB in each direction at the same time, in order and intact.
#[tokio::test]
async fn long_streams_both_ways() {
    const LEN: usize = 300 * 1024;
    let (a, b) = (transport().await, transport().await);
    let (left, right) = pair(&a, &b).await;
    let bytes = |step: usize| -> Vec<u8> {
        let bytes = (0..LEN).map(|i| (i * step % 251) as u8);
        bytes.collect()
    };
    async fn run(link: Link, out: Vec<u8>, expected: Vec<u8>) {
        let (sender, mut receiver) = link.split();
        let read = async {
            let mut got = Vec::new();
            while got.len() < expected.len() {
                match receiver.recv().await {
                    Some(LinkEvent::Data(piece)) => got.extend(piece),
                    Some(_) => {}
                    None => break,
                }
            }
            assert!(got == expected, "{} bytes arrived", got.len());
        };
        let (sent, ()) = tokio::join!(sender.send(&out), read);
        sent.unwrap();
        // The other side may still be reading what is on its way.
        sender.close().await;
    }
    let left = tokio::spawn(run(left, bytes(3), bytes(7)));
    run(right, bytes(7), bytes(3)).await;
    left.await.unwrap();
}

/// A side sends no message longer than the other side accepts.
#[tokio::test]
async fn pieces_are_as_small_as_the_other_side_wants_them() {
    const LIMIT: usize = 2048;
    let small = LinkOptions {
        max_message: LIMIT as u32,
        ..options()
    };
    let (a, b) = (transport().await, Transport::new(small).await.unwrap());
    let (left, right) = pair(&a, &b).await;
    let ((sender, _left), (_right, mut receiver)) = (left.split(), right.split());
    let bytes = vec![7; 10 * LIMIT + 1];
    sender.send(&bytes).await.unwrap();
    let mut got = 0;
    while got < bytes.len() {
        match receiver.recv().await.unwrap() {
            LinkEvent::Data(piece) => {
                assert!(piece.len() <= LIMIT, "{}", piece.len());
                got += piece.len();
            }
            LinkEvent::Suspect | LinkEvent::Recovered => {}
        }
    }
}

/// A side that does not read slows the other one. No byte is lost, and the buffers are bounded.
#[tokio::test]
async fn reader_that_stalls() {
    const PIECE: usize = 16 * 1024;
    let (a, b) = (transport().await, transport().await);
    let (left, right) = pair(&a, &b).await;
    let ((sender, _left), (_right, mut receiver)) = (left.split(), right.split());
    let mut sent = 0_usize;
    let piece = vec![7; PIECE];
    // Sending stops once the buffers between the two are full.
    while let Ok(result) = tokio::time::timeout(Duration::from_secs(2), sender.send(&piece)).await {
        result.unwrap();
        sent += PIECE;
        assert!(sent < 32 * 1024 * 1024, "nothing slows the sender");
    }
    assert!(sender.buffered().await.unwrap() <= HIGH_WATER + PIECE);
    let mut got = 0;
    while got < sent {
        match receiver.recv().await.unwrap() {
            LinkEvent::Data(piece) => got += piece.len(),
            LinkEvent::Suspect | LinkEvent::Recovered => {}
        }
    }
    tokio::time::timeout(Duration::from_secs(20), sender.send(b"on"))
        .await
        .expect("sending goes on")
        .unwrap();
}
