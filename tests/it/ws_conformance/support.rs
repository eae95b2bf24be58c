//! Builds client frames, runs cases, compares.

use std::ops::ControlFlow;

use tracker::ws::{Close, CloseReason, Message, ProtocolError, Status, WebSocket};

pub(super) const FIN: u8 = 0x80;
pub(super) const CONTINUE: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = FIN | 0x8;
pub(super) const PING: u8 = FIN | 0x9;
pub(super) const PONG: u8 = FIN | 0xa;

/// The limit of most cases.
pub(super) const LIMIT: usize = 1 << 20;

/// What a case feeds.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// Masked with the run's key, length in its shortest form.
    Client(u8, Vec<u8>),
    /// A client frame that announces more payload than it brings.
    Short(u8, Vec<u8>, u64),
    /// These bytes.
    Raw(Vec<u8>),
}

pub(super) fn frame(first: u8, payload: impl AsRef<[u8]>) -> Frame {
    Frame::Client(first, payload.as_ref().to_vec())
}

pub(super) fn short(first: u8, payload: impl AsRef<[u8]>, announced: u64) -> Frame {
    Frame::Short(first, payload.as_ref().to_vec(), announced)
}

pub(super) fn raw(bytes: impl AsRef<[u8]>) -> Frame {
    Frame::Raw(bytes.as_ref().to_vec())
}

/// Masking keys without end; seed 0 gives only keys of 0.
#[derive(Debug, Clone)]
pub(super) struct Keys(u32);

impl Keys {
    pub(super) fn new(seed: u32) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_mul(0x9e37_79b1).rotate_left(13);
        self.0.to_be_bytes()
    }
}

/// The frames as a client writes them.
pub(super) fn encode(frames: &[Frame], keys: &mut Keys) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        let (first, payload, length) = match frame {
            Frame::Raw(bytes) => {
                out.extend(bytes);
                continue;
            }
            Frame::Client(first, payload) => (first, payload, payload.len() as u64),
            Frame::Short(first, payload, length) => (first, payload, *length),
        };
        out.push(*first);
        if length < 126 {
            out.push(0x80 | length as u8);
        } else if length < 65536 {
            out.push(0x80 | 126);
            out.extend((length as u16).to_be_bytes());
        } else {
            out.push(0x80 | 127);
            out.extend(length.to_be_bytes());
        }
        let key = keys.next();
        out.extend(key);
        out.extend(
            payload
                .iter()
                .enumerate()
                .map(|(i, byte)| byte ^ key[i % 4]),
        );
    }
    out
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owned {
    Text(String),
    Binary(Vec<u8>),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
        }
    }
}

/// What came of some input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) messages: Vec<Owned>,
    pub(super) out: Vec<u8>,
    pub(super) status: Status,
    pub(super) pong: bool,
}

/// Nothing has happened.
pub(super) fn open() -> Outcome {
    Outcome {
        messages: Vec::new(),
        out: Vec::new(),
        status: Status::Open,
        pong: false,
    }
}

impl Outcome {
    pub(super) fn text(mut self, text: &str) -> Self {
        self.messages.push(Owned::Text(text.to_owned()));
        self
    }

    pub(super) fn binary(mut self, bytes: &[u8]) -> Self {
        self.messages.push(Owned::Binary(bytes.to_vec()));
        self
    }

    /// These bytes were to be sent.
    pub(super) fn out(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.out.extend(bytes.as_ref());
        self
    }

    pub(super) fn pong(mut self) -> Self {
        self.pong = true;
        self
    }

    pub(super) fn closed(mut self, reason: CloseReason) -> Self {
        self.status = Status::Closed(reason);
        self
    }

    /// The error was answered by a Close frame with this code and ended the connection.
    pub(super) fn refused(self, error: ProtocolError, code: u16) -> Self {
        self.out(close_frame(code, &error.to_string()))
            .closed(CloseReason::Protocol(error))
    }
}

/// A Close frame as the server sends it.
pub(super) fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    let mut frame = vec![0x88, 2 + reason.len() as u8];
    frame.extend(code.to_be_bytes());
    frame.extend(reason.as_bytes());
    frame
}

/// What may be kept: the limit, a control frame, a fixed size.
pub(super) fn heap_limit(limit: usize) -> usize {
    limit + 128 + 128
}

