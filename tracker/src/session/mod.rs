//! One task per WebSocket connection: it reads its socket, drives the WebSocket core, hands
//! messages to a [`Handler`], writes what waits in its outbox, and closes.
//!
//! The task owns reading; writing belongs to whoever has a frame for this connection (see
//! [`Connection`]). Reads go into a buffer of the thread, so that an idle connection owns none.
//! `poll_read` rather than `try_read`, because it clears readiness after a short read: one system
//! call a message.

pub(crate) mod connection;
pub(crate) mod outbox;
mod reply;
pub(crate) mod solicited;
pub(crate) mod state;
pub(crate) mod tracker;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

pub use connection::Connection;

use crate::clock::Clock;
use crate::metrics::{ClosedBy, Metrics};
use crate::server::socket::ReadHalf;
use crate::ws::frame::write_close;
use crate::ws::{CLOSE_TIMEOUT, Close, CloseCode, CloseReason, Message, Status, WebSocket};

/// What a connection is for: the tracker, or an echo for conformance suites.
pub trait Handler: Send + Unpin + 'static {
    /// A whole message came. Breaking closes the connection with that code.
    fn on_message(
        &mut self,
        connection: &Arc<Connection>,
        message: Message<'_>,
    ) -> ControlFlow<Close>;

    /// Called whenever the task runs; may wait for a timer of its own by `cx`.
    fn poll(&mut self, connection: &Arc<Connection>, cx: &mut Context<'_>);

    /// No further message will come.
    fn on_end(&mut self, connection: &Arc<Connection>);
}

/// Bytes read at a time.
const READ_BUFFER: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
    static PLAIN: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BUFFER].into());
}

/// A connection's task.
#[derive(Debug)]
pub(crate) struct Driver<H> {
    socket: ReadHalf,
    connection: Arc<Connection>,
    websocket: WebSocket,
    handler: H,
    metrics: Arc<Metrics>,
    clock: Clock,
    tls: bool,
    /// Set once closing has begun, with the reason; runs until [`CLOSE_TIMEOUT`].
    closing: Option<(ClosedBy, Pin<Box<Sleep>>)>,
    /// The handler knows that no further message will come.
    ended: bool,
    /// Our side of TCP is shut; what still comes is read and thrown away, because closing a
    /// socket with unread bytes resets it, and the peer may then never see our Close.
    shut: bool,
}

impl<H: Handler> Driver<H> {
    pub(crate) fn new(
        socket: ReadHalf,
        connection: Arc<Connection>,
        max_message: usize,
        handler: H,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let tls = connection.is_tls();
        let websocket = WebSocket::new(max_message);
        Self {
            socket,
            connection,
            websocket,
            handler,
            metrics,
            clock,
            tls,
            closing: None,
            ended: false,
            shut: false,
        }
    }

    /// Runs the connection to its end. By reference, and what came early before: a future that
    /// owned them would keep room for them twice as long as the connection lives.
    pub(crate) async fn run(&mut self) -> ClosedBy {
        let ended = poll_fn(|cx| self.poll(cx)).await;
        self.end();
        ended
    }

    /// Takes what was read, and decrypted, behind the upgrade request. False if that was the end.
    pub(crate) fn take(&mut self, mut early: Vec<u8>) -> bool {
        self.receive(&mut early);
        let going = !self.tls || self.decrypt(&[]).is_ok();
        if !going {
            self.end();
        }
        going
    }

    fn end(&mut self) {
        self.connection.end();
        if !mem::replace(&mut self.ended, true) {
            self.handler.on_end(&self.connection);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ClosedBy> {
        self.connection.register_owner(cx);
        if let Some(by) = self.connection.close_requested() {
            match by {
                ClosedBy::Shutdown => self.leave(by),
                // A client that reads nothing would not read a Close either.
                _ => return Poll::Ready(by),
            }
        }
        if self.closing.is_none() {
            self.handler.poll(&self.connection, cx);
        }
        if let Poll::Ready(Err(_)) = self.connection.poll_flush(cx) {
            return Poll::Ready(self.reason(ClosedBy::Error));
        }
        if let Poll::Ready(result) = self.poll_read(cx) {
            let by = if result.is_ok() {
                ClosedBy::Client
            } else {
                ClosedBy::Error
            };
            return Poll::Ready(self.reason(by));
        }
        // Reading may have queued frames, pongs and Close among them.
        match self.connection.poll_flush(cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(self.reason(ClosedBy::Error)),
            Poll::Ready(Ok(())) if !self.shut && self.is_closed() => {
                self.connection.shut_down_writing();
                self.shut = true;
            }
            _ => {}
        }
        match &mut self.closing {
            Some((by, deadline)) => {
                ready!(deadline.as_mut().poll(cx));
                Poll::Ready(*by)
            }
            None => Poll::Pending,
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.websocket.status(), Status::Closed(_))
    }

    /// Why the connection ends: the first reason to close it, else `by`.
    fn reason(&self, by: ClosedBy) -> ClosedBy {
        self.closing.as_ref().map_or(by, |(by, _)| *by)
    }

    /// Reads until the socket has nothing more. Ready at its end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        READ.with_borrow_mut(|buffer| {
            loop {
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
                let count = read.filled().len();
                if count == 0 {
                    return Poll::Ready(Ok(()));
                }
                self.connection.hear(self.clock.now_us());
                self.metrics.received_bytes.inc_by(count as u64);
                if self.tls {
                    self.decrypt(&buffer[..count])?;
                } else {
                    self.receive(&mut buffer[..count]);
                }
            }
        })
    }

    fn decrypt(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        PLAIN.with_borrow_mut(|plain| {
            loop {
                let (used, filled) = self.connection.decrypt(bytes, plain)?;
                bytes = &bytes[used..];
                self.receive(&mut plain[..filled]);
                if used == 0 && filled == 0 {
                    return Ok(());
                }
            }
        })
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let mut out = Vec::new();
        let (handler, connection) = (&mut self.handler, &self.connection);
        let mut broken = false;
        let received = self.websocket.receive(bytes, &mut out, |message| {
            let flow = handler.on_message(connection, message);
            broken |= flow.is_break();
            flow
        });
        if !out.is_empty() {
            self.connection.send(&out);
        }
        let by = match received.status {
            Status::Open => return,
            Status::Closed(CloseReason::Protocol(error)) => {
                tracing::debug!(connection = self.connection.id(), %error, "protocol error");
                ClosedBy::Protocol
            }
            _ if broken => ClosedBy::Limit,
            _ => ClosedBy::Client,
        };
        self.begin_closing(by);
    }

    /// Says that we go. The WebSocket stays open for reading until the client's own Close: an
    /// answer that was on its way still reaches the peer that waits for it.
    fn leave(&mut self, by: ClosedBy) {
        if self.closing.is_some() {
            return;
        }
        let mut out = Vec::new();
        write_close(&mut out, CloseCode::Away, "server is shutting down");
        self.connection.send(&out);
        // Nothing follows a Close.
        self.connection.end();
        self.closing = Some((by, Box::pin(sleep(CLOSE_TIMEOUT))));
    }

    fn begin_closing(&mut self, by: ClosedBy) {
        if self.closing.is_none() {
            self.closing = Some((by, Box::pin(sleep(CLOSE_TIMEOUT))));
        }
        self.end();
    }
}
