//! A tracker that hands out session descriptions of its own and passes every byte on.

use easypeers_proto::OfferId;

use super::{Honest, PATIENCE, Tracker, transport};
use crate::Event;
use crate::link::{LinkEvent, LinkReceiver, LinkSender};

async fn pass(mut from: LinkReceiver, to: LinkSender) {
    while let Some(event) = from.recv().await {
        if let LinkEvent::Data(data) = event {
            let _ = to.send(&data).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_fingerprints_admit_nobody() {
    let tracker = Tracker::bind().await;
    let alice = Honest::join(&tracker).await;
    let mut to_alice = tracker.accept().await;
    let bob = Honest::join(&tracker).await;
    let mut to_bob = tracker.accept().await;
    let transport = transport().await;
    let (offer_id, sdp) = to_alice.offers[0].clone();
    let as_bob = transport.answer(&sdp).await.unwrap();
    to_alice
        .answer(offer_id, to_bob.peer_id, as_bob.sdp())
        .await;
    let as_alice = transport.offer().await.unwrap();
    let alice_id = to_alice.peer_id;
    to_bob
        .offer(OfferId::new([7; 20]), alice_id, as_alice.sdp())
        .await;
    let answer = to_bob.answered().await;
    let (with_alice, with_bob) = tokio::join!(as_bob.open(), as_alice.open(&answer));
    let (alice_in, alice_out) = with_alice.unwrap().split();
    let (bob_in, bob_out) = with_bob.unwrap().split();
    let both = async { tokio::join!(pass(alice_out, bob_in), pass(bob_out, alice_in)) };
    tokio::time::timeout(PATIENCE, both)
        .await
        .expect("both hang up");
    for mut peer in [alice, bob] {
        peer.stats(|stats| stats.rejected == 1).await;
        assert_eq!(peer.handle.stats().links_opened, 0);
        peer.handle.close().await;
        while let Some(event) = peer.events.next().await {
            assert!(matches!(event, Event::State(_)), "{event:?}");
        }
    }
}
