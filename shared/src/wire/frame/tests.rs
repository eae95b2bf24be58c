use proptest::prelude::*;

use super::*;
use crate::crypto::manifest::CHUNK;

const ID: MessageId = MessageId::new([1; 20]);
const ALICE: PeerId = PeerId::new([2; 20]);
const BOB: PeerId = PeerId::new([3; 20]);

fn all() -> Vec<Frame<'static>> {
    vec![
        Frame::Auth(Proof {
            signature: [4; 64],
            mac: [5; 32],
        }),
        Frame::Goodbye {
            reason: GoodbyeReason::Full,
            peers: Ids::from(&[ALICE, BOB][..]),
        },
        Frame::Neighbor {
            epoch: 1_800_000_000_000,
            links: 3,
            max_links: 6,
        },
        Frame::Need {
            id: ID,
            from: ALICE,
            hops: 5,
            purpose: Purpose::Links,
            missing: 4,
            course: Course::Random,
        },
        Frame::Signal {
            id: ID,
            kind: SignalKind::Answer,
            from: ALICE,
            to: BOB,
            sdp: b"v=0",
        },
        Frame::Split { id: ID, peer: BOB },
        Frame::Shuffle {
            id: ID,
            from: ALICE,
            hops: 2,
            peers: Ids::from(&[BOB][..]),
        },
        Frame::ShuffleReply {
            id: ID,
            peers: Ids::from(&[ALICE, BOB][..]),
        },
        Frame::Flip {
            id: ID,
            step: FlipStep::Prepare,
            peer: BOB,
        },
        Frame::IHave {
            ids: Ids::from(&[ID][..]),
            pull: true,
        },
        Frame::Graft,
        Frame::Prune,
        Frame::Digest {
            from_ms: 1_700_000_000_000,
            to_ms: 1_700_000_300_000,
            count: 1,
            fold: 0x0101_0101_0101_0101,
            reply: true,
            ids: Ids::from(&[ID][..]),
        },
        Frame::Pull {
            ids: Ids::from(&[ID][..]),
        },
        Frame::Beacons {
            marks: Marks::from(&[(28_333_333, ID)][..]),
        },
        Frame::Need {
            id: ID,
            from: ALICE,
            hops: 0,
            purpose: Purpose::Direct,
            missing: 1,
            course: Course::To(BOB),
        },
        Frame::Need {
            id: ID,
            from: ALICE,
            hops: 0,
            purpose: Purpose::Flip,
            missing: 0,
            course: Course::Along(ID),
        },
        gossip(Pushed::Flood),
        Frame::ChunkRequest {
            message: ID,
            indices: Indices::from(&[0, 127, 128, 1023][..]),
        },
        Frame::Chunk {
            message: ID,
            index: 300,
            data: b"piece",
        },
        Frame::Route {
            hops: 1,
            hop_limit: 16,
            flood: true,
            id: ID,
            from: ALICE,
            to: BOB,
            body: b"sealed",
        },
        Frame::Ack {
            id: ID,
            from: BOB,
            to: ALICE,
            hops: 2,
            hop_limit: 16,
            proof: [6; 16],
        },
        Frame::RouteError { id: ID, from: BOB },
        Frame::Who {
            id: ID,
            to: BOB,
            hops: 0,
            hop_limit: 16,
        },
        Frame::Keys {
            id: ID,
            keys: PublicKeys::new([7; 64]),
            hops: 1,
        },
        Frame::Ping {
            token: u64::MAX,
            links: 1,
            lateness_ms: 0,
        },
        Frame::Pong {
            token: 0,
            links: u32::MAX,
            lateness_ms: 250,
        },
        gossip(Pushed::Tree),
        gossip(Pushed::Pulled),
        gossip(Pushed::Renewed),
    ]
}

fn gossip(pushed: Pushed) -> Frame<'static> {
    Frame::Gossip {
        hops: 2,
        pushed,
        has: Ids::from(&[ALICE][..]),
        envelope: b"envelope",
    }
}

fn encode(frame: &Frame<'_>) -> Vec<u8> {
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
        let open = match frame {
            Frame::Gossip { envelope, .. } => envelope.len(),
            Frame::Chunk { data, .. } => data.len(),
            Frame::Route { body, .. } => body.len(),
            Frame::Signal { sdp, .. } => sdp.len(),
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
    let has = [ALICE; MAX_HAS + 1];
    let peers = [ALICE; MAX_PEERS + 1];
    let indices = [1; MAX_INDICES + 1];
    let (body, piece) = (vec![0; MAX_BODY + 1], vec![0; CHUNK + 1]);
    let frame = |long: usize| {
        [
            Frame::Gossip {
                hops: 0,
                pushed: Pushed::Flood,
                has: Ids::from(&has[1 - long..]),
                envelope: b"",
            },
            Frame::Goodbye {
                reason: GoodbyeReason::Other(9),
                peers: Ids::from(&peers[1 - long..]),
            },
            Frame::ChunkRequest {
                message: ID,
                indices: Indices::from(&indices[1 - long..]),
            },
            Frame::Gossip {
                hops: 0,
                pushed: Pushed::Flood,
                has: Ids::from(&[][..]),
                envelope: &body[1 - long..],
            },
            Frame::Chunk {
                message: ID,
                index: 0,
                data: &piece[1 - long..],
            },
            Frame::Route {
                hops: 0,
                hop_limit: 0,
                flood: false,
                id: ID,
                from: ALICE,
                to: BOB,
                body: &body[1 - long..],
            },
        ]
        .map(|frame| encode(&frame))
    };
    for bytes in frame(0) {
        assert!(Frame::decode(&bytes).is_ok(), "at its limit");
    }
    for bytes in frame(1) {
        assert_eq!(Frame::decode(&bytes), Err(FrameError::TooLong));
    }
}

/// The same bytes for ever: whoever writes another implementation can rely on them.
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
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        (name.to_owned(), hex.concat())
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
