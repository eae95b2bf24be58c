//! Splits, caps and memory of the decoder.

use super::*;
use crate::{InfoHash, PeerId};
use proptest::prelude::*;

/// Feeds the pieces. Returns all events, and the error if there was one.
fn decode<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Event<'a>>, Option<StreamError>, Decoder) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    let mut fed = 0;
    for mut piece in pieces {
        fed += piece.len();
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next(&mut piece), Err(error));
                    return (events, Some(error), decoder);
                }
            }
        }
        assert!(piece.is_empty());
        assert!(decoder.heap_bytes() <= (2 * fed).min(MAX_MESSAGE as usize));
    }
    (events, None, decoder)
}

fn handshake() -> Handshake {
    Handshake::new(InfoHash::new([3; 20]), PeerId::new([4; 20]))
}

/// A stream with everything in it, and its events.
fn sample() -> (Vec<u8>, Vec<Event<'static>>) {
    let extended = |id, payload: &[u8]| Event::Extended {
        id,
        payload: Cow::Owned(payload.to_vec()),
    };
    let mut out = handshake().encode().to_vec();
    write_extended(0, b"d1:md12:sw_easypeersi7eee", &mut out).unwrap();
    write_keep_alive(&mut out);
    // Bitfield, have all, an unknown type.
    out.extend_from_slice(&[0, 0, 0, 3, 5, 0xff, 0xff, 0, 0, 0, 1, 14, 0, 0, 0, 2, 99, 0]);
    write_extended(7, b"", &mut out).unwrap();
    write_extended(7, b"5:hello", &mut out).unwrap();
    write_keep_alive(&mut out);
    let events = vec![
        Event::Handshake(handshake()),
        extended(0, b"d1:md12:sw_easypeersi7eee"),
        Event::KeepAlive,
        Event::Other { kind: 5 },
        Event::Other { kind: 14 },
        Event::Other { kind: 99 },
        extended(7, b""),
        extended(7, b"5:hello"),
        Event::KeepAlive,
    ];
    (out, events)
}

#[test]
fn a_stream_in_two_pieces_or_in_single_bytes_gives_the_same_events() {
    let (bytes, events) = sample();
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        let (got, error, decoder) = decode([a, b]);
        assert_eq!((got, error), (events.clone(), None), "cut at {cut}");
        assert_eq!(decoder.heap_bytes(), 0);
    }
    let (got, error, _) = decode(bytes.chunks(1));
    assert_eq!((got, error), (events, None));
}

#[test]
fn a_payload_in_one_piece_is_borrowed() {
    let (bytes, _) = sample();
    let (events, _, _) = decode([&bytes[..]]);
    let owned = |event: &&Event<'_>| matches!(event, Event::Extended { payload, .. } if matches!(payload, Cow::Owned(_)));
    assert_eq!(events.iter().filter(owned).count(), 0);
}

#[test]
fn a_length_alone_allocates_nothing_and_too_long_is_an_error() {
    let mut bytes = handshake().encode().to_vec();
    bytes.extend_from_slice(&MAX_MESSAGE.to_be_bytes());
    bytes.extend_from_slice(&[EXTENDED, 1, 42]);
    let (events, error, mut decoder) = decode([&bytes[..]]);
    assert_eq!((events.len(), error), (1, None));
    assert_eq!(decoder.heap_bytes(), 1);
    let rest = vec![0; MAX_MESSAGE as usize - 3];
    let mut most = 0;
    for mut piece in rest.chunks(1000) {
        if let Some(Event::Extended { payload, .. }) = decoder.next(&mut piece).unwrap() {
            assert_eq!(payload.len(), MAX_MESSAGE as usize - 2);
            most = MAX_MESSAGE;
        }
        assert!(decoder.heap_bytes() <= MAX_MESSAGE as usize - 2);
    }
    assert_eq!((most, decoder.heap_bytes()), (MAX_MESSAGE, 0));

    let mut too_long = handshake().encode().to_vec();
    too_long.extend_from_slice(&(MAX_MESSAGE + 1).to_be_bytes());
    let (_, error, _) = decode([&too_long[..]]);
    assert_eq!(error, Some(StreamError::TooLong(MAX_MESSAGE + 1)));
    let payload = vec![0; MAX_MESSAGE as usize - 1];
    let mut out = Vec::new();
    assert!(write_extended(1, &payload, &mut out).is_err() && out.is_empty());
    assert!(write_extended(1, &payload[1..], &mut out).is_ok());
}

#[test]
fn another_protocol_is_known_by_its_first_wrong_byte() {
    let (_, error, _) = decode([&b"GET / HTTP"[..]]);
    let length = HandshakeError::ProtocolLength(b'G');
    assert_eq!(error, Some(StreamError::Handshake(length)));
    let (_, error, _) = decode([&b"\x13Bitcoin"[..]]);
    let name = HandshakeError::ProtocolName;
    assert_eq!(error, Some(StreamError::Handshake(name)));
    let bytes = [&handshake().encode()[..], &[0, 0, 0, 1, 20]].concat();
    assert_eq!(decode([&bytes[..]]).1, Some(StreamError::NoExtensionId));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_split_changes_the_events(cuts in prop::collection::vec(0usize..200, 0..30)) {
        let (bytes, events) = sample();
        let mut rest = &bytes[..];
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        pieces.push(rest);
        let (got, error, _) = decode(pieces);
        prop_assert_eq!((got, error), (events, None));
    }

    #[test]
    fn any_bytes_are_decoded_without_panic(
        bytes: Vec<u8>,
        start in 0usize..3,
        piece in 1usize..50,
    ) {
        let mut stream = handshake().encode()[..[0, 40, 68][start]].to_vec();
        // Lengths that are likely to be short.
        for (index, byte) in bytes.iter().enumerate() {
            stream.push(if index % 7 < 3 { 0 } else { *byte });
        }
        let (whole, error, _) = decode([&stream[..]]);
        let (cut, cut_error, _) = decode(stream.chunks(piece));
        prop_assert_eq!((whole, error), (cut, cut_error));
    }
}
