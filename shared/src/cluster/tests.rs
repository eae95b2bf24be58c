//! Round trips, arbitrary bytes, the bounds, and one golden frame.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap()
}

fn description(kind: &str, sdp: &str) -> Box<RawValue> {
    raw(serde_json::json!({"type": kind, "sdp": sdp}).to_string())
}

/// Two frames are equal when their bytes are.
fn round_trip(frame: &Frame<'_>) -> Vec<u8> {
    let bytes = frame.encode().unwrap();
    let again = Frame::decode(&bytes).unwrap();
    assert_eq!(again.node, frame.node);
    assert_eq!(again.encode().unwrap(), bytes);
    bytes
}

proptest! {
    #[test]
    fn offers_survive(
        node: u64, swarm: [u8; 20], peer: [u8; 20], incomplete_only: bool,
        offers in vec((any::<[u8; 20]>(), any::<String>()), 1..=MAX_OFFERS),
    ) {
        let texts: Vec<_> = offers.iter().map(|(_, sdp)| description("offer", sdp)).collect();
        let relayed = offers.iter().zip(&texts).map(|((id, _), offer)| RelayedOffer {
            offer_id: OfferId::new(*id),
            offer,
        });
        let body = Body::Offers(Offers {
            info_hash: InfoHash::new(swarm),
            peer_id: PeerId::new(peer),
            incomplete_only,
            offers: relayed.collect(),
        });
        let bytes = round_trip(&Frame { node: NodeId::new(node), body });
        prop_assert_eq!(FrameKind::of(&bytes), Ok(FrameKind::Offers));
        let Ok(Frame { body: Body::Offers(again), .. }) = Frame::decode(&bytes) else {
            panic!("no offers");
        };
        prop_assert_eq!((again.info_hash, again.peer_id), (InfoHash::new(swarm), PeerId::new(peer)));
        prop_assert_eq!(again.incomplete_only, incomplete_only);
        for (offer, (id, text)) in again.offers.iter().zip(offers.iter().map(|o| o.0).zip(&texts)) {
            prop_assert_eq!(offer.offer_id, OfferId::new(id));
            prop_assert_eq!(offer.offer.get(), text.get());
        }
        // Nothing that is cut off is a frame.
        for end in [0, 1, 2, 9, 10, 50, 51, bytes.len() - 1] {
            prop_assert!(Frame::decode(&bytes[..end]).is_err());
        }
    }

    #[test]
    fn answers_survive(node: u64, ids: [[u8; 20]; 4], sdp: String) {
        let answer = description("answer", &sdp);
        let body = Body::Answer(RelayedAnswer {
            info_hash: InfoHash::new(ids[0]),
            peer_id: PeerId::new(ids[1]),
            to_peer_id: PeerId::new(ids[2]),
            offer_id: OfferId::new(ids[3]),
            answer: &answer,
        });
        let bytes = round_trip(&Frame { node: NodeId::new(node), body });
        let Ok(Frame { body: Body::Answer(again), .. }) = Frame::decode(&bytes) else {
            panic!("no answer");
        };
        prop_assert_eq!(again.answer.get(), answer.get());
        prop_assert_eq!(again.to_peer_id, PeerId::new(ids[2]));
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in vec(any::<u8>(), 0..400), head: bool, kind in 0..6u8) {
        if head && bytes.len() > 1 {
            (bytes[0], bytes[1]) = (VERSION, kind);
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            prop_assert_eq!(frame.encode().unwrap(), bytes.clone());
        }
        if let Ok(counts) = Counts::decode(&bytes) {
            prop_assert_eq!(&counts.encode()[..], &bytes[..]);
        }
        if let Ok(status) = NodeStatus::decode(&bytes) {
            prop_assert_eq!(&status.encode()[..], &bytes[..]);
        }
    }

    #[test]
    fn entries_survive(complete: u32, incomplete: u32, expires_s: u32, heartbeat: u64, peers: u64) {
        let counts = Counts { complete, incomplete, expires_s };
        prop_assert_eq!(Counts::decode(&counts.encode()), Ok(counts));
        let status = NodeStatus { heartbeat, started_s: 7, peers };
        prop_assert_eq!(NodeStatus::decode(&status.encode()), Ok(status));
    }

    #[test]
    fn node_ids_survive(number: u64) {
        let node = NodeId::new(number);
        prop_assert_eq!(node.to_string().parse(), Ok(node));
        prop_assert_eq!(NodeId::from_bytes(&node.to_bytes()), Some(node));
    }
}

