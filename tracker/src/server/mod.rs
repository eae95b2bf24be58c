//! The server: listening sockets, HTTP and upgrades on the same port, sweeping, reload and drain.

mod accept;
pub(crate) mod addresses;
mod assets;
mod authority;
mod client_addr;
mod healthcheck;
pub(crate) mod ice;
mod listen;
mod proxy_header;
mod routes;
mod shutdown;
pub(crate) mod socket;
mod tls;
mod trust;
mod upgrade;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::authority::Trust;
pub use self::healthcheck::healthcheck;
pub use self::ice::SecretError;
pub use self::listen::Inherited;
pub use self::tls::TlsError;

use self::ice::Ice;
use self::socket::Listener;
use self::tls::Tls;
use crate::access::{Access, AccessError};
use crate::clock::Clock;
use crate::cluster;
use crate::config::{Listen, Settings};
use crate::hub::Hub;
use crate::metrics::Reload;
use crate::session::Handler;
use crate::session::tracker::Session;
use crate::swarm::sweep;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address cannot be bound.
    #[error("cannot listen on {address}: {error}{}", hint(error))]
    Bind {
        /// Which one.
        address: Listen,
        /// What the system said.
        error: io::Error,
    },
    /// A socket that the process was started with.
    #[error("cannot listen on an inherited socket: {0}")]
    Inherited(io::Error),
    /// An access list cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The TLS files cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The TURN secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; choose another port with --listen ADDRESS:PORT",
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need a privilege: choose another with --listen ADDRESS:PORT"
        }
        _ => "; see --listen",
    }
}

/// A bound tracker that does not serve yet.
pub struct Server {
    hub: Arc<Hub>,
    listeners: Vec<Listener>,
    listens: Vec<Listen>,
    addresses: Vec<SocketAddr>,
    tls: Option<Tls>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listens", &self.listens)
            .finish_non_exhaustive()
    }
}

/// Replaces what may change while serving: access lists, origins, TLS files.
#[derive(Clone)]
pub struct Reloader {
    hub: Arc<Hub>,
    tls: Option<Tls>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").finish_non_exhaustive()
    }
}

impl Reloader {
    /// Reads lists and TLS files again, as `settings` name them. What cannot be read leaves
    /// everything as it was.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn reload(&self, settings: &Settings) -> Result<(), ServerError> {
        let result = self.try_reload(settings);
        let outcome = if result.is_ok() {
            Reload::Ok
        } else {
            Reload::Error
        };
        self.hub.metrics.reloads.inc(outcome);
        result
    }

    /// How often connections and swarms have been looked through; it grows while the server works.
    #[must_use]
    pub fn sweeps(&self) -> u64 {
        self.hub.metrics.sweep_duration.get_sample_count()
    }

    /// Counts a reload that failed before there were settings.
    pub fn failed(&self) {
        self.hub.metrics.reloads.inc(Reload::Error);
    }

    fn try_reload(&self, settings: &Settings) -> Result<(), ServerError> {
        let access = Access::load(settings)?;
        let ice = Ice::load(settings)?;
        if let Some(tls) = &self.tls {
            tls.reload(settings)?;
        }
        self.hub.set_access(access);
        self.hub.set_ice(ice);
        Ok(())
    }
}

impl Server {
    /// Reads the files that `settings` name and binds the addresses.
    ///
    /// # Errors
    /// [`ServerError`]: a taken port, an unreadable file.
    pub fn bind(settings: Settings) -> Result<Self, ServerError> {
        Self::bind_or_inherit(settings, Inherited::default())
    }

    /// The same, but where there are sockets to inherit, those are served and no others.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_or_inherit(
        mut settings: Settings,
        inherited: Inherited,
    ) -> Result<Self, ServerError> {
        let access = Access::load(&settings)?;
        let ice = Ice::load(&settings)?;
        let tls = Tls::load(&settings)?;
        let (listeners, listens): (_, Vec<_>) = listen::open(&settings.listen, inherited)?
            .into_iter()
            .unzip();
        let addresses = listens.iter().filter_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        let addresses = addresses.collect();
        settings.max_connections = settings.max_connections.min(most_connections());
        let hub = Arc::new(Hub::new(settings, access, ice, Clock::start()));
        Ok(Self {
            hub,
            listeners,
            listens,
            addresses,
            tls,
        })
    }

    /// Where it serves, ports chosen by the system included.
    #[must_use]
    pub fn listens(&self) -> &[Listen] {
        &self.listens
    }

    /// The addresses of that which are no paths.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// With a certificate of its own: what clients need to trust it.
    #[must_use]
    pub fn trust(&self) -> Option<Arc<Trust>> {
        self.tls.as_ref().and_then(Tls::trust)
    }

    /// Whether it serves https and wss.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Most connections it takes, after the file descriptor limit.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.hub.settings.max_connections
    }

    /// A handle that outlives [`run`](Self::run)'s taking of the server.
    #[must_use]
    pub fn reloader(&self) -> Reloader {
        Reloader {
            hub: Arc::clone(&self.hub),
            tls: self.tls.clone(),
        }
    }

    /// Serves the tracker until `shutdown` completes, then drains.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let hub = Arc::clone(&self.hub);
        self.run_with(move || Session::new(Arc::clone(&hub)), shutdown)
            .await;
    }

    /// The same connections for another purpose: `handler` makes one for each WebSocket.
    pub async fn run_with<H, F>(self, handler: F, shutdown: impl Future<Output = ()>)
    where
        H: Handler,
        F: Fn() -> H + Clone + Send + Sync + 'static,
    {
        let stop = CancellationToken::new();
        let sockets = TaskTracker::new();
        for listener in self.listeners {
            let acceptor = accept::Acceptor {
                hub: Arc::clone(&self.hub),
                tls: self.tls.clone(),
                handler: handler.clone(),
                sockets: sockets.clone(),
                stop: stop.clone(),
            };
            sockets.spawn(acceptor.run(listener));
        }
        let sweeping = CancellationToken::new();
        let sweeper = tokio::spawn(sweep::run(Arc::clone(&self.hub), sweeping.clone()));
        let alone = CancellationToken::new();
        let node = tokio::spawn(cluster::run::run(Arc::clone(&self.hub), alone.clone()));
        shutdown.await;
        shutdown::drain(&self.hub, &stop, &sockets).await;
        alone.cancel();
        let _ = node.await;
        sweeping.cancel();
        let _ = sweeper.await;
    }
}

/// File descriptors left for other things than connections: listeners, files, HTTP requests.
const SPARE_FDS: usize = 256;

/// How many connections the process's file descriptors allow.
fn most_connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    limit.saturating_sub(SPARE_FDS).max(1)
}
