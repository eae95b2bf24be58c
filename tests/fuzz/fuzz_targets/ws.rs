//! The WebSocket core: any bytes, cut anywhere, give what they give in one piece.
//!
//! Input: four bytes of piece sizes (0 stands for the rest), one that says when the callback
//! closes, then what the client sends. Masking keys are the input's own, so that key 0 keeps
//! payloads readable for the fuzzer.

#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use tracker::ws::{Close, CloseCode, Message, Status, WebSocket};

const LIMIT: usize = 4096;

/// What may be kept beside the message: a control frame and a fixed size.
const FIXED: usize = 256;

#[derive(Debug, PartialEq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Debug, PartialEq)]
struct Outcome {
    messages: Vec<Owned>,
    out: Vec<u8>,
    status: Status,
    pong: bool,
}

fn run(input: &[u8], sizes: &[u8], stop: usize) -> Outcome {
    let mut ws = WebSocket::new(LIMIT);
    let (mut messages, mut out) = (Vec::new(), Vec::new());
    let mut pong = false;
    let mut rest = input.to_vec();
    let mut rest = &mut rest[..];
    for size in sizes.iter().cycle() {
        let size = match usize::from(*size) {
            0 => rest.len(),
            size => size.min(rest.len()),
        };
        let (piece, next) = rest.split_at_mut(size);
        rest = next;
        let received = ws.receive(piece, &mut out, |message| {
            messages.push(match message {
                Message::Text(text) => Owned::Text(text.to_owned()),
                Message::Binary(bytes) => Owned::Binary(bytes.to_vec()),
            });
            if messages.len() == stop {
                ControlFlow::Break(Close::new(CloseCode::Policy, "enough"))
            } else {
                ControlFlow::Continue(())
            }
        });
        pong |= received.pong;
        assert!(ws.heap_size() <= LIMIT + FIXED);
        if rest.is_empty() {
            break;
        }
    }
    Outcome {
        messages,
        out,
        status: ws.status(),
        pong,
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&[a, b, c, d, stop], input)) = data.split_first_chunk() else {
        return;
    };
    let stop = stop.into();
    let whole = run(input, &[0], stop);
    assert_eq!(whole, run(input, &[a, b, c, d], stop));
    assert_eq!(whole, run(input, &[1], stop));
    assert!(whole.out.len() <= 2 * input.len() + 64);
});