#[test]
fn a_frame_looks_like_this() {
    let ping = Frame {
        node: NodeId::new(0x0102_0304_0506_0708),
        body: Body::Ping(9),
    };
    let golden = b"\x01\x03\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\0\0\0\0\x09";
    assert_eq!(ping.encode().unwrap(), golden);
    let answer = raw("{\"type\":\"answer\",\"sdp\":\"\"}".into());
    let frame = Frame {
        node: NodeId::new(1),
        body: Body::Answer(RelayedAnswer {
            info_hash: InfoHash::new(*b"swarm---------------"),
            peer_id: PeerId::new(*b"peer----------------"),
            to_peer_id: PeerId::new(*b"to------------------"),
            offer_id: OfferId::new(*b"offer---------------"),
            answer: &answer,
        }),
    };
    let golden = b"\x01\x02\0\0\0\0\0\0\0\x01swarm---------------peer----------------\
        to------------------offer---------------{\"type\":\"answer\",\"sdp\":\"\"}";
    assert_eq!(frame.encode().unwrap(), golden);
}

#[test]
fn other_versions_and_kinds_are_told_apart_from_garbage() {
    assert_eq!(
        Frame::decode(b"\x02\x01").unwrap_err(),
        FrameError::Version(2)
    );
    assert_eq!(FrameKind::of(b"\x01\x09"), Err(FrameError::Kind(9)));
    assert_eq!(FrameKind::of(b""), Err(FrameError::Malformed));
    assert_eq!(
        FrameKind::of(&vec![1; MAX_FRAME + 1]),
        Err(FrameError::TooLarge)
    );
    assert!("00112233445566AA".parse::<NodeId>().is_err());
    assert!("+011223344556677".parse::<NodeId>().is_err());
}

#[test]
fn only_session_descriptions_are_accepted() {
    let head = |text: &str| {
        let mut bytes = vec![VERSION, 2];
        bytes.extend_from_slice(&[0; 88]);
        bytes.extend_from_slice(text.as_bytes());
        bytes
    };
    assert!(Frame::decode(&head("{\"type\":\"answer\",\"sdp\":\"\"}")).is_ok());
    for bad in [
        "",
        "{}",
        "null",
        "\"type sdp\"",
        "{\"type\":1,\"sdp\":",
        "{\"type\":\"a\",\"sdp\":\"\"},\"failure reason\":\"x\"",
        " {\"type\":\"answer\",\"sdp\":\"\"}",
    ] {
        let error = Frame::decode(&head(bad)).unwrap_err();
        assert_eq!(error, FrameError::Description, "{bad}");
    }
}

#[test]
fn a_frame_is_bounded() {
    let long = description("offer", &"x".repeat(MAX_FRAME));
    let offer = RelayedOffer {
        offer_id: OfferId::new([1; 20]),
        offer: &long,
    };
    let frame = |offers| Frame {
        node: NodeId::new(1),
        body: Body::Offers(Offers {
            info_hash: InfoHash::new([1; 20]),
            peer_id: PeerId::new([1; 20]),
            incomplete_only: false,
            offers,
        }),
    };
    assert_eq!(frame(vec![offer]).encode(), Err(FrameError::TooLarge));
    assert_eq!(frame(Vec::new()).encode(), Err(FrameError::Malformed));
}
