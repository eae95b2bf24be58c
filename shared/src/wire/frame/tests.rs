use proptest::prelude::*;

use super::*;
use crate::crypto::PublicKeys;
use crate::crypto::admission::Proof;
use crate::crypto::manifest::CHUNK;
use crate::{MessageId, PeerId};

const ID: MessageId = MessageId::new([1; 20]);
const ALICE: PeerId = PeerId::new([2; 20]);
const BOB: PeerId = PeerId::new([3; 20]);

fn all() -> Vec<Frame> {
    vec![
        Auth {
            proof: Proof {
                signature: [4; 64],
                mac: [5; 32],
            },
        }
        .into(),
        Goodbye {
            reason: GoodbyeReason::Full,
            peers: vec![ALICE, BOB],
        }
        .into(),
        Neighbor {
            epoch: 1_800_000_000_000,
            links: 3,
            max_links: 6,
        }
        .into(),
        LinkRequest {
            id: ID,
            from: ALICE,
            hops: 5,
            purpose: Purpose::Links,
            missing: 4,
            target: WalkTarget::Random,
        }
        .into(),
        Signal {
            id: ID,
            kind: SignalKind::Answer,
            from: ALICE,
            to: BOB,
            sdp: (*b"v=0").into(),
        }
        .into(),
        Split { id: ID, peer: BOB }.into(),
        Shuffle {
            id: ID,
            from: ALICE,
            hops: 2,
            peers: vec![BOB],
        }
        .into(),
        ShuffleReply {
            id: ID,
            peers: vec![ALICE, BOB],
        }
        .into(),
        Flip {
            id: ID,
            step: FlipStep::Prepare,
            peer: BOB,
        }
        .into(),
        IHave {
            ids: vec![ID],
            pull: true,
        }
        .into(),
        Graft.into(),
        Prune.into(),
        Digest {
            from_ms: 1_700_000_000_000,
            to_ms: 1_700_000_300_000,
            count: 1,
            xor_hash: 0x0101_0101_0101_0101,
            reply: true,
            ids: vec![ID],
        }
        .into(),
        Pull { ids: vec![ID] }.into(),
        Beacons {
            beacons: vec![(28_333_333, ID)],
        }
        .into(),
        LinkRequest {
            id: ID,
            from: ALICE,
            hops: 0,
            purpose: Purpose::Direct,
            missing: 1,
            target: WalkTarget::To(BOB),
        }
        .into(),
        LinkRequest {
            id: ID,
            from: ALICE,
            hops: 0,
            purpose: Purpose::Flip,
            missing: 0,
            target: WalkTarget::Along(ID),
        }
        .into(),
        gossip(Pushed::Flood),
        ChunkRequest {
            message: ID,
            indices: vec![0, 127, 128, 1023],
        }
        .into(),
        Chunk {
            message: ID,
            index: 300,
            data: (*b"piece").into(),
        }
        .into(),
        Route {
            hops: 1,
            hop_limit: 16,
            flood: true,
            sealed: sealed(b"sealed"),
        }
        .into(),
        Ack {
            id: ID,
            from: BOB,
            to: ALICE,
            hops: 2,
            hop_limit: 16,
            proof: [6; 16],
        }
        .into(),
        RouteError { id: ID, from: BOB }.into(),
        Who {
            id: ID,
            to: BOB,
            hops: 0,
            hop_limit: 16,
        }
        .into(),
        Keys {
            id: ID,
            keys: PublicKeys::new([7; 64]),
            hops: 1,
        }
        .into(),
        Ping {
            token: u64::MAX,
            links: 1,
            lateness_ms: 0,
        }
        .into(),
        Pong {
            token: 0,
            links: u32::MAX,
            lateness_ms: 250,
        }
        .into(),
        gossip(Pushed::Tree),
        gossip(Pushed::Pulled),
        gossip(Pushed::Renewed),
    ]
}

fn gossip(pushed: Pushed) -> Frame {
    Frame::from(Gossip {
        hops: 2,
        pushed,
        has: vec![ALICE],
        envelope: (*b"envelope").into(),
    })
}

fn sealed(body: &[u8]) -> Arc<Sealed> {
    Arc::new(Sealed {
        id: ID,
        from: ALICE,
        to: BOB,
        body: body.into(),
    })
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    bytes
}

