//! How soon a link opens, compared with the stack without our settings and runtime. The times depend
//! on the machine. Their ratio shows whether an upgrade of the stack has undone the settings.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use ::webrtc::peer_connection::PeerConnectionBuilder;
use tokio::time::Instant;

use super::super::connection::{Connection, Handler, Signals};
use super::super::sdp::{Description, Kind};
use super::*;

/// A connection with the stack's own settings.
async fn stock() -> (Connection, Signals) {
    let (handler, signals) = Handler::new();
    let address: SocketAddr = (LOCALHOST, 0).into();
    let stack = PeerConnectionBuilder::new()
        .with_handler(Arc::new(handler))
        .with_udp_addrs(vec![address])
        .build();
    let stack = Box::pin(stack).await;
    (Connection::new(stack.unwrap()), signals)
}

/// From the offer to a link that is open on both sides.
async fn time(
    offer: impl Future<Output = PendingOffer>,
    answer: impl AsyncFnOnce(&str) -> PendingAnswer,
) -> Duration {
    let start = Instant::now();
    let offer = offer.await;
    let answer = answer(offer.sdp()).await;
    let sdp = answer.sdp().to_owned();
    let (left, right) = tokio::join!(offer.open(&sdp), answer.open());
    let took = start.elapsed();
    left.unwrap();
    right.unwrap();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_opens_much_sooner_than_the_bare_stack() {
    let (a, b) = (transport().await, transport().await);
    let (mut ours, mut bare) = (Duration::MAX, Duration::MAX);
    // The best of several, because other work of the machine only adds time.
    for _ in 0..5 {
        let ours_now = time(async { a.offer().await.unwrap() }, async |sdp: &str| {
            b.answer(sdp).await.unwrap()
        });
        ours = ours.min(ours_now.await);
        let bare_now = time(
            async {
                let (connection, signals) = stock().await;
                let offer = PendingOffer::make(&a, connection, signals, None).await;
                offer.unwrap()
            },
            async |sdp: &str| {
                let (connection, signals) = stock().await;
                let offer = Description::read(sdp, Kind::Offer).unwrap();
                let answer = PendingAnswer::make(&b, connection, signals, &offer).await;
                answer.unwrap()
            },
        );
        bare = bare.min(bare_now.await);
    }
    println!("{ours:?}, the bare stack {bare:?}");
    assert!(ours * 4 < bare, "ours {ours:?}, the bare stack {bare:?}");
}
