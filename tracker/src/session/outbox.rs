//! What still has to be written to one socket.
//!
//! A frame is written at once by whoever made it; only what the socket does not take waits here,
//! and the connection's own task writes it when the socket is ready again. Order is kept because
//! nothing is written past waiting bytes. With TLS the same, behind rustls' connection, which does
//! no I/O of its own. No clock and no tasks here; the socket is a trait.
//!
//! Slow-consumer policy: waiting bytes are bounded. Offers may use three quarters of the bound
//! and are dropped beyond it; everything else (responses, answers, pings) may use all of it, and
//! where even that does not fit the connection is closed. A dropped offer costs its peer nothing
//! that the next announce does not bring again; a dropped answer would.

use std::io::{self, Read, Write};

use rustls::ServerConnection;

/// The part of a socket that the outbox needs: a write that does not block.
pub(crate) trait TryWrite {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize>;
}

/// Whether a frame may be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Offer,
    Needed,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// The socket has it.
    Written,
    /// Bytes wait that did not wait before: the owner must be woken to flush.
    Started,
    /// Behind other bytes.
    Queued,
    /// No room.
    Full,
    /// The socket is broken or shut; the owner notices by itself.
    Gone,
}

/// Whether everything was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flushed {
    Empty,
    Blocked,
}

/// Plain bytes handed to rustls at a time: one TLS record.
const TLS_CHUNK: usize = 16 * 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    tls: Option<Box<ServerConnection>>,
    /// Frames not yet written, from `head` on. Owns no memory when empty.
    waiting: Vec<u8>,
    head: usize,
    /// Frames added since nothing waited.
    messages: usize,
    limit: usize,
    gone: bool,
}

impl Outbox {
    pub(crate) fn new(tls: Option<ServerConnection>, limit: usize) -> Self {
        let tls = tls.map(Box::new);
        Self {
            tls,
            waiting: Vec::new(),
            head: 0,
            messages: 0,
            limit,
            gone: false,
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Messages that wait, the one being written included.
    pub(crate) fn messages(&self) -> usize {
        self.messages
    }

    /// Nothing is written any more.
    pub(crate) fn shut(&mut self) {
        self.gone = true;
        self.waiting = Vec::new();
        self.head = 0;
        self.messages = 0;
    }

    /// Writes `frame`, or as much as the socket takes, and keeps the rest.
    pub(crate) fn push(&mut self, socket: &impl TryWrite, frame: &[u8], class: Class) -> Pushed {
        if self.gone {
            return Pushed::Gone;
        }
        if self.is_empty() {
            match self.write_through(socket, frame) {
                Ok(written) => {
                    self.waiting.extend_from_slice(&frame[written..]);
                    if self.is_empty() {
                        return Pushed::Written;
                    }
                    self.messages = 1;
                    return Pushed::Started;
                }
                Err(_) => {
                    self.shut();
                    return Pushed::Gone;
                }
            }
        }
        let room = match class {
            Class::Offer => self.limit / 4 * 3,
            Class::Needed => self.limit,
        };
        let waiting = self.waiting.len() - self.head;
        if waiting + frame.len() > room {
            return Pushed::Full;
        }
        // Written bytes are moved out of the way only when they are the larger part.
        if self.head > waiting {
            self.waiting.drain(..self.head);
            self.head = 0;
        }
        self.waiting.extend_from_slice(frame);
        self.messages += 1;
        Pushed::Queued
    }

    /// Writes what waits.
    pub(crate) fn flush(&mut self, socket: &impl TryWrite) -> io::Result<Flushed> {
        while !self.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            let result = self.write_through(socket, &waiting[self.head..]);
            self.waiting = waiting;
            let written = match result {
                Ok(written) => written,
                Err(error) => {
                    self.shut();
                    return Err(error);
                }
            };
            self.head += written;
            if self.head < self.waiting.len() {
                return Ok(Flushed::Blocked);
            }
            self.waiting = Vec::new();
            self.head = 0;
            if self.tls_waits() {
                return Ok(Flushed::Blocked);
            }
            self.messages = 0;
        }
        Ok(Flushed::Empty)
    }

    /// Tells a TLS peer that nothing more comes.
    pub(crate) fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Decrypts what was read from the socket into `plain`. Returns how many bytes of
    /// `encrypted` were used and how many of `plain` were filled.
    pub(crate) fn decrypt(
        &mut self,
        mut encrypted: &[u8],
        plain: &mut [u8],
    ) -> io::Result<(usize, usize)> {
        let Some(tls) = &mut self.tls else {
            return Ok((0, 0));
        };
        let before = encrypted.len();
        if !encrypted.is_empty() {
            tls.read_tls(&mut encrypted)?;
            tls.process_new_packets()
                .map_err(|error| io::Error::other(error.to_string()))?;
        }
        let used = before - encrypted.len();
        match tls.reader().read(plain) {
            Ok(filled) => Ok((used, filled)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok((used, 0)),
            Err(error) => Err(error),
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.tls_waits()
    }

    /// Whether rustls has something to write.
    pub(crate) fn tls_waits(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Writes until the socket blocks; how many of `bytes` are off our hands.
    fn write_through(&mut self, socket: &impl TryWrite, bytes: &[u8]) -> io::Result<usize> {
        let mut written = 0;
        let Some(tls) = &mut self.tls else {
            while written < bytes.len() {
                match socket.try_write(&bytes[written..]) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(count) => written += count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            return Ok(written);
        };
        let mut sink = Sink(socket);
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut sink) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(written),
                    Err(error) => return Err(error),
                }
            }
            if written == bytes.len() {
                return Ok(written);
            }
            let end = bytes.len().min(written + TLS_CHUNK);
            written += tls.writer().write(&bytes[written..end])?;
        }
    }
}

/// A socket as rustls wants it.
struct Sink<'a, S>(&'a S);

