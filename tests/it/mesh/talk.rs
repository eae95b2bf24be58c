//! Two and three peers: links, broadcasts, direct messages.

use e2e::TestServer;
use easypeers::{Data, Event, Receipt, State};

use super::{Peer, options};

#[tokio::test(flavor = "multi_thread")]
async fn two_peers_meet_and_talk() {
    let server = TestServer::start().await;
    let mut alice = Peer::join("two", options(&server)).await;
    let mut bob = Peer::join("two", options(&server)).await;
    assert_eq!(alice.links(1).await, [bob.address()].into());
    assert_eq!(bob.links(1).await, [alice.address()].into());

    let id = alice.handle.send("hello").await.unwrap();
    let message = bob.message().await;
    assert_eq!((message.id, message.from), (id, alice.address()));
    assert_eq!(message.data, Data::from("hello"));
    assert!(message.verified && !message.direct);

    let receipt = bob
        .handle
        .send_to(alice.address(), vec![0, 255])
        .await
        .unwrap();
    assert!(
        matches!(receipt, Receipt::Delivered { hops: 1, .. }),
        "{receipt:?}"
    );
    let message = alice.message().await;
    assert_eq!(message.data, Data::from(vec![0, 255]));
    assert!(message.verified && message.direct);
    assert_eq!(alice.handle.status().state, State::Joined);

    bob.handle.close().await;
    let left = alice.until(|event| match event {
        Event::Disconnect(peer) => Some(*peer),
        _ => None,
    });
    assert_eq!(left.await, bob.address());
    alice.handle.close().await;
}
