//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::ServerError;
use crate::config::DEFAULT_LISTEN;

/// Connections that may wait to be accepted. After a restart all clients return at once; the
/// kernel cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Binds one address. The default, `[::]:3000`, falls back to IPv4 where there is no IPv6.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, ServerError> {
    let error = |error| ServerError::Bind { address, error };
    match open(address) {
        Ok(listener) => Ok(listener),
        Err(first) if first.kind() == io::ErrorKind::AddrInUse => Err(error(first)),
        Err(first) if DEFAULT_LISTEN.parse() == Ok(address) => {
            open((Ipv4Addr::UNSPECIFIED, address.port()).into()).map_err(|_| error(first))
        }
        Err(first) => Err(error(first)),
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // One socket for both families; an IPv6 address that is not [::] is unaffected.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
