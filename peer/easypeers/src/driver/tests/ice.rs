//! STUN servers that a tracker names.

use std::time::Duration;

use easypeers_proto::{OfferId, PeerId};
use tokio::net::UdpSocket;

use super::{Honest, Tracker, transport};
use crate::IceServers;

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_the_tracker_names_are_asked() {
    let stun = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = stun.local_addr().unwrap();
    let ice = format!(r#"{{"iceServers":[{{"urls":["stun:{at}"]}}]}}"#);
    let tracker = Tracker::bind().await;
    let peer = Honest::with(&tracker, IceServers::Auto);
    let (peer, mut client) = tokio::join!(peer, tracker.accept_naming(&ice));
    let transport = transport().await;
    // The first answers may be made before the peer has read what the tracker names.
    for number in 1..=6 {
        let offer = transport.offer().await.unwrap();
        let (id, from) = (OfferId::new([number; 20]), PeerId::new([number; 20]));
        client.offer(id, from, offer.sdp()).await;
        let mut request = [0; 20];
        let asked = stun.recv(&mut request);
        if tokio::time::timeout(Duration::from_secs(5), asked)
            .await
            .is_ok()
        {
            // A binding request with the magic cookie (RFC 8489).
            assert_eq!(request[..2], [0, 1]);
            assert_eq!(request[4..8], [0x21, 0x12, 0xa4, 0x42]);
            peer.handle.close().await;
            return;
        }
    }
    panic!("the server was never asked");
}
