//! Control frames, close codes and the closing handshake: sections 5.5, 7.1 and 7.4.

use tracker::ws::{Close, CloseCode, CloseReason, ProtocolError, Status, frame as server};

use super::support::*;

const CONTROL: [u8; 3] = [CLOSE, PING, PONG];

#[test]
fn s5_5_control_frames_are_short() {
    for first in CONTROL {
        for length in [126, 127] {
            let frames = [raw([first, 0x80 | length])];
            refused("too long", &frames, ProtocolError::ControlTooLong, 1002);
        }
    }
}

#[test]
fn s5_5_control_frames_are_whole() {
    for first in CONTROL {
        let part = first & !FIN;
        refused(
            "part",
            &[raw([part])],
            ProtocolError::FragmentedControl,
            1002,
        );
        let frames = [frame(TEXT, "a"), raw([part])];
        refused(
            "part inside",
            &frames,
            ProtocolError::FragmentedControl,
            1002,
        );
    }
}

#[test]
fn s5_5_1_close_is_echoed() {
    check(
        "empty",
        &[frame(CLOSE, "")],
        &open().out([0x88, 0]).closed(CloseReason::Peer(None)),
    );
    check(
        "code",
        &[frame(CLOSE, [0x03, 0xe8])],
        &open()
            .out([0x88, 2, 0x03, 0xe8])
            .closed(CloseReason::Peer(Some(CloseCode::Normal))),
    );
    check(
        "code and reason",
        &[frame(CLOSE, b"\x03\xe9\xe2\x82\xac bye")],
        &open()
            .out([0x88, 2, 0x03, 0xe9])
            .closed(CloseReason::Peer(Some(CloseCode::Away))),
    );
    let mut longest = vec![0x0f, 0xa0];
    longest.extend([b'x'; 123]);
    check(
        "longest",
        &[frame(CLOSE, longest)],
        &open()
            .out([0x88, 2, 0x0f, 0xa0])
            .closed(CloseReason::Peer(Some(CloseCode::Library(4000)))),
    );
}

#[test]
fn s5_5_1_nothing_counts_after_a_close() {
    let closed = |outcome: Outcome| outcome.out([0x88, 0]).closed(CloseReason::Peer(None));
    let frames = [
        frame(FIN | TEXT, "a"),
        frame(CLOSE, ""),
        frame(FIN | TEXT, "b"),
        frame(PING, "x"),
        frame(PONG, ""),
        frame(CLOSE, [0x03, 0xe8]),
        raw([0xff, 0xff]),
    ];
    check("after", &frames, &closed(open().text("a")));
    check(
        "in a message",
        &[frame(TEXT, "a"), frame(CLOSE, "")],
        &closed(open()),
    );
}

#[test]
fn s5_5_1_close_payload() {
    use ProtocolError::{InvalidCloseCode, InvalidCloseLength, InvalidCloseReason};
    for byte in [0, 3, 0xff] {
        refused(
            "one byte",
            &[frame(CLOSE, [byte])],
            InvalidCloseLength,
            1002,
        );
    }
    for bad in [
        &b"\xff"[..],
        b"a\xc3",
        b"\xed\xa0\x80",
        b"\xc0\x80",
        b"\xf4\x90\x80\x80x",
    ] {
        let payload = [b"\x03\xe8", bad].concat();
        refused("reason", &[frame(CLOSE, payload)], InvalidCloseReason, 1007);
    }
    let payload = b"\x03\xed\xff";
    refused(
        "code first",
        &[frame(CLOSE, payload)],
        InvalidCloseCode,
        1002,
    );
}

#[test]
fn s5_5_2_pings_are_answered() {
    check("empty", &[frame(PING, "")], &open().out([0x8a, 0]));
    check(
        "text",
        &[frame(PING, "Hello")],
        &open().out(b"\x8a\x05Hello"),
    );
    check(
        "bytes",
        &[frame(PING, [0, 0xff, 0xfe])],
        &open().out([0x8a, 3, 0, 0xff, 0xfe]),
    );
    let mut pong = vec![0x8a, 125];
    pong.extend([0xfe; 125]);
    check("longest", &[frame(PING, [0xfe; 125])], &open().out(pong));
    let frames = [
        frame(PING, "1"),
        frame(FIN | TEXT, "a"),
        frame(PING, "2"),
        frame(PING, ""),
        frame(CLOSE, ""),
        frame(PING, "3"),
    ];
    let expected = open()
        .text("a")
        .out(b"\x8a\x011\x8a\x012\x8a\x00\x88\x00")
        .closed(CloseReason::Peer(None));
    check("in order", &frames, &expected);
}

#[test]
fn s5_5_3_pongs_need_not_be_asked_for() {
    check("empty", &[frame(PONG, "")], &open().pong());
    check(
        "text",
        &[frame(PONG, "Hello"), frame(FIN | TEXT, "a")],
        &open().text("a").pong(),
    );
    check("longest", &[frame(PONG, [0xfe; 125])], &open().pong());
}

#[test]
fn s7_4_table_of_codes() {
    let valid = [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3001, 3999,
        4000, 4001, 4999,
    ];
    let invalid = [
        0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 5001, 32768, 65535,
    ];
    for code in valid {
        let payload = u16::to_be_bytes(code);
        let expected = open()
            .out([0x88, 2, payload[0], payload[1]])
            .closed(CloseReason::Peer(Some(code.into())));
        check("valid", &[frame(CLOSE, payload)], &expected);
    }
    for code in invalid {
        let frames = [frame(CLOSE, u16::to_be_bytes(code))];
        refused("invalid", &frames, ProtocolError::InvalidCloseCode, 1002);
    }
}

