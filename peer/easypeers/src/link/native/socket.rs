//! The UDP socket of one connection, and what it shares with sockets of several: an empty datagram
//! after each burst, see `runtime`.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// Requested size of the kernel's receive buffer, in bytes: a late driver must not lose datagrams.
/// The system may give less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

/// The state of a socket between two bursts of datagrams.
#[derive(Default)]
pub(super) struct Burst(AtomicU8);

impl Burst {
    const QUIET: u8 = 0;
    const READING: u8 = 1;
    const ENDING: u8 = 2;

    /// A datagram was read.
    pub(super) fn read(&self) {
        self.0.store(Self::READING, Ordering::Relaxed);
    }

    /// There is nothing more to read. Ready when the empty datagram is due: at the second poll after a
    /// burst, because the driver makes the first one within the burst.
    pub(super) fn end(&self, cx: &Context<'_>) -> Poll<()> {
        match self.0.load(Ordering::Relaxed) {
            Self::READING => {
                self.0.store(Self::ENDING, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Self::ENDING => {
                self.0.store(Self::QUIET, Ordering::Relaxed);
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}

/// Describes one datagram to the driver.
pub(super) fn received(meta: &mut [RecvMeta], from: SocketAddr, len: usize) -> usize {
    let Some(first) = meta.first_mut() else {
        return 0;
    };
    *first = RecvMeta::default();
    first.addr = from;
    first.len = len;
    first.stride = len.max(1);
    1
}

/// A UDP socket of one connection.
pub(super) struct LinkSocket {
    io: tokio::net::UdpSocket,
    local: SocketAddr,
    burst: Burst,
}

impl fmt::Debug for LinkSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkSocket").field(&self.local).finish()
    }
}

/// Prepares a bound socket for tokio.
pub(super) fn prepare(socket: std::net::UdpSocket) -> io::Result<tokio::net::UdpSocket> {
    socket.set_nonblocking(true)?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    tokio::net::UdpSocket::from_std(socket)
}

impl LinkSocket {
    pub(super) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let local = socket.local_addr()?;
        Ok(Self {
            io: prepare(socket)?,
            local,
            burst: Burst::default(),
        })
    }
}

impl AsyncUdpSocket for LinkSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.io
            .poll_send_to(cx, transmit.contents, transmit.destination)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let Some(buf) = bufs.first_mut() else {
            return Poll::Ready(Ok(0));
        };
        let mut buf = ReadBuf::new(buf);
        match self.io.poll_recv_from(cx, &mut buf) {
            Poll::Ready(Ok(from)) => {
                self.burst.read();
                Poll::Ready(Ok(received(meta, from, buf.filled().len())))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                ready!(self.burst.end(cx));
                Poll::Ready(Ok(received(meta, self.local, 0)))
            }
        }
    }
}
