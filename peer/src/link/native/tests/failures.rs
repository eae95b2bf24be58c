//! Links that do not come about, and what they leave behind.

use ::webrtc::data_channel::RTCDataChannelInit;

use super::*;

/// A description does not wait for a STUN server that never answers.
#[tokio::test]
async fn unreachable_stun_server() {
    let silent = std::net::UdpSocket::bind((LOCALHOST, 0)).unwrap();
    let mut options = options();
    let url = format!("stun:{}", silent.local_addr().unwrap());
    options.ice_servers = vec![IceServer {
        urls: vec![url],
        username: None,
        credential: None,
    }];
    let a = Transport::new(options).await.unwrap();
    talk(&a, &transport().await).await;
    // It was asked.
    silent.set_nonblocking(true).unwrap();
    silent.recv(&mut [0; 64]).unwrap();
}

/// A relay is asked for and there is none: an error in words, not a description without candidates.
#[tokio::test]
async fn relay_only_without_a_relay() {
    let mut options = options();
    options.relay_only = true;
    let a = Transport::new(options).await.unwrap();
    let error = a.offer().await.err().unwrap();
    assert!(matches!(error, LinkError::NoRelay), "{error}");
}

/// A peer that kills its side without a word is noticed by the other one's ICE: suspect, then gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn side_that_vanishes() {
    let a = transport().await;
    let (offers, mut offer) = tokio::sync::mpsc::channel(1);
    let (answers, answer) = tokio::sync::oneshot::channel::<String>();
    let (kill, killed) = std::sync::mpsc::sync_channel::<()>(1);
    // A runtime of its own, which ends without any task of it having a chance to say so.
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
