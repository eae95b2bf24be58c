//! A WebTorrent-compatible WebSocket tracker as a library; the binary `tracker` is a thin wrapper.
//!
//! A message's way: `server::accept` (who) -> [`session`] (WebSocket frames) -> `easypeers_proto::tracker`
//! (decode) -> `session::state` (may they) -> `swarm` (to whom) -> encode once -> outbox -> socket.
//! docs/architecture.md explains the choices.

mod access;
pub mod cli;
mod clock;
mod cluster;
pub mod config;
mod hub;
mod ice;
mod limits;
pub mod log;
mod metrics;
mod server;
mod session;
mod swarm;
pub mod ws;

pub use access::AccessError;
pub use cluster::{ClusterUrl, ClusterUrlError, check_cluster};
pub use config::Settings;
pub use server::{
    Inherited, Reloader, SecretError, Server, ServerError, TlsError, Trust, healthcheck,
};
pub use session::{Connection, Handler};

/// The crate's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, or `unknown`.
pub const REVISION: &str = env!("TRACKER_REVISION");

/// The compiler it was built with.
pub const RUSTC: &str = env!("TRACKER_RUSTC");

/// What `--version` says after the name.
pub const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("TRACKER_REVISION"),
    ", ",
    env!("TRACKER_RUSTC"),
    ")"
);
