//! The runtime for the WebRTC stack: tokio, with our own sockets.
//!
//! Four things differ from the stack's tokio runtime:
//! - Drivers run as tasks of the application's runtime and end when their connection is dropped.
//! - A socket hands the driver an empty datagram after each burst. The driver of 0.21.1 writes
//!   before it handles what it read, so the answer to the last datagram of a burst would wait for
//!   the next timer: 456 ms of a connection's start. The driver skips empty datagrams.
//! - Connections may share sockets, see [`SharedPort`].
//! - A socket takes one datagram per read, which saves 96 KiB of buffer per connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime,
    TokioRuntime,
};

use super::shared_port::SharedPort;
use super::socket::LinkSocket;

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
