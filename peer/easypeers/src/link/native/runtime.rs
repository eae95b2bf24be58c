//! The runtime for the WebRTC stack: tokio, with our own sockets.
//!
//! Four things differ from the stack's tokio runtime:
//! - Drivers run as tasks of the application's runtime and end when their connection is dropped.
//! - A socket hands the driver an empty datagram after each burst. The driver of 0.21.1 writes
//!   before it handles what it read, so that an answer to the last datagram of a burst would lie
//!   until the next timer: 456 ms of a connection's start. It skips empty datagrams.
//! - Connections may share sockets, see [`SharedPort`].
//! - A socket takes one datagram a read, which saves 96 KiB of buffer a connection.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::ReadBuf;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime,
    TokioRuntime, Transmit,
};

use super::shared_port::SharedPort;

/// Requested size of the kernel's receive buffer, in bytes: a late driver must not lose datagrams. The system may give less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 2 * 1024 * 1024;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The runtime of one connection.
#[derive(Debug, Default)]
pub(super) struct LinkRuntime {
    /// Where all connections share one port: its sockets, and the connection's user fragment.
    pub(super) shared: Option<(Arc<[Arc<SharedPort>]>, String)>,
}

impl Runtime for LinkRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        TokioRuntime.spawn(future)
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let Some((ports, ufrag)) = &self.shared else {
            return Ok(Arc::new(LinkSocket::new(socket)?));
        };
        // The stack bound a socket of its own, which only lends its address.
        let alias = socket.local_addr()?;
        let port = ports.iter().find(|port| port.local().ip() == alias.ip());
        let port = port.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Arc::new(port.attach(ufrag, alias)))
    }

    fn wrap_tcp_listener(&self, _: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect_tcp<'a>(&'a self, _: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::Unsupported.into())))
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        TokioRuntime.resolve_host(host)
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        TokioRuntime.sleep(duration)
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        TokioRuntime.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        TokioRuntime.yield_now()
    }

    fn name(&self) -> &'static str {
        "easypeers"
    }
}

/// Where a socket stands between two bursts of datagrams.
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

    /// Nothing more to read. Ready when the empty datagram is due: at the second look after a
    /// burst, since the first one is the driver's own, still inside the burst.
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

/// Tells the driver of one datagram.
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
struct LinkSocket {
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
    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
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
