//! One connection: a task that reads, checks, answers and announces when it is told to.

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::{connect::Stream, frame, state::State, stats::Fault};

/// What the tasks share: the state, and buffers of which only one task at a time has need.
#[derive(Debug)]
pub(crate) struct Shared {
    pub state: RefCell<State>,
    pub start: Instant,
    read: RefCell<Box<[u8]>>,
    spare: RefCell<Vec<u8>>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: RefCell::new(state),
            start: Instant::now(),
            read: RefCell::new(vec![0; 64 * 1024].into_boxed_slice()),
            spare: RefCell::default(),
        }
    }

    /// Nanoseconds since the start, never 0.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1
    }
}

pub(crate) struct Client {
    shared: Rc<Shared>,
    connection: u32,
    stream: Stream,
    /// Received, but not a whole frame yet.
    rest: Vec<u8>,
    /// Payload of a message in several frames.
    fragments: Option<Vec<u8>>,
    out: Vec<u8>,
    written: usize,
}

impl Client {
    pub(crate) fn new(shared: Rc<Shared>, connection: u32, stream: Stream, rest: Vec<u8>) -> Self {
        Self {
            shared,
            connection,
            stream,
            rest,
            fragments: None,
            out: Vec::new(),
            written: 0,
        }
    }

    /// Runs until the connection ends.
    pub(crate) async fn run(mut self) {
        let reason = poll_fn(|cx| self.poll(cx)).await;
        let shared = Rc::clone(&self.shared);
        shared.state.borrow_mut().ended(self.connection, reason);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        loop {
            if let Some(reason) = self.obey(cx) {
                return Poll::Ready(reason);
            }
            if let Poll::Ready(Err(error)) = self.flush(cx) {
                return Poll::Ready(error.to_string());
            }
            if let Err(reason) = ready!(self.read(cx)) {
                return Poll::Ready(reason);
            }
        }
    }

    /// Does what the state asks for.
    fn obey(&mut self, cx: &Context<'_>) -> Option<String> {
        let shared = Rc::clone(&self.shared);
        let state = &mut *shared.state.borrow_mut();
        let peer = &mut state.peers[self.connection as usize];
        match &mut peer.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => peer.waker = Some(cx.waker().clone()),
        }
        if state.closing {
            return Some(String::new());
        }
        let due = std::mem::take(&mut peer.due);
        if due > 0 {
            self.take_spare();
            for _ in 0..due {
                state.push_announce(&mut self.out, self.connection, shared.now());
            }
        }
        None
    }

    /// Buffers travel to whoever writes, so that silent connections own none.
    fn take_spare(&mut self) {
        if self.out.capacity() == 0 {
            self.out = self.shared.spare.take();
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        let wrote = std::mem::take(&mut self.written) > 0;
        if self.out.capacity() > 0 {
            self.out.clear();
            self.shared.spare.replace(std::mem::take(&mut self.out));
        }
        // Only TLS has something to flush.
        match wrote {
            true => Pin::new(&mut self.stream).poll_flush(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let shared = Rc::clone(&self.shared);
        let buffer = &mut **shared.read.borrow_mut();
        let mut buffer = ReadBuf::new(buffer);
        match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
            Err(error) => return Poll::Ready(Err(error.to_string())),
            Ok(()) if buffer.filled().is_empty() => {
                return Poll::Ready(Err("end of stream".to_owned()));
            }
            Ok(()) => {}
        }
        let state = &mut *shared.state.borrow_mut();
        let now = shared.now();
        let received = buffer.filled();
        let outcome = if self.rest.is_empty() {
            self.frames(received, state, now)
                .map(|used| self.rest.extend_from_slice(&received[used..]))
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(received);
            self.frames(&rest, state, now).map(|used| {
                if used < rest.len() {
                    rest.drain(..used);
                    self.rest = rest;
                }
            })
        };
        Poll::Ready(outcome)
    }

    /// Takes the whole frames at the beginning of `bytes`; how many bytes they were.
    fn frames(&mut self, bytes: &[u8], state: &mut State, now: u64) -> Result<usize, String> {
        let mut used = 0;
        loop {
            let frame = match frame::parse(&bytes[used..]) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(used),
                Err(error) => {
                    state.faults.add(Fault::BadFrame, || error.to_owned());
                    return Err(error.to_owned());
                }
            };
            used += frame.length;
            self.take_spare();
            match (frame.opcode, &mut self.fragments) {
                (frame::TEXT | frame::BINARY, None) if frame.last => {
                    state.receive(self.connection, frame.payload, now, &mut self.out);
                }
                (frame::TEXT | frame::BINARY, None) => {
                    self.fragments = Some(frame.payload.to_vec());
                }
                (0, Some(fragments)) => {
                    fragments.extend_from_slice(frame.payload);
                    if frame.last {
                        let message = self.fragments.take().unwrap_or_default();
                        state.receive(self.connection, &message, now, &mut self.out);
                    }
                }
                (frame::PING, _) => frame::push(&mut self.out, frame::PONG, |out| {
                    out.extend_from_slice(frame.payload);
                }),
                (frame::PONG, _) => {}
                (frame::CLOSE, _) => return Err(close_reason(frame.payload)),
                (opcode, _) => {
                    let text = format!("opcode {opcode}");
                    state.faults.add(Fault::BadFrame, || text.clone());
                    return Err(text);
                }
            }
        }
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, text @ ..] => format!(
            "close {} {}",
            u16::from_be_bytes([*high, *low]),
            String::from_utf8_lossy(text)
        ),
        _ => "close without a code".to_owned(),
    }
}
