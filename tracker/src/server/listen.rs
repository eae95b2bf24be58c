//! Listening sockets: bound here, or inherited from a supervisor such as systemd.

use std::io;
use std::net::{self, Ipv4Addr, SocketAddr};
use std::os::unix;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::ServerError;
use super::socket::{Listener, SocketFile};
use crate::config::{DEFAULT_LISTEN, Listen};

/// Connections that may wait to be accepted. After a restart all clients return at once; the
/// kernel cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Whoever reaches the socket's folder may connect, as with a port of this host.
const SOCKET_MODE: u32 = 0o666;

/// Sockets that the process was started with, by `LISTEN_FDS` and `LISTEN_PID` (sd_listen_fds(3)).
#[derive(Debug, Default)]
pub struct Inherited(Vec<Passed>);

#[derive(Debug)]
enum Passed {
    Tcp(net::TcpListener),
    Unix(unix::net::UnixListener),
}

impl Inherited {
    /// Takes them from the environment; call it while the process has one thread.
    ///
    /// # Errors
    /// A descriptor that is no listening stream socket.
    pub fn from_env() -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let socket = match passed.take_tcp_listener(index) {
                Ok(socket) => socket.map(Passed::Tcp),
                // Of another kind, and still there.
                Err(_) => passed.take_unix_listener(index)?.map(Passed::Unix),
            };
            sockets.extend(socket);
        }
        Ok(Self(sockets))
    }
}

impl Passed {
    fn listen(self) -> io::Result<(Listener, Listen)> {
        match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                let address = Listen::Tcp(socket.local_addr()?);
                Ok((Listener::Tcp(TcpListener::from_std(socket)?), address))
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                let address = socket.local_addr()?;
                let path = address
                    .as_pathname()
                    .unwrap_or_else(|| Path::new("(unnamed)"));
                let address = Listen::Unix(path.to_owned());
                // Its file belongs to whoever made it.
                let listener = Listener::Unix {
                    listener: UnixListener::from_std(socket)?,
                    _file: None,
                };
                Ok((listener, address))
            }
        }
    }
}

/// The sockets of `wanted`, or those that the process was started with: whoever hands some over
/// has chosen where it listens.
pub(super) fn open(
    wanted: &[Listen],
    inherited: Inherited,
) -> Result<Vec<(Listener, Listen)>, ServerError> {
    if inherited.0.is_empty() {
        return wanted.iter().map(bind).collect();
    }
    let sockets = inherited.0.into_iter().map(Passed::listen);
    sockets
        .collect::<Result<_, _>>()
        .map_err(ServerError::Inherited)
}

/// Binds one address. The default, `[::]:3000`, falls back to IPv4 where there is no IPv6.
fn bind(wanted: &Listen) -> Result<(Listener, Listen), ServerError> {
    let error = |error| ServerError::Bind {
        address: wanted.clone(),
        error,
    };
    let address = match wanted {
        Listen::Tcp(address) => *address,
        Listen::Unix(path) => {
            let listener = bind_path(path).map_err(error)?;
            let listener = Listener::Unix {
                listener,
                _file: Some(SocketFile::new(path)),
            };
            return Ok((listener, wanted.clone()));
        }
    };
    let listener = match bind_tcp(address) {
        Ok(listener) => listener,
        Err(first) if first.kind() == io::ErrorKind::AddrInUse => return Err(error(first)),
        Err(first) if DEFAULT_LISTEN.parse() == Ok(address) => {
            bind_tcp((Ipv4Addr::UNSPECIFIED, address.port()).into()).map_err(|_| error(first))?
        }
        Err(first) => return Err(error(first)),
    };
    let address = listener.local_addr().unwrap_or(address);
    Ok((Listener::Tcp(listener), Listen::Tcp(address)))
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
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

fn bind_path(path: &Path) -> io::Result<UnixListener> {
    // What a killed process left behind is in the way; what a living one holds stays.
    let left_behind = path
        .symlink_metadata()
        .is_ok_and(|file| file.file_type().is_socket())
        && unix::net::UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if left_behind {
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE))?;
    socket.listen(BACKLOG)?;
    UnixListener::from_std(socket.into())
}
