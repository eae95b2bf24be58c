//! The part of a connection that other connections' tasks may touch: they write frames into it,
//! ask it to close, and look when it was last heard of.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use atomic_waker::AtomicWaker;
use rustls::ServerConnection;

use super::outbox::{Class, Flushed, Outbox, Pushed};
use super::solicited::Solicited;
use crate::metrics::ClosedBy;
use crate::server::socket::WriteHalf;
use crate::ws::frame::PING;

/// One WebSocket connection, shared. Two are equal when they are the same connection.
pub struct Connection {
    id: u64,
    socket: WriteHalf,
    inner: Mutex<Inner>,
    /// Bytes wait in the outbox: the owner must flush.
    pending: AtomicBool,
    /// Wakes the owner's task.
    owner: AtomicWaker,
    /// When bytes last came from the client, in microseconds of the server's clock: a pong may
    /// come within the millisecond of its ping.
    heard_us: AtomicU64,
    pinged_ms: AtomicU64,
    /// A [`ClosedBy`] that somebody else asked for, or [`NO_REQUEST`].
    close_request: AtomicU8,
    /// The owner has stopped reading messages.
    ended: AtomicBool,
}

struct Inner {
    outbox: Outbox,
    solicited: Solicited,
}

const NO_REQUEST: u8 = u8::MAX;

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Connection {
    pub(crate) fn new(
        id: u64,
        socket: WriteHalf,
        tls: Option<ServerConnection>,
        outbox_limit: usize,
        now_ms: u64,
    ) -> Self {
        let outbox = Outbox::new(tls, outbox_limit);
        Self {
            id,
            socket,
            inner: Mutex::new(Inner {
                outbox,
                solicited: Solicited::default(),
            }),
            pending: AtomicBool::new(false),
            owner: AtomicWaker::new(),
            heard_us: AtomicU64::new(now_ms * 1000),
            pinged_ms: AtomicU64::new(now_ms),
            close_request: AtomicU8::new(NO_REQUEST),
            ended: AtomicBool::new(false),
        }
    }

    /// Unique within the server.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Sends a frame that must not be lost; a client too slow even for that is closed.
    pub fn send(&self, frame: &[u8]) -> bool {
        let pushed = self.push(frame, Class::Needed, None);
        if pushed == Pushed::Full {
            self.request_close(ClosedBy::Slow);
        }
        !matches!(pushed, Pushed::Full | Pushed::Gone)
    }

    /// Sends a relayed offer and remembers that an answer with `key` is welcome. An offer that
    /// does not fit is dropped.
    pub(crate) fn send_offer(&self, frame: &[u8], key: u64, now_ms: u64) -> Pushed {
        self.push(frame, Class::Offer, Some((key, now_ms)))
    }

    fn push(&self, frame: &[u8], class: Class, solicit: Option<(u64, u64)>) -> Pushed {
        // Nothing follows a Close.
        if self.has_ended() {
            return Pushed::Gone;
        }
        let mut inner = self.lock();
        let pushed = inner.outbox.push(&self.socket, frame, class);
        if let (Some((key, now_ms)), false) =
            (solicit, matches!(pushed, Pushed::Full | Pushed::Gone))
        {
            inner.solicited.insert(key, now_ms);
        }
        drop(inner);
        if pushed == Pushed::Started {
            self.pending.store(true, Ordering::Release);
            self.owner.wake();
        }
        pushed
    }

    /// Whether an offer with `key` was relayed to this connection and not yet answered; now it is.
    pub(crate) fn take_solicited(&self, key: u64, now_ms: u64) -> bool {
        self.lock().solicited.take(key, now_ms)
    }

    /// Whether offers were relayed to this connection that it may still answer.
    pub(crate) fn awaits_answer(&self) -> bool {
        !self.lock().solicited.is_empty()
    }

    /// Pings, unless bytes wait anyway: those tell as much once they are through.
    pub(crate) fn ping(&self, now_ms: u64) {
        self.pinged_ms.store(now_ms, Ordering::Relaxed);
        self.push(&PING, Class::Needed, None);
    }

    pub(crate) fn pinged_ms(&self) -> u64 {
        self.pinged_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn heard_us(&self) -> u64 {
        self.heard_us.load(Ordering::Relaxed)
    }

    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_us() / 1000
    }

    pub(crate) fn hear(&self, now_us: u64) {
        self.heard_us.store(now_us, Ordering::Relaxed);
    }

    /// Frees what is too old to matter, and says how many messages wait.
    pub(crate) fn tidy(&self, now_ms: u64) -> usize {
        let mut inner = self.lock();
        inner.solicited.expire(now_ms);
        inner.outbox.messages()
    }

    /// Asks the owner to close; the first request counts.
    pub(crate) fn request_close(&self, by: ClosedBy) {
        let _ = self.close_request.compare_exchange(
            NO_REQUEST,
            by as u8,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        self.owner.wake();
    }

    /// What somebody asked for since the last look.
    pub(super) fn close_requested(&self) -> Option<ClosedBy> {
        if self.close_request.load(Ordering::Relaxed) == NO_REQUEST {
            return None;
        }
        match self.close_request.swap(NO_REQUEST, Ordering::AcqRel) {
            by if by == ClosedBy::Idle as u8 => Some(ClosedBy::Idle),
            by if by == ClosedBy::Slow as u8 => Some(ClosedBy::Slow),
            by if by == ClosedBy::Shutdown as u8 => Some(ClosedBy::Shutdown),
            _ => None,
        }
    }

    /// Whether messages from this connection no longer count.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Has the owner's task run once more.
    pub(super) fn wake_owner(&self) {
        self.owner.wake();
    }

    pub(super) fn register_owner(&self, cx: &Context<'_>) {
        self.owner.register(cx.waker());
    }

    /// Writes what waits, as far as the socket takes it.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.pending.load(Ordering::Acquire) {
            let mut inner = self.lock();
            match inner.outbox.flush(&self.socket)? {
                // Under the lock, so that a frame pushed next sets it again.
                Flushed::Empty => self.pending.store(false, Ordering::Release),
                Flushed::Blocked => {
                    drop(inner);
                    ready!(self.socket.poll_write_ready(cx))?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Decrypts; see [`Outbox::decrypt`].
    pub(super) fn decrypt(&self, bytes: &[u8], plain: &mut [u8]) -> io::Result<(usize, usize)> {
        let mut inner = self.lock();
        let result = inner.outbox.decrypt(bytes, plain);
        // The peer may have caused TLS to answer something by itself.
        if inner.outbox.tls_waits() {
            self.pending.store(true, Ordering::Release);
        }
        result
    }

    pub(super) fn is_tls(&self) -> bool {
        self.lock().outbox.is_tls()
    }

    /// Ends our side of the TLS session and of TCP: the peer reads the rest, then the end.
    pub(super) fn shut_down_writing(&self) {
        let mut inner = self.lock();
        inner.outbox.close_notify();
        let _ = inner.outbox.flush(&self.socket);
        inner.outbox.shut();
        let _ = self.socket.shut_down();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
