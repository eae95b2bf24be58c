//! Masking, header fields, lengths, fragments and limits: sections 5.1 to 5.4, 5.6 and 10.4.

use tracker::ws::ProtocolError;

use super::support::*;

#[test]
fn s5_1_client_frames_must_be_masked() {
    let error = ProtocolError::UnmaskedFrame;
    for first in [FIN | TEXT, TEXT, FIN | BINARY, CLOSE, PING, PONG] {
        refused("unmasked, empty", &[raw([first, 0])], error, 1002);
        refused("unmasked", &[raw([first, 5])], error, 1002);
    }
    refused("unmasked, long", &[raw([FIN | TEXT, 126])], error, 1002);
    refused("unmasked, longer", &[raw([FIN | TEXT, 127])], error, 1002);
}

#[test]
fn s5_2_reserved_bits_must_be_zero() {
    for bits in 1..8 {
        for first in [FIN | TEXT, BINARY, CONTINUE, CLOSE, PING, 0x3, FIN | 0xf] {
            refused(
                "reserved bits",
                &[raw([first | bits << 4])],
                ProtocolError::ReservedBits,
                1002,
            );
        }
    }
}

#[test]
fn s5_2_reserved_opcodes() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for fin in [0, FIN] {
            refused(
                "reserved opcode",
                &[raw([fin | opcode])],
                ProtocolError::ReservedOpcode,
                1002,
            );
        }
    }
}

#[test]
fn s5_2_lengths() {
    for length in [
        0, 1, 2, 7, 8, 9, 124, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537,
    ] {
        let mut text = "a€é🦀b".repeat(length / 22);
        text.push_str(&"x".repeat(length - text.len()));
        check("text", &[frame(FIN | TEXT, &text)], &open().text(&text));
        let bytes: Vec<u8> = (0..length).map(|i| i as u8 ^ 0xa5).collect();
        check(
            "binary",
            &[frame(FIN | BINARY, &bytes)],
            &open().binary(&bytes),
        );
    }
}

#[test]
fn s5_2_lengths_in_their_shortest_form() {
    let error = ProtocolError::NonMinimalLength;
    for length in [0_u16, 1, 125] {
        let mut header = vec![FIN | TEXT, 0x80 | 126];
        header.extend(length.to_be_bytes());
        refused("16 bits", &[raw(header)], error, 1002);
    }
    for length in [0_u64, 125, 126, 65535] {
        let mut header = vec![FIN | BINARY, 0x80 | 127];
        header.extend(length.to_be_bytes());
        refused("64 bits", &[raw(header)], error, 1002);
    }
}

#[test]
fn s5_2_top_bit_of_the_length() {
    for length in [1 << 63, u64::MAX, 1 << 63 | 5] {
        let mut header = vec![FIN | TEXT, 0x80 | 127];
        header.extend(u64::to_be_bytes(length));
        refused("top bit", &[raw(header)], ProtocolError::LengthTopBit, 1002);
    }
}

#[test]
fn s5_4_fragments() {
    check(
        "two",
        &[frame(TEXT, "Hel"), frame(FIN | CONTINUE, "lo")],
        &open().text("Hello"),
    );
    check(
        "many, some empty",
        &[
            frame(BINARY, ""),
            frame(CONTINUE, "a"),
            frame(CONTINUE, ""),
            frame(CONTINUE, "bc"),
            frame(FIN | CONTINUE, ""),
        ],
        &open().binary(b"abc"),
    );
    check(
        "all empty",
        &[
            frame(TEXT, ""),
            frame(CONTINUE, ""),
            frame(FIN | CONTINUE, ""),
        ],
        &open().text(""),
    );
    check(
        "whole ones around",
        &[
            frame(FIN | BINARY, "1"),
            frame(TEXT, "2"),
            frame(FIN | CONTINUE, "3"),
            frame(FIN | TEXT, "4"),
            frame(TEXT, "5"),
            frame(FIN | CONTINUE, "6"),
        ],
        &open().binary(b"1").text("23").text("4").text("56"),
    );
    check(
        "unfinished",
        &[frame(TEXT, "Hel"), frame(CONTINUE, "l")],
        &open(),
    );
}

#[test]
fn s5_4_control_frames_between_fragments() {
    check(
        "pings",
        &[
            frame(PING, "0"),
            frame(TEXT, "a"),
            frame(PING, "1"),
            frame(PONG, "x"),
            frame(CONTINUE, "b"),
            frame(PING, "2"),
            frame(FIN | CONTINUE, "c"),
        ],
        &open()
            .text("abc")
            .out(b"\x8a\x010\x8a\x011\x8a\x012")
            .pong(),
    );
}

#[test]
fn s5_4_order_of_fragments() {
    use ProtocolError::{ExpectedContinuation, UnexpectedContinuation};
    for first in [CONTINUE, FIN | CONTINUE] {
        refused(
            "nothing to continue",
            &[raw([first])],
            UnexpectedContinuation,
            1002,
        );
        let frames = [frame(TEXT, "a"), frame(FIN | CONTINUE, "b"), raw([first])];
        check_refused(
            "after",
            LIMIT,
            &frames,
            open().text("ab"),
            UnexpectedContinuation,
            1002,
        );
        let frames = [frame(FIN | TEXT, "a"), raw([first])];
        check_refused(
            "after a whole",
            LIMIT,
            &frames,
            open().text("a"),
            UnexpectedContinuation,
            1002,
        );
    }
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        let frames = [frame(TEXT, "a"), raw([first])];
        refused("inside", &frames, ExpectedContinuation, 1002);
        let frames = [
            frame(BINARY, ""),
            frame(PONG, ""),
            frame(CONTINUE, ""),
            raw([first]),
        ];
        check_refused(
            "inside",
            LIMIT,
            &frames,
            open().pong(),
            ExpectedContinuation,
            1002,
        );
    }
}