/// A connection and everything that came out of it.
pub(super) struct Run {
    pub(super) ws: WebSocket,
    pub(super) outcome: Outcome,
    limit: usize,
    /// Break with this at the nth message.
    stop: Option<(usize, Close)>,
}

impl Run {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            ws: WebSocket::new(limit),
            outcome: open(),
            limit,
            stop: None,
        }
    }

    pub(super) fn stop_at(mut self, nth: usize, close: Close) -> Self {
        self.stop = Some((nth, close));
        self
    }

    pub(super) fn feed(&mut self, piece: &[u8]) {
        let Outcome { messages, out, .. } = &mut self.outcome;
        let stop = &self.stop;
        let received = self.ws.receive(&mut piece.to_vec(), out, |message| {
            messages.push(message.into());
            match stop {
                Some((nth, close)) if messages.len() == *nth => ControlFlow::Break(close.clone()),
                _ => ControlFlow::Continue(()),
            }
        });
        self.outcome.status = received.status;
        self.outcome.pong |= received.pong;
        assert_eq!(self.ws.status(), received.status);
        assert!(self.ws.heap_size() <= heap_limit(self.limit));
        if !matches!(received.status, Status::Open | Status::Closing) {
            assert_eq!(self.ws.heap_size(), 0, "kept by a closed connection");
        }
    }

    pub(super) fn close(&mut self, code: tracker::ws::CloseCode, reason: &str) {
        self.ws.close(code, reason, &mut self.outcome.out);
        self.outcome.status = self.ws.status();
    }
}

fn feed<'a>(new: &impl Fn() -> Run, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut run = new();
    for piece in pieces {
        run.feed(piece);
    }
    run.outcome
}

/// Every way to cut the input must give this outcome.
fn check_bytes(name: &str, new: &impl Fn() -> Run, input: &[u8], expected: &Outcome) {
    let same = |what: &str, pieces: &[&[u8]]| {
        let outcome = feed(new, pieces.iter().copied());
        assert!(
            outcome == *expected,
            "{name}, {what}: {outcome:?} instead of {expected:?}"
        );
    };
    same("at once", &[input]);
    same("byte by byte", &input.chunks(1).collect::<Vec<_>>());
    for at in 0..=input.len() {
        // Long ones: the headers, every length of chunk, the end.
        let dull = at > 600 && at + 20 < input.len() && at % 997 != 0;
        if !dull {
            let (a, b) = input.split_at(at);
            same(&format!("cut at {at}"), &[a, b]);
            if input.len() < 60 {
                for second in 0..=b.len() {
                    let (b, c) = b.split_at(second);
                    same(&format!("cut at {at} and {}", at + second), &[a, b, c]);
                }
            }
        }
    }
}

/// The frames, with every kind of masking key, must give this outcome.
pub(super) fn check_with(name: &str, new: impl Fn() -> Run, frames: &[Frame], expected: &Outcome) {
    for seed in [0, 1, 0x5eed] {
        let input = encode(frames, &mut Keys::new(seed));
        check_bytes(&format!("{name} (seed {seed})"), &new, &input, expected);
    }
}

pub(super) fn check(name: &str, frames: &[Frame], expected: &Outcome) {
    check_with(name, || Run::new(LIMIT), frames, expected);
}

/// The last byte of the frames, and none before, must be refused with this error; `before` is
/// what comes of the bytes before it. What follows must be ignored.
pub(super) fn check_refused(
    name: &str,
    limit: usize,
    frames: &[Frame],
    before: Outcome,
    error: ProtocolError,
    code: u16,
) {
    let new = || Run::new(limit);
    for seed in [0, 1, 0x5eed] {
        let mut input = encode(frames, &mut Keys::new(seed));
        let early = &input[..input.len() - 1];
        assert_eq!(feed(&new, [early]), before, "{name}: before the last byte");
        let expected = before.clone().refused(error, code);
        check_bytes(name, &new, &input, &expected);
        let more = [frame(FIN | TEXT, "more"), frame(PING, ""), frame(CLOSE, "")];
        input.extend(encode(&more, &mut Keys::new(seed)));
        check_bytes(&format!("{name}, more"), &new, &input, &expected);
    }
}

pub(super) fn refused(name: &str, frames: &[Frame], error: ProtocolError, code: u16) {
    check_refused(name, LIMIT, frames, open(), error, code);
}
