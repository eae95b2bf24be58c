//! Two and three peers: links, broadcasts, direct messages, large ones.

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::TestServer;
use easypeers::{Data, Easypeers, Event, Options, Receipt, SendError, State};
use futures_util::FutureExt;
use futures_util::future::join_all;

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

    let bytes = vec![0, 255];
    let receipt = bob
        .handle
        .send_to(alice.address(), bytes.clone())
        .await
        .unwrap();
    assert!(
        matches!(receipt, Receipt::Delivered { hops: 1, .. }),
        "{receipt:?}"
    );
    let message = alice.message().await;
    assert_eq!(message.data, Data::from(bytes));
    assert!(message.verified && message.direct);
    assert_eq!(alice.handle.status().state, State::Joined);

    bob.handle.close().await;
    let left = alice.until(|event| match event {
        Event::Disconnect(peer) => Some(*peer),
        _ => None,
    });
    assert_eq!(left.await, bob.address());
    assert!(matches!(
        bob.handle.send("gone").await,
        Err(SendError::Closed)
    ));
}

/// A broadcast made before there is a link waits for the first one.
#[tokio::test(flavor = "multi_thread")]
async fn an_early_broadcast_is_not_lost() {
    let server = TestServer::start().await;
    let alice = Peer::join("early", options(&server)).await;
    let early = alice.handle.send("early");
    let join = async {
        let mut bob = Peer::join("early", options(&server)).await;
        bob.message().await
    };
    let (sent, message) = tokio::join!(early, join);
    assert_eq!(message.id, sent.unwrap());
}

/// However many wait: one that comes later never overtakes.
#[tokio::test]
async fn broadcasts_keep_the_order_of_the_calls() {
    let server = TestServer::start().await;
    let mut alice = Peer::join("order", options(&server)).await;
    let mut bob = Peer::join("order", options(&server)).await;
    alice.links(1).await;
    bob.links(1).await;
    let mut sends: Vec<_> = (0..100)
        .map(|number: u32| Box::pin(alice.handle.send(number.to_string())))
        .collect();
    let (first, rest) = sends.split_first_mut().unwrap();
    assert!(first.now_or_never().is_none());
    for send in &mut rest[..70] {
        assert!(send.now_or_never().is_none());
    }
    // The peer takes up what it was asked so far.
    first.await.unwrap();
    for send in &mut rest[70..] {
        assert!(send.now_or_never().is_none());
    }
    for sent in join_all(rest).await {
        sent.unwrap();
    }
    for number in 0..100 {
        assert_eq!(bob.message().await.data, Data::from(number.to_string()));
    }
}

/// Three in a row: with two links each at most, and a third member that both ends know.
#[tokio::test(flavor = "multi_thread")]
async fn large_messages_arrive_whole() {
    let server = TestServer::start().await;
    let mut alice = Peer::join("large", options(&server)).await;
    let mut bob = Peer::join("large", options(&server)).await;
    let mut carol = Peer::join("large", options(&server)).await;
    for peer in [&mut alice, &mut bob, &mut carol] {
        peer.links(2).await;
    }
    let bytes: Vec<u8> = (0..300 << 10)
        .map(|at: u32| at.to_le_bytes()[1] ^ at.to_le_bytes()[0])
        .collect();
    let id = alice.handle.send(bytes.clone()).await.unwrap();
    for peer in [&mut bob, &mut carol] {
        let message = peer.message().await;
        assert_eq!((message.id, message.from), (id, alice.address()));
        assert!(message.data.as_bytes() == bytes, "{:?}", message.data);
    }
    let receipt = carol
        .handle
        .send_to(alice.address(), bytes.clone())
        .await
        .unwrap();
    assert!(matches!(receipt, Receipt::Delivered { .. }), "{receipt:?}");
    let message = alice.message().await;
    assert!(message.direct && message.data.as_bytes() == bytes);
    let too_large = vec![0; (16 << 20) + 1];
    let refused = alice.handle.send(too_large).await;
    assert!(matches!(refused, Err(SendError::TooLong(_))), "{refused:?}");
}