#[test]
fn s5_6_binary_is_any_bytes() {
    let bytes: Vec<u8> = (0..=255).collect();
    check(
        "whole",
        &[frame(FIN | BINARY, &bytes)],
        &open().binary(&bytes),
    );
    let frames = [
        frame(BINARY, &bytes[..200]),
        frame(FIN | CONTINUE, &bytes[200..]),
    ];
    check("fragments", &frames, &open().binary(&bytes));
}

#[test]
fn s10_4_messages_up_to_the_limit() {
    let limited = || Run::new(200);
    let text = "x".repeat(200);
    check_with(
        "whole",
        limited,
        &[frame(FIN | TEXT, &text)],
        &open().text(&text),
    );
    let frames = [
        frame(TEXT, &text[..100]),
        frame(PING, "x".repeat(125)),
        frame(CONTINUE, &text[100..199]),
        frame(FIN | CONTINUE, &text[199..]),
        frame(FIN | TEXT, &text),
    ];
    let mut pong = vec![0x8a, 125];
    pong.extend(&text.as_bytes()[..125]);
    check_with(
        "fragments",
        limited,
        &frames,
        &open().text(&text).text(&text).out(pong),
    );
    check_with(
        "none",
        || Run::new(0),
        &[frame(FIN | TEXT, "")],
        &open().text(""),
    );
}

/// The header is enough to refuse a frame: at the last byte of the length, before the key.
#[test]
fn s10_4_messages_beyond_the_limit() {
    let too_big = |name: &str, limit, frames: &[Frame]| {
        check_refused(
            name,
            limit,
            frames,
            open(),
            ProtocolError::MessageTooBig,
            1009,
        );
    };
    too_big("7 bits", 100, &[raw([FIN | TEXT, 0x80 | 101])]);
    too_big("16 bits", 200, &[raw([FIN | BINARY, 0x80 | 126, 0, 201])]);
    too_big(
        "64 bits",
        65536,
        &[raw([FIN | TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 1])],
    );
    let huge = raw([BINARY, 0x80 | 127, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
    too_big("2^63 - 1", LIMIT, &[huge]);
    too_big("nothing fits", 0, &[raw([FIN | TEXT, 0x81])]);
    let sum = [frame(TEXT, "x".repeat(60)), raw([CONTINUE, 0x80 | 41])];
    too_big("sum", 100, &sum);
    let sum = [
        frame(BINARY, "x".repeat(100)),
        frame(CONTINUE, ""),
        raw([CONTINUE, 0x81]),
    ];
    too_big("sum", 100, &sum);
    let header = encode(&[short(CONTINUE, "", 1 << 40)], &mut Keys::new(0));
    let sum = [frame(TEXT, "x"), raw(&header[..10])];
    too_big("sum, 64 bits", LIMIT, &sum);
}

/// Memory grows with what has arrived, not with what is announced.
#[test]
fn s10_4_memory() {
    let mut run = Run::new(LIMIT);
    run.feed(&encode(
        &[short(FIN | BINARY, "x", 1 << 20)],
        &mut Keys::new(1),
    ));
    assert!(run.ws.heap_size() <= heap_limit(16));
    run.feed(&[0; 100]);
    assert!(run.ws.heap_size() <= heap_limit(256));

    let mut run = Run::new(10_000);
    for part in [frame(BINARY, vec![0; 6000]), frame(CONTINUE, vec![0; 3000])] {
        run.feed(&encode(&[part], &mut Keys::new(1)));
    }
    assert!(run.ws.heap_size() <= heap_limit(10_000));
    run.close(tracker::ws::CloseCode::Normal, "");
    assert_eq!(run.ws.heap_size(), 0, "dropped by our Close");

    // Growing by single bytes must not copy everything every time.
    let mut run = Run::new(LIMIT);
    run.feed(&encode(&[frame(BINARY, "x")], &mut Keys::new(1)));
    let mut growths = 0;
    for _ in 0..10_000 {
        let before = run.ws.heap_size();
        run.feed(&encode(&[frame(CONTINUE, "x")], &mut Keys::new(1)));
        growths += usize::from(run.ws.heap_size() != before);
    }
    assert!(growths < 30, "{growths}");
    run.feed(&encode(&[frame(FIN | CONTINUE, "x")], &mut Keys::new(1)));
    assert_eq!(run.ws.heap_size(), 0);
    assert_eq!(run.outcome, open().binary(&[b'x'; 10_002]));

    // Nothing is kept between whole messages and control frames, however they are cut.
    let frames = [frame(FIN | TEXT, "Hello"), frame(PING, "ping")];
    let input = encode(&frames, &mut Keys::new(1));
    for at in 1..input.len() {
        let mut run = Run::new(LIMIT);
        run.feed(&input[..at]);
        run.feed(&input[at..]);
        assert_eq!(run.ws.heap_size(), 0, "cut at {at}");
    }
}