#[test]
fn every_frame_comes_back_and_no_cut_one_does() {
    for frame in all() {
        let bytes = encode(&frame);
        assert_eq!(Frame::decode(&bytes).as_ref(), Ok(&frame));
        // The byte string at the end ends with the frame: a shorter one is another frame.
        let open = match &frame {
            Frame::Gossip(gossip) => gossip.envelope.len(),
            Frame::Chunk(chunk) => chunk.data.len(),
            Frame::Route(route) => route.sealed.body.len(),
            Frame::Signal(signal) => signal.sdp.len(),
            _ => 0,
        };
        for end in 0..bytes.len() - open {
            let error = Frame::decode(&bytes[..end]).unwrap_err();
            assert_eq!(error, FrameError::Truncated, "{frame:?} cut at {end}");
        }
        if open == 0 {
            let mut long = bytes.clone();
            long.push(0);
            assert_eq!(Frame::decode(&long), Err(FrameError::Trailing));
        }
        let mut flagged = bytes;
        flagged[1] |= 0x80;
        assert_eq!(
            Frame::decode(&flagged).as_ref(),
            Ok(&frame),
            "unknown flags"
        );
    }
}

#[test]
fn unknown_types_are_skipped_or_close() {
    assert_eq!(Frame::decode(&[0x7f, 0, 1, 2]), Ok(Frame::Unknown(0x7f)));
    assert_eq!(Frame::decode(&[0x80, 0]), Err(FrameError::Unknown));
    assert_eq!(Frame::decode(&[]), Err(FrameError::Truncated));
}

#[test]
fn lists_and_bodies_have_limits() {
    let gossip = |has: usize, envelope: usize| {
        Frame::from(Gossip {
            hops: 0,
            pushed: Pushed::Flood,
            has: vec![ALICE; has],
            envelope: vec![0; envelope].into(),
        })
    };
    let frames = |more: usize| {
        [
            gossip(MAX_HAS + more, 0),
            Goodbye {
                reason: GoodbyeReason::Other(9),
                peers: vec![ALICE; MAX_PEERS + more],
            }
            .into(),
            ChunkRequest {
                message: ID,
                indices: vec![1; MAX_INDICES + more],
            }
            .into(),
            gossip(0, MAX_BODY + more),
            Chunk {
                message: ID,
                index: 0,
                data: vec![0; CHUNK + more].into(),
            }
            .into(),
            Route {
                hops: 0,
                hop_limit: 0,
                flood: false,
                sealed: sealed(&vec![0; MAX_BODY + more]),
            }
            .into(),
        ]
    };
    for frame in frames(0) {
        assert!(Frame::decode(&encode(&frame)).is_ok(), "at its limit");
    }
    for frame in frames(1) {
        assert_eq!(Frame::decode(&encode(&frame)), Err(FrameError::TooLong));
    }
}

/// The largest frame of each kind, or one with longer lists and byte strings.
fn largest(more: usize) -> Vec<Frame> {
    let (ids, peers) = (|count| vec![ID; count + more], vec![BOB; MAX_PEERS + more]);
    let bytes = |length| vec![0; length + more].into();
    let (hops, hop_limit, token, links) = (u8::MAX, u8::MAX, u64::MAX, u32::MAX);
    vec![
        Auth {
            proof: Proof {
                signature: [4; 64],
                mac: [5; 32],
            },
        }
        .into(),
        Goodbye {
            reason: GoodbyeReason::Other(u8::MAX),
            peers: peers.clone(),
        }
        .into(),
        Neighbor {
            epoch: u64::MAX,
            links,
            max_links: u32::MAX,
        }
        .into(),
        LinkRequest {
            id: ID,
            from: ALICE,
            hops,
            purpose: Purpose::Merge,
            missing: u32::MAX,
            target: WalkTarget::Along(ID),
        }
        .into(),
        Signal {
            id: ID,
            kind: SignalKind::Offer,
            from: ALICE,
            to: BOB,
            sdp: bytes(MAX_SDP),
        }
        .into(),
        Split { id: ID, peer: BOB }.into(),
        Shuffle {
            id: ID,
            from: ALICE,
            hops,
            peers: peers.clone(),
        }
        .into(),
        ShuffleReply { id: ID, peers }.into(),
        Flip {
            id: ID,
            step: FlipStep::Propose,
            peer: BOB,
        }
        .into(),
        Gossip {
            hops,
            pushed: Pushed::Tree,
            has: vec![ALICE; MAX_HAS + more],
            envelope: bytes(MAX_BODY),
        }
        .into(),
        IHave {
            ids: ids(MAX_MESSAGES),
            pull: false,
        }
        .into(),
        Graft.into(),
        Prune.into(),
        Digest {
            from_ms: u64::MAX,
            to_ms: u64::MAX,
            count: u32::MAX,
            xor_hash: u64::MAX,
            reply: true,
            ids: ids(MAX_DIGEST),
        }
        .into(),
        Pull {
            ids: ids(MAX_MESSAGES),
        }
        .into(),
        ChunkRequest {
            message: ID,
            indices: vec![u32::MAX; MAX_INDICES + more],
        }
        .into(),
        Chunk {
            message: ID,
            index: u32::MAX,
            data: bytes(CHUNK),
        }
        .into(),
        Route {
            hops,
            hop_limit,
            flood: false,
            sealed: sealed(&vec![0; MAX_BODY + more]),
        }
        .into(),
        Ack {
            id: ID,
            from: ALICE,
            to: BOB,
            hops,
            hop_limit,
            proof: [6; 16],
        }
        .into(),
        RouteError { id: ID, from: BOB }.into(),
        Who {
            id: ID,
            to: BOB,
            hops,
            hop_limit,
        }
        .into(),
        Keys {
            id: ID,
            keys: PublicKeys::new([7; 64]),
            hops,
        }
        .into(),
        Beacons {
            beacons: vec![(u64::MAX, ID); MAX_BEACONS + more],
        }
        .into(),
        Ping {
            token,
            links,
            lateness_ms: u32::MAX,
        }
        .into(),
        Pong {
            token,
            links,
            lateness_ms: u32::MAX,
        }
        .into(),
    ]
}

