//! Text is UTF-8, checked as it comes: section 8.1.

use tracker::ws::ProtocolError;

use super::support::*;

/// Every length of sequence, its first and last code points, and what lies next to the holes.
const VALID: [&[u8]; 18] = [
    b"\x00",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xe1\x80\x80",
    b"\xec\xbf\xbf",
    b"\xed\x80\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf1\x80\x80\x80",
    b"\xf3\xbf\xbf\xbf",
    b"\xf4\x80\x80\x80",
    b"\xf4\x8f\xbf\xbf",
];

/// Sequences whose last byte is the first impossible one.
const INVALID: [&[u8]; 33] = [
    // Continuations of nothing.
    b"\x80",
    b"\xbf",
    b"a\x80",
    b"\xc3\xa9\x80",
    b"\xe2\x82\xac\x80",
    b"\xf0\x9f\xa6\x80\x80",
    // Bytes that are nowhere: overlong two-byte forms, beyond U+10FFFF, five and six bytes.
    b"\xc0",
    b"\xc1",
    b"\xf5",
    b"\xf7",
    b"\xf8",
    b"\xfb",
    b"\xfc",
    b"\xfd",
    b"\xfe",
    b"\xff",
    // Overlong forms.
    b"\xe0\x80",
    b"\xe0\x9f",
    b"\xf0\x80",
    b"\xf0\x8f",
    // Surrogates.
    b"\xed\xa0",
    b"\xed\xaf",
    b"\xed\xb0",
    b"\xed\xbf",
    // Beyond U+10FFFF.
    b"\xf4\x90",
    b"\xf4\xbf",
    // Sequences that something else cuts off.
    b"\xc3a",
    b"\xe2\x82a",
    b"\xe2\xe2",
    b"\xf0\x9f\xa6a",
    b"\xf0\x9f\xc3",
    b"\xf0a",
    b"\xe1\x80\xff",
];

/// Sequences of which the end is missing.
const TRUNCATED: [&[u8]; 10] = [
    b"\xc3",
    b"\xdf",
    b"\xe0",
    b"\xe2\x82",
    b"\xed\x9f",
    b"\xef\xbf",
    b"\xf0",
    b"\xf0\x9f",
    b"\xf0\x9f\xa6",
    b"\xf4\x8f\xbf",
];

fn invalid(name: &str, frames: &[Frame]) {
    refused(name, frames, ProtocolError::InvalidUtf8, 1007);
}

#[test]
fn s8_1_valid_text() {
    for bytes in VALID {
        let text = std::str::from_utf8(bytes).unwrap();
        check("alone", &[frame(FIN | TEXT, text)], &open().text(text));
        let around = format!("κόσμε {text} x");
        check(
            "around",
            &[frame(FIN | TEXT, &around)],
            &open().text(&around),
        );
    }
}

#[test]
fn s8_1_characters_cut_by_fragments() {
    for bytes in VALID {
        let text = std::str::from_utf8(bytes).unwrap();
        for at in 0..=bytes.len() {
            let (a, b) = bytes.split_at(at);
            let frames = [frame(TEXT, a), frame(FIN | CONTINUE, b)];
            check("two", &frames, &open().text(text));
            let frames = [
                frame(TEXT, a),
                frame(PING, [0xff]),
                frame(FIN | CONTINUE, b),
            ];
            check(
                "ping between",
                &frames,
                &open().text(text).out([0x8a, 1, 0xff]),
            );
        }
        let mut frames = vec![frame(TEXT, "")];
        frames.extend(bytes.iter().map(|byte| frame(CONTINUE, [*byte])));
        frames.push(frame(FIN | CONTINUE, ""));
        check("bytes", &frames, &open().text(text));
    }
}

/// The first impossible byte is enough, even when most of the frame is yet to come.
#[test]
fn s8_1_invalid_text_is_found_early() {
    for bytes in INVALID {
        invalid("more announced", &[short(FIN | TEXT, bytes, 100)]);
        invalid(
            "more fragments",
            &[frame(TEXT, ""), short(CONTINUE, bytes, 70_000)],
        );
        let long = [&b"x".repeat(300), bytes].concat();
        invalid("after some", &[short(FIN | TEXT, long, 1000)]);
    }
}

#[test]
fn s8_1_invalid_text() {
    for bytes in INVALID {
        invalid("whole", &[frame(FIN | TEXT, bytes)]);
        invalid("part", &[frame(TEXT, bytes)]);
        for at in 0..bytes.len() {
            let (a, b) = bytes.split_at(at);
            invalid("fragments", &[frame(TEXT, a), frame(FIN | CONTINUE, b)]);
            let frames = [frame(TEXT, a), frame(PING, ""), short(CONTINUE, b, 10)];
            let before = open().out([0x8a, 0]);
            check_refused(
                "ping between",
                LIMIT,
                &frames,
                before,
                ProtocolError::InvalidUtf8,
                1007,
            );
        }
        let frames = [frame(FIN | TEXT, "ok"), frame(FIN | TEXT, bytes)];
        check_refused(
            "second",
            LIMIT,
            &frames,
            open().text("ok"),
            ProtocolError::InvalidUtf8,
            1007,
        );
    }
}

#[test]
fn s8_1_truncated_text() {
    for bytes in TRUNCATED {
        check("may go on", &[frame(TEXT, bytes)], &open());
        check("may go on", &[short(FIN | TEXT, bytes, 20)], &open());
        invalid("whole", &[frame(FIN | TEXT, bytes)]);
        let long = ["é".repeat(100).as_bytes(), bytes].concat();
        invalid("after some", &[frame(FIN | TEXT, long)]);
        // The header of the empty last fragment is what ends it: with key 0 or any other, at the
        // last byte of the key.
        invalid(
            "fragments",
            &[frame(TEXT, bytes), frame(FIN | CONTINUE, "")],
        );
        for at in 1..bytes.len() {
            let (a, b) = bytes.split_at(at);
            invalid("fragments", &[frame(TEXT, a), frame(FIN | CONTINUE, b)]);
        }
        // A character must not go on in the next message.
        invalid("next", &[frame(FIN | TEXT, bytes)]);
    }
}

#[test]
fn s8_1_binary_is_not_checked() {
    for bytes in INVALID.iter().chain(&TRUNCATED) {
        check(
            "whole",
            &[frame(FIN | BINARY, bytes)],
            &open().binary(bytes),
        );
        let frames = [frame(BINARY, bytes), frame(FIN | CONTINUE, bytes)];
        check("fragments", &frames, &open().binary(&bytes.repeat(2)));
    }
}
