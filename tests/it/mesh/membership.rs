//! Who is let in, and what happens when settings, trackers and peers change or fail.

use std::sync::Arc;
use std::time::Duration;

use e2e::TestServer;
use easypeers::{Event, Identity, InfoHash, PeerId, SendError, State};

use super::{Peer, options};

/// Peers of one infohash that do not share a secret never become neighbours.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_or_topic_lets_nobody_in() {
    let server = TestServer::start().await;
    let topic = "secrets";
    let with = |password: Option<&str>| {
        let mut options = options(&server);
        options.password = password.map(str::to_owned);
        options
    };
    let mut alice = Peer::join(topic, with(Some("opensesame"))).await;
    let mallory = Peer::join(topic, with(Some("guess"))).await;
    let eve = Peer::join(topic, with(None)).await;
    // Knows the infohash from the tracker, not the topic's text.
    let mut by_hash = options(&server);
    by_hash.identifier = Some(InfoHash::of_topic(topic));
    let stranger = Peer::join("anything else", by_hash).await;
    for peer in [&mallory, &eve, &stranger] {
        let handle = peer.handle.clone();
        e2e::until("a link was refused", || async {
            handle.stats().rejected > 0
        })
        .await;
        assert_eq!(handle.stats().links_opened, 0);
    }
    let mut bob = Peer::join(topic, with(Some("opensesame"))).await;
    assert_eq!(bob.links(1).await, [alice.address()].into());
    assert_eq!(alice.links(1).await, [bob.address()].into());
    assert!(alice.handle.stats().rejected > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_cut_comes_back() {
    let server = TestServer::start().await;
    let mut alice = Peer::join("cut", options(&server)).await;
    let mut bob = Peer::join("cut", options(&server)).await;
    alice.links(1).await;
    bob.links(1).await;
    assert!(!alice.handle.peers()[0].browser);
    let (from, to) = (alice.address(), bob.address());
    assert_eq!(alice.handle.disconnect(to).await, Ok(true));
    alice
        .until(|event| (*event == Event::Disconnect(to)).then_some(()))
        .await;
    bob.until(|event| (*event == Event::Disconnect(from)).then_some(()))
        .await;
    alice.links(1).await;
    assert_eq!(bob.links(1).await, [from].into());
    let nobody = PeerId::new([9; 20]);
    assert_eq!(alice.handle.disconnect(nobody).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_identifier_or_identity_leaves_and_joins() {
    let server = TestServer::start().await;
    let mut alice = Peer::join("here", options(&server)).await;
    let mut bob = Peer::join("here", options(&server)).await;
    alice.links(1).await;
    let there = InfoHash::of_topic("there");
    assert_eq!(alice.handle.identifier(), InfoHash::of_topic("here"));
    alice.handle.set_identifier(there).await.unwrap();
    assert_eq!(alice.handle.identifier(), there);
    gone(&mut bob).await;
    let mut by_hash = options(&server);
    by_hash.identifier = Some(there);
    let mut carol = Peer::join("", by_hash).await;
    assert_eq!(carol.links(1).await, [alice.address()].into());

    let before = alice.address();
    let identity = Arc::new(Identity::from_seed(&[7; 32]));
    alice
        .handle
        .set_identity(Arc::clone(&identity))
        .await
        .unwrap();
    assert_eq!(alice.address(), identity.address());
    assert_ne!(alice.address(), before);
    assert_eq!(gone(&mut carol).await, before);
    assert_eq!(carol.links(1).await, [identity.address()].into());

    let foreign = PeerId::new([1; 20]);
    let refused = alice.handle.set_address(foreign).await;
    assert_eq!(refused, Err(SendError::ForeignAddress(foreign)));
    alice.handle.set_address(identity.address()).await.unwrap();
}

/// Read as they were given, or as they are set since.
#[tokio::test(flavor = "multi_thread")]
async fn settings_can_be_read_and_set() {
    let server = TestServer::start().await;
    let peer = Peer::join("settings", options(&server)).await.handle;
    let identifier = InfoHash::of_topic("settings");
    assert_eq!((peer.identifier(), peer.max_peers()), (identifier, 6));
    assert_eq!(peer.timeout(), Duration::from_secs(30));
    for (set, read) in [(0, 1), (45, 45), (9999, 3600)] {
        peer.set_timeout(Duration::from_secs(set)).await.unwrap();
        assert_eq!(peer.timeout(), Duration::from_secs(read));
    }
    for (set, read) in [(1, 2), (9, 9), (999, 64)] {
        peer.set_max_peers(set).await.unwrap();
        assert_eq!(peer.max_peers(), read);
    }
    // They stay what they are in another swarm.
    let there = InfoHash::of_topic("elsewhere");
    peer.set_identifier(there).await.unwrap();
    assert_eq!((peer.identifier(), peer.max_peers()), (there, 64));
    assert_eq!(peer.timeout(), Duration::from_secs(3600));
    peer.close().await;
    assert_eq!(peer.set_max_peers(3).await, Err(SendError::Closed));
}

async fn gone(peer: &mut Peer) -> PeerId {
    peer.until(|event| match event {
        Event::Disconnect(peer) => Some(*peer),
        _ => None,
    })
    .await
}

/// Fewer links are kept, nobody is left alone.
#[tokio::test(flavor = "multi_thread")]
async fn fewer_links_cut_nobody_off() {
    let server = TestServer::start().await;
    let mut hub = Peer::join("hub", options(&server)).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(Peer::join("hub", options(&server)).await);
    }
    hub.links(4).await;
    for peer in &mut others {
        peer.links(2).await;
    }
    hub.handle.set_max_peers(2).await.unwrap();
    assert_eq!(hub.handle.max_peers(), 2);
    let handle = hub.handle.clone();
    e2e::until("links are let go", || async { handle.wire_count() <= 2 }).await;
    hub.handle.send("still one mesh").await.unwrap();
    for peer in &mut others {
        assert_eq!(peer.message().await.from, hub.address());
    }
}

/// A tracker that goes and comes back costs nobody a link, and newcomers get in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_tracker_that_restarts_is_found_again() {
    let mut server = TestServer::start().await;
    let address = server.address();
    let mut alice = Peer::join("restart", options(&server)).await;
    let mut bob = Peer::join("restart", options(&server)).await;
    alice.links(1).await;
    bob.links(1).await;
    let wanted = options(&server);
    server.stop();
    server.stopped().await;
    let reason = alice
        .until(|event| match event {
            Event::State(status) if status.state == State::Degraded => Some(status.reason.clone()),
            _ => None,
        })
        .await;
    assert!(
        reason.starts_with("1 of 6 links, no tracker reached: "),
        "{reason}"
    );
    alice.handle.send("without a tracker").await.unwrap();
    bob.message().await;
    let _again = TestServer::with(|settings| settings.listen = vec![address.into()]).await;
    alice
        .until(|event| match event {
            Event::State(status) => (status.state == State::Joined).then_some(()),
            _ => None,
        })
        .await;
    let mut carol = Peer::join("restart", wanted).await;
    carol.links(2).await;
}