#[test]
fn max_len_is_the_length_of_the_largest_frame() {
    let (frames, longer) = (largest(0), largest(1));
    for kind in 0..=u8::MAX {
        let there = frames.iter().any(|frame| frame.kind() == kind);
        assert_eq!(Frame::max_len(kind).is_some(), there, "{kind:#04x}");
    }
    for (frame, longer) in frames.iter().zip(&longer) {
        let kind = frame.kind();
        let mut bytes = encode(frame);
        assert_eq!(Some(bytes.len()), Frame::max_len(kind), "{kind:#04x}");
        assert_eq!(Frame::decode(&bytes).as_ref(), Ok(frame), "{kind:#04x}");
        bytes.push(0);
        let error = Frame::decode(&bytes).unwrap_err();
        assert!(
            matches!(error, FrameError::Trailing | FrameError::TooLong),
            "{kind:#04x} with a byte more: {error}"
        );
        if longer != frame {
            let error = Frame::decode(&encode(longer));
            assert_eq!(error, Err(FrameError::TooLong), "{kind:#04x}");
        }
    }
}

/// These bytes never change: another implementation can rely on them.
#[test]
fn golden_vectors() {
    let vectors: Vec<(String, String)> =
        serde_json::from_str(include_str!("../../../vectors/frames.json")).unwrap();
    let named = [
        ("auth", 0),
        ("goodbye", 1),
        ("neighbor", 2),
        ("need", 3),
        ("need_to", 15),
        ("need_along", 16),
        ("signal", 4),
        ("split", 5),
        ("shuffle", 6),
        ("shuffle_reply", 7),
        ("flip", 8),
        ("i_have", 9),
        ("graft", 10),
        ("prune", 11),
        ("digest", 12),
        ("pull", 13),
        ("beacons", 14),
        ("gossip", 17),
        ("chunk_request", 18),
        ("chunk", 19),
        ("route", 20),
        ("ack", 21),
        ("route_error", 22),
        ("who", 23),
        ("keys", 24),
        ("ping", 25),
        ("pong", 26),
        ("gossip_tree", 27),
        ("gossip_pulled", 28),
        ("gossip_renewed", 29),
    ];
    let frames = all();
    assert_eq!(named.len(), frames.len(), "every frame has a vector");
    let made = named.map(|(name, at): (&str, usize)| {
        let bytes = encode(&frames[at]);
        (name.to_owned(), data_encoding::HEXLOWER.encode(&bytes))
    });
    assert_eq!(vectors, made);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(frame) = Frame::decode(&bytes)
            && !matches!(frame, Frame::Unknown(_))
        {
            let mut again = encode(&frame);
            // Unknown flags are not kept.
            again[1] = bytes[1];
            prop_assert_eq!(again, bytes, "one frame has one form");
        }
    }
}