#[test]
fn s7_4_every_code() {
    for code in 0..=u16::MAX {
        let valid = match code {
            1004..=1006 => false,
            1000..=1014 | 3000..=3999 | 4000..=4999 => true,
            _ => false,
        };
        let frames = [frame(CLOSE, code.to_be_bytes())];
        let mut run = Run::new(LIMIT);
        run.feed(&encode(&frames, &mut Keys::new(code.into())));
        let reason = if valid {
            CloseReason::Peer(Some(code.into()))
        } else {
            CloseReason::Protocol(ProtocolError::InvalidCloseCode)
        };
        assert_eq!(run.outcome.status, Status::Closed(reason), "{code}");
    }
}

/// Whatever the peer was in the middle of, only its Close counts after ours.
#[test]
fn s7_1_2_we_close_first() {
    let frames = [
        frame(TEXT, "a€"),
        frame(PING, "p"),
        frame(FIN | CONTINUE, "b"),
        frame(FIN | BINARY, "c".repeat(130)),
        frame(PONG, ""),
        frame(FIN | TEXT, "d"),
        frame(CLOSE, [0x03, 0xe8]),
        frame(FIN | TEXT, "e"),
    ];
    let input = encode(&frames, &mut Keys::new(7));
    let close = close_frame(1001, "bye");
    for at in 0..input.len() - 20 {
        for second in at..input.len() {
            let mut run = Run::new(200);
            run.feed(&input[..at]);
            let before = run.outcome.clone();
            run.close(CloseCode::Away, "bye");
            run.close(CloseCode::Normal, "again");
            assert_eq!(run.ws.status(), Status::Closing);
            let kept = run.ws.heap_size();
            assert!(kept <= heap_limit(0), "the message is dropped");
            run.feed(&input[at..second]);
            run.feed(&input[second..]);
            run.close(CloseCode::Normal, "too late");
            assert_ne!(run.ws.status(), Status::Closing);
            let expected = before.out(&close).closed(CloseReason::Answered).pong();
            assert_eq!(run.outcome, expected, "cut at {at} and {second}");
        }
    }
}

#[test]
fn s7_1_2_while_closing() {
    let after = |frames: &[Frame]| {
        let input = encode(frames, &mut Keys::new(7));
        let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut run = Run::new(100);
            run.close(CloseCode::Normal, "");
            for piece in pieces {
                run.feed(piece);
                assert!(run.ws.heap_size() <= heap_limit(0));
            }
            assert_eq!(run.outcome.out, [0x88, 2, 0x03, 0xe8], "one Close only");
            assert!(run.outcome.messages.is_empty());
            run.outcome.status
        };
        let status = run(&mut std::iter::once(&input[..]));
        assert_eq!(run(&mut input.chunks(1)), status);
        status
    };
    let protocol = |error| Status::Closed(CloseReason::Protocol(error));

    assert_eq!(after(&[]), Status::Closing);
    assert_eq!(after(&[frame(PING, "x")]), Status::Closing);
    assert_eq!(after(&[frame(FIN | TEXT, [0xff])]), Status::Closing);
    assert_eq!(
        after(&[frame(FIN | CONTINUE, "late fragment")]),
        Status::Closing
    );
    let big = frame(FIN | BINARY, vec![0; 70_000]);
    let answered = Status::Closed(CloseReason::Answered);
    assert_eq!(after(&[big, frame(CLOSE, "")]), answered);
    assert_eq!(after(&[short(BINARY, "x", u64::MAX >> 1)]), Status::Closing);
    assert_eq!(
        after(&[raw([FIN | TEXT, 5])]),
        protocol(ProtocolError::UnmaskedFrame)
    );
    assert_eq!(
        after(&[frame(CLOSE, [0])]),
        protocol(ProtocolError::InvalidCloseLength)
    );
}

#[test]
fn s7_1_2_the_callback_closes() {
    let close = Close::new(CloseCode::Policy, "enough");
    let stopped = || Run::new(LIMIT).stop_at(2, close.clone());
    let start = [
        frame(FIN | TEXT, "1"),
        frame(PING, "x"),
        frame(TEXT, "2"),
        frame(FIN | CONTINUE, "+"),
        frame(FIN | TEXT, "3"),
        frame(PING, "y"),
        frame(BINARY, "4"),
    ];
    let mut expected = open().text("1").text("2+").out(b"\x8a\x01x");
    expected = expected.out(close_frame(1008, "enough"));
    expected.status = Status::Closing;
    check_with("waits", stopped, &start, &expected);
    let frames = [&start[..], &[frame(CLOSE, "")]].concat();
    let expected = expected.closed(CloseReason::Answered);
    check_with("answered", stopped, &frames, &expected);
}

#[test]
fn closing_a_closed_connection_does_nothing() {
    for input in [frame(CLOSE, ""), raw([0xff])] {
        let mut run = Run::new(LIMIT);
        run.feed(&encode(&[input], &mut Keys::new(0)));
        let before = run.outcome.clone();
        run.close(CloseCode::Normal, "");
        assert_eq!(run.outcome, before);
    }
}

#[test]
fn every_error_fits_into_a_close_frame() {
    let mut out = Vec::new();
    for error in [
        ProtocolError::NonMinimalLength,
        ProtocolError::UnexpectedContinuation,
        ProtocolError::ExpectedContinuation,
    ] {
        out.clear();
        server::write_close(&mut out, error.code(), &error.to_string());
        assert_eq!(out, close_frame(error.code().into(), &error.to_string()));
    }
}
