//! Which ports and addresses links use and tell other peers.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};

use super::super::sdp::own_hosts;
use super::*;

fn with(ports: UdpPorts) -> LinkOptions {
    LinkOptions {
        udp_ports: ports,
        ..options()
    }
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> u16 {
    let socket = UdpSocket::bind((LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn text() {
    assert_eq!("40000".parse(), Ok(UdpPorts::One(40_000)));
    assert_eq!("40000-40100".parse(), Ok(UdpPorts::Range(40_000..=40_100)));
    for bad in [
        "", "0", "+1", "65536", "2-1", "0-5", "1-", "-1", "a", "1 - 2",
    ] {
        assert!(bad.parse::<UdpPorts>().is_err(), "{bad:?}");
    }
}

#[tokio::test]
async fn one_port_for_many_links() {
    let port = free_port();
    let one = Transport::new(with(UdpPorts::One(port))).await.unwrap();
    let others = [transport().await, transport().await, transport().await];
    let mut links = Vec::new();
    for (i, other) in others.iter().cycle().take(12).enumerate() {
        let (near, far) = if i % 2 == 0 {
            pair(&one, other).await
        } else {
            let (far, near) = pair(other, &one).await;
            (near, far)
        };
        links.push((near.split(), far.split()));
    }
    let offer = one.offer().await.unwrap();
    assert_eq!(own_hosts(offer.sdp()), [SocketAddr::new(LOCALHOST, port)]);
    drop(offer);
    for (i, ((near, _), (_, far))) in links.iter_mut().enumerate() {
        let text = vec![i as u8; 40_000];
        near.send(&text).await.unwrap();
        let mut got = Vec::new();
        while got.len() < text.len() {
            if let Some(LinkEvent::Data(piece)) = far.recv().await {
                got.extend(piece);
            }
        }
        assert_eq!(got, text);
    }
    for ((near, mut from_far), (_far, mut from_near)) in links {
        near.close().await;
        assert_eq!(from_near.recv().await, None);
        assert_eq!(from_far.recv().await, None);
    }
    // The port is taken while it is in use, and free again afterwards.
    let taken = Transport::new(with(UdpPorts::One(port))).await.unwrap_err();
    assert!(matches!(taken, LinkError::Port { .. }), "{taken}");
    drop(one);
    for other in others {
        drop(other);
    }
    while UdpSocket::bind((LOCALHOST, port)).is_err() {
        tokio::task::yield_now().await;
    }
}

/// Both sides have one port each, and a new link replaces one that still lives.
#[tokio::test]
async fn one_port_on_both_sides() {
    let a = Transport::new(with(UdpPorts::One(free_port())))
        .await
        .unwrap();
    let b = Transport::new(with(UdpPorts::One(free_port())))
        .await
        .unwrap();
    let (left, right) = pair(&a, &b).await;
    let ((old_sender, _old), (_to_old, mut old_receiver)) = (left.split(), right.split());
    talk(&a, &b).await;
    talk(&b, &a).await;
    old_sender.send(b"still here").await.unwrap();
    assert_eq!(
        old_receiver.recv().await,
        Some(LinkEvent::Data(b"still here".to_vec()))
    );
}

/// As above, and both offer at once: the two handshakes run between the same two ports.
#[tokio::test]
async fn one_port_on_both_sides_and_glare() {
    let a = Transport::new(with(UdpPorts::One(free_port())))
        .await
        .unwrap();
    let b = Transport::new(with(UdpPorts::One(free_port())))
        .await
        .unwrap();
    for _ in 0..5 {
        let (left, right) = tokio::join!(pair(&a, &b), pair(&b, &a));
        for (near, far) in [left, right] {
            let ((near, _), (_, mut far)) = (near.split(), far.split());
            near.send(b"through").await.unwrap();
            assert_eq!(far.recv().await, Some(LinkEvent::Data(b"through".to_vec())));
        }
    }
}

#[tokio::test]
async fn range_of_ports() {
    // Two free ports in a row. If a link of another test takes one, the next two are tried.
    let (first, last) = std::iter::repeat_with(free_port)
        .filter(|port| *port < u16::MAX)
        .find(|port| UdpSocket::bind((LOCALHOST, port + 1)).is_ok())
        .map(|port| (port, port + 1))
        .unwrap();
    let ranged = Transport::new(with(UdpPorts::Range(first..=last)))
        .await
        .unwrap();
    let offers = [ranged.offer().await.unwrap(), ranged.offer().await.unwrap()];
    let ports: HashSet<u16> = offers
        .iter()
        .flat_map(|offer| own_hosts(offer.sdp()))
        .map(|address| address.port())
        .collect();
    assert_eq!(ports, HashSet::from([first, last]));
    let none_left = ranged.offer().await.err().unwrap();
    assert!(matches!(none_left, LinkError::Port { .. }), "{none_left}");
    drop(offers);
    // Both are free again, soon.
    while ranged.offer().await.is_err() {
        tokio::task::yield_now().await;
    }
    talk(&ranged, &transport().await).await;
}

/// The description names the public address in place of our own. A link still opens here, because
/// checks arrive from the real address.
#[tokio::test]
async fn public_address() {
    let public = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    let mut options = with(UdpPorts::One(free_port()));
    options.public_addresses = vec![public, LOCALHOST_6];
    let a = Transport::new(options).await.unwrap();
    let offer = a.offer().await.unwrap();
    let told = own_hosts(offer.sdp());
    assert_eq!(told.len(), 1, "{}", offer.sdp());
    assert_eq!(told[0].ip(), public);
    assert!(!offer.sdp().contains(" 127.0.0.1 "));
    drop(offer);
    talk(&a, &transport().await).await;
}

/// An error at the start: with other addresses, the stack would silently leave this one out.
#[tokio::test]
async fn an_address_that_this_host_does_not_have() {
    let foreign = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
    let mut options = options();
    options.bind = vec![LOCALHOST, foreign];
    let error = Transport::new(options).await.unwrap_err();
    assert!(
        matches!(error, LinkError::Address { address, .. } if address == foreign),
        "{error}"
    );
    assert_eq!(error.to_string(), "cannot use the address 203.0.113.7");
}

#[tokio::test]
async fn one_port_and_a_relay() {
    let mut options = with(UdpPorts::One(free_port()));
    options.ice_servers = vec![IceServer {
        urls: vec!["turn:192.0.2.1:3478".to_owned()],
        username: Some("name".to_owned()),
        credential: Some("secret".to_owned()),
    }];
    let error = Transport::new(options).await.unwrap_err().to_string();
    assert!(error.contains("give a range"), "{error}");
}