impl<S: TryWrite> Write for Sink<'_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// Takes `room` bytes, then blocks.
    #[derive(Default)]
    struct Fake {
        room: Cell<usize>,
        taken: RefCell<Vec<u8>>,
        broken: Cell<bool>,
    }

    impl TryWrite for Fake {
        fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
            if self.broken.get() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = bytes.len().min(self.room.get());
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.room.set(self.room.get() - count);
            self.taken.borrow_mut().extend_from_slice(&bytes[..count]);
            Ok(count)
        }
    }

    #[test]
    fn an_open_socket_takes_the_frame_and_nothing_is_kept() {
        let (fake, mut outbox) = (Fake::default(), Outbox::new(None, 100));
        fake.room.set(1000);
        assert_eq!(outbox.push(&fake, b"hello", Class::Offer), Pushed::Written);
        assert_eq!(outbox.waiting.capacity(), 0);
        assert_eq!(outbox.messages(), 0);
    }

    #[test]
    fn a_rest_waits_and_keeps_the_order() {
        let (fake, mut outbox) = (Fake::default(), Outbox::new(None, 100));
        fake.room.set(3);
        assert_eq!(outbox.push(&fake, b"hello", Class::Needed), Pushed::Started);
        fake.room.set(100);
        assert_eq!(outbox.push(&fake, b" world", Class::Needed), Pushed::Queued);
        assert_eq!(outbox.messages(), 2);
        assert_eq!(*fake.taken.borrow(), b"hel");
        fake.room.set(4);
        assert_eq!(outbox.flush(&fake).unwrap(), Flushed::Blocked);
        fake.room.set(100);
        assert_eq!(outbox.flush(&fake).unwrap(), Flushed::Empty);
        assert_eq!(*fake.taken.borrow(), b"hello world");
        assert_eq!(outbox.waiting.capacity(), 0);
        assert_eq!(outbox.messages(), 0);
    }

    #[test]
    fn offers_give_way_before_anything_else() {
        let (fake, mut outbox) = (Fake::default(), Outbox::new(None, 100));
        assert_eq!(outbox.push(&fake, &[1; 70], Class::Offer), Pushed::Started);
        assert_eq!(outbox.push(&fake, &[2; 10], Class::Offer), Pushed::Full);
        assert_eq!(outbox.push(&fake, &[3; 30], Class::Needed), Pushed::Queued);
        assert_eq!(outbox.push(&fake, &[4; 1], Class::Needed), Pushed::Full);
    }

    #[test]
    fn memory_stays_bounded_however_it_trickles() {
        let (fake, mut outbox) = (Fake::default(), Outbox::new(None, 1000));
        for _ in 0..10_000 {
            fake.room.set(60);
            let _ = outbox.flush(&fake);
            let _ = outbox.push(&fake, &[7; 90], Class::Offer);
            assert!(outbox.waiting.capacity() <= 4 * 1000);
        }
    }

    #[test]
    fn a_broken_socket_is_gone_for_good() {
        let (fake, mut outbox) = (Fake::default(), Outbox::new(None, 100));
        outbox.push(&fake, b"waits", Class::Needed);
        fake.broken.set(true);
        assert!(outbox.flush(&fake).is_err());
        assert_eq!(outbox.push(&fake, b"x", Class::Needed), Pushed::Gone);
    }
}