/// One message to several, each sealed for itself: the receipts are in the order of the addresses.
#[tokio::test(flavor = "multi_thread")]
async fn one_message_to_several() {
    let server = TestServer::start().await;
    let mut alice = Peer::join("several", options(&server)).await;
    let mut bob = Peer::join("several", options(&server)).await;
    let mut carol = Peer::join("several", options(&server)).await;
    alice.links(2).await;
    let nobody = easypeers::PeerId::new([9; 20]);
    let to = [bob.address(), nobody, carol.address()];
    let receipts = alice.handle.send_to_all(&to, "you two").await.unwrap();
    let words: Vec<&str> = receipts.into_iter().map(Receipt::as_str).collect();
    assert_eq!(words, ["delivered", "unreachable", "delivered"]);
    for peer in [&mut bob, &mut carol] {
        let message = peer.message().await;
        assert!(message.direct && message.data == Data::from("you two"));
    }
    let me = alice.address();
    let refused = alice.handle.send_to_all(&[bob.address(), me], "me").await;
    assert_eq!(refused, Err(SendError::ToSelf));
}

/// Twenty peers with room for six links each: every broadcast reaches everybody once, and a direct
/// message anybody.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_peers_form_one_mesh() {
    let server = TestServer::start().await;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut options = options(&server);
        // Who misses links looks for them more often than every 30 s.
        options.timeout = Duration::from_secs(15);
        peers.push(Peer::join("twenty", options).await);
    }
    for peer in &mut peers {
        peer.links(2).await;
    }
    whole(&peers).await;
    let mut sent = Vec::new();
    for (at, peer) in peers.iter().enumerate() {
        sent.push(peer.handle.send(format!("from {at}")).await.unwrap());
    }
    for (at, peer) in peers.iter_mut().enumerate() {
        let mut missing: BTreeSet<_> = sent.iter().copied().collect();
        missing.remove(&sent[at]);
        while !missing.is_empty() {
            let message = peer.message().await;
            assert!(missing.remove(&message.id), "twice: {message:?}");
        }
    }
    let last = peers.last().unwrap().address();
    let receipt = peers[0].handle.send_to(last, "you").await.unwrap();
    assert!(matches!(receipt, Receipt::Delivered { .. }), "{receipt:?}");
    // Two more for a while, as long as neighbours are exchanged.
    e2e::until("nobody has more links than it wants", || async {
        peers.iter().all(|peer| peer.handle.wire_count() <= 6)
    })
    .await;
    for peer in &peers {
        peer.handle.close().await;
    }
}

/// Waits until links connect all of them.
async fn whole(peers: &[Peer]) {
    e2e::until("all are connected", || async {
        let mut reached = BTreeSet::from([peers[0].address()]);
        for _ in peers {
            for peer in peers
                .iter()
                .filter(|peer| reached.contains(&peer.address()))
                .collect::<Vec<_>>()
            {
                reached.extend(peer.handle.peers().iter().map(|peer| peer.address));
            }
        }
        reached.len() == peers.len()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_options_are_refused_in_words() {
    let server = TestServer::start().await;
    let refused = |change: fn(&mut Options)| {
        let mut options = options(&server);
        change(&mut options);
        async {
            Easypeers::join("options", options)
                .await
                .err()
                .unwrap()
                .to_string()
        }
    };
    assert!(
        refused(|options| options.max_peers = 1)
            .await
            .contains("max_peers is 1")
    );
    assert!(
        refused(|options| options.trackers.clear())
            .await
            .contains("no tracker")
    );
    let error = refused(|options| options.password = Some(String::new())).await;
    assert_eq!(error, "password is empty");
    let error = refused(|options| options.address = Some(easypeers::PeerId::new([1; 20]))).await;
    assert!(error.contains("does not belong"), "{error}");
}
