use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn options() -> LinkOptions {
    LinkOptions {
        ice_servers: Vec::new(),
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        udp_ports: UdpPorts::Any,
        public_addresses: Vec::new(),
        relay_only: false,
        max_message: 16_384,
    }
}

async fn pair(a: &Transport, b: &Transport) -> (Link, Link) {
    let offer = a.offer().await.unwrap();
    let answer = b.answer(offer.sdp()).await.unwrap();
    let sdp = answer.sdp().to_owned();
    let (offerer, answerer) = tokio::join!(offer.open(&sdp), answer.open());
    (offerer.unwrap(), answerer.unwrap())
}

#[tokio::test]
async fn both_directions() {
    let a = Transport::new(options()).await.unwrap();
    let b = Transport::new(options()).await.unwrap();
    let started = tokio::time::Instant::now();
    let (left, right) = pair(&a, &b).await;
    println!("open: {:?}", started.elapsed());
    assert_eq!(left.local_fingerprint(), a.fingerprint());
    assert_eq!(right.local_fingerprint(), b.fingerprint());
    assert_eq!(left.remote_fingerprint(), b.fingerprint());
    assert_eq!(right.remote_fingerprint(), a.fingerprint());
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
}
