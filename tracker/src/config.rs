//! Settings: one clap definition for flags, environment (`EASYPEERS_*`), TOML file and defaults,
//! in that order of precedence. The TOML file has the flags' names without the dashes in front.

mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::{AddrParseError, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::OsStr;
use clap::{Args, Command, ValueEnum};
use easypeers_cli::duration;
use ipnet::IpNet;

use crate::cluster::{ClusterUrl, ClusterUrlError};
use crate::session::state::MessageRate;
use values::{
    cluster_url, count, ice_url, interval, listen, network, offers, positive, rate, size, ttl,
};

/// Where to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket, written `unix:/path`.
    Unix(PathBuf),
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ => text.parse().map(Self::Tcp),
        }
    }
}

/// Everything that can be set. Field docs are the help texts.
#[derive(Debug, Clone, Args)]
#[group(skip)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Address and port to serve page, tracker and metrics on, or unix:/path; repeatable; port 0
    /// takes a free one. [::] serves IPv4 too. Sockets inherited from systemd replace all of them
    #[arg(long, env = "EASYPEERS_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',',
          default_value = DEFAULT_LISTEN, value_parser = listen, global = true)]
    pub listen: Vec<Listen>,

    /// How often clients shall announce, 1s to 1h
    #[arg(long, env = "EASYPEERS_ANNOUNCE_INTERVAL", value_name = "DURATION",
          default_value = "120s", value_parser = interval, global = true)]
    pub announce_interval: Duration,

    /// PEM file with the TLS certificate chain: serves https and wss
    #[arg(long, env = "EASYPEERS_TLS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the TLS private key
    #[arg(long, env = "EASYPEERS_TLS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,

    /// Serve https and wss with a certificate of our own, for a LAN: FILE keeps the authority that
    /// signs it, and is made if missing. The page /trust says how browsers learn to trust it
    #[arg(
        long,
        env = "EASYPEERS_TLS_SELF_SIGNED",
        value_name = "FILE",
        global = true
    )]
    pub tls_self_signed: Option<PathBuf>,

    /// STUN or TURN server that /ice.json names to pages and peers: stun:HOST:PORT, turn:HOST:PORT
    /// or turns:HOST:PORT; repeatable. Without any there is no /ice.json
    #[arg(long, env = "EASYPEERS_ICE_SERVER", value_name = "URL", value_delimiter = ',',
          value_parser = ice_url, global = true)]
    pub ice_server: Vec<String>,

    /// File with the secret shared with the TURN servers, for time-limited credentials
    #[arg(
        long,
        env = "EASYPEERS_TURN_SECRET_FILE",
        value_name = "FILE",
        global = true
    )]
    pub turn_secret_file: Option<PathBuf>,

    /// How long TURN credentials are good for, 10m to 1 week; peers ask again every five minutes
    #[arg(long, env = "EASYPEERS_TURN_TTL", value_name = "DURATION", default_value = "4h",
          value_parser = ttl, global = true)]
    pub turn_ttl: Duration,

    /// Infohashes to refuse: one a line in hex, then an optional message for clients
    #[arg(long, env = "EASYPEERS_DENY_FILE", value_name = "FILE", global = true)]
    pub deny_file: Option<PathBuf>,

    /// Infohashes to serve, no others: one a line in hex
    #[arg(long, env = "EASYPEERS_ALLOW_FILE", value_name = "FILE", global = true)]
    pub allow_file: Option<PathBuf>,

    /// Web origin that may connect, such as https://example.org; repeatable; default: any
    #[arg(
        long,
        env = "EASYPEERS_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        global = true
    )]
    pub allow_origin: Vec<String>,

    /// Reverse proxy whose X-Forwarded-For is believed; repeatable; default: none
    #[arg(long, env = "EASYPEERS_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',',
          value_parser = network, global = true)]
    pub trusted_proxy: Vec<IpNet>,

    /// Connections from --trusted-proxy begin with a PROXY protocol header, version 1 or 2, which
    /// has the client's address
    #[arg(long, env = "EASYPEERS_PROXY_PROTOCOL", global = true)]
    pub proxy_protocol: bool,

    /// Several trackers with the same URL act as one, over a Redis: redis://HOST[:PORT],
    /// redis://USER:PASSWORD@HOST, rediss://HOST for TLS, unix:///PATH, or
    /// redis+sentinel://HOST[,HOST...]/NAME
    #[arg(long, env = "EASYPEERS_CLUSTER_URL", value_name = "URL", hide_env_values = true,
          hide_default_value = true, value_parser = cluster_url, global = true)]
    pub cluster_url: Option<ClusterUrl>,

    /// While the Redis of --cluster-url is away, /readyz says 503, so that clients go to nodes which
    /// reach it; who is connected is served all the same
    #[arg(long, env = "EASYPEERS_CLUSTER_REQUIRED", global = true)]
    pub cluster_required: bool,

    /// Most WebSocket connections at once; bounded by the file descriptor limit
    #[arg(long, env = "EASYPEERS_MAX_CONNECTIONS", value_name = "N", default_value = "1000000",
          value_parser = count, global = true)]
    pub max_connections: usize,

    /// Most connections from one address (IPv6: one /64); loopback is exempt
    #[arg(long, env = "EASYPEERS_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N",
          default_value = "1000", value_parser = count, global = true)]
    pub max_connections_per_address: usize,

    /// New WebSockets a second from one address, after a burst of ten times as many; loopback is
    /// exempt
    #[arg(long, env = "EASYPEERS_MAX_UPGRADES_PER_SECOND", value_name = "N",
          default_value = "100", value_parser = rate, global = true)]
    pub max_upgrades_per_second: u32,

    /// Messages a second from one connection, after a burst of ten times as many
    #[arg(long, env = "EASYPEERS_MAX_MESSAGES_PER_SECOND", value_name = "N",
          default_value = "200", value_parser = rate, global = true)]
    pub max_messages_per_second: u32,

    /// Offers relayed per announce, at most 100; further ones are ignored
    #[arg(long, env = "EASYPEERS_MAX_OFFERS", value_name = "N", default_value = "20",
          value_parser = offers, global = true)]
    pub max_offers: usize,

    /// Swarms that one connection may be in
    #[arg(long, env = "EASYPEERS_MAX_SWARMS_PER_CONNECTION", value_name = "N",
          default_value = "500", value_parser = count, global = true)]
    pub max_swarms_per_connection: usize,

    /// Swarms in all
    #[arg(long, env = "EASYPEERS_MAX_SWARMS", value_name = "N", default_value = "1000000",
          value_parser = count, global = true)]
    pub max_swarms: usize,

    /// Largest message from a client, in bytes (suffixes KiB, MiB)
    #[arg(long, env = "EASYPEERS_MAX_MESSAGE_SIZE", value_name = "BYTES",
          default_value = "128KiB", value_parser = size, global = true)]
    pub max_message_size: usize,

    /// Most bytes that wait for a client that reads slowly; offers are dropped at three quarters
    /// of it, at all of it the connection is closed
    #[arg(long, env = "EASYPEERS_MAX_OUTBOX", value_name = "BYTES", default_value = "256KiB",
          value_parser = size, global = true)]
    pub max_outbox: usize,

    /// A connection silent for this long is pinged; silent for three times as long it is closed
    #[arg(long, env = "EASYPEERS_PING_INTERVAL", value_name = "DURATION", default_value = "30s",
          value_parser = positive, global = true)]
    pub ping_interval: Duration,

    /// Time for a whole request head and for the TLS handshake
    #[arg(long, env = "EASYPEERS_HEADER_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = positive, global = true)]
    pub header_timeout: Duration,

    /// On shutdown, the time over which connections are closed
    #[arg(long, env = "EASYPEERS_DRAIN_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = duration, global = true)]
    pub drain_timeout: Duration,

    /// Threads that serve connections; default: one per core
    #[arg(long, env = "EASYPEERS_WORKERS", value_name = "N", value_parser = count, global = true)]
    pub workers: Option<usize>,

    /// How logs look; default: text
    #[arg(
        long,
        env = "EASYPEERS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, also per module
    #[arg(
        long,
        env = "EASYPEERS_LOG_LEVEL",
        value_name = "FILTER",
        default_value = "info",
        global = true
    )]
    pub log_level: String,

    /// How client addresses appear in logs
    #[arg(
        long,
        env = "EASYPEERS_LOG_ADDRESSES",
        value_name = "HOW",
        default_value = "prefix",
        global = true
    )]
    pub log_addresses: LogAddresses,
}

/// Where it serves when nothing is said.
pub(crate) const DEFAULT_LISTEN: &str = "[::]:3000";

/// Shape of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// How much of a client's address is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogAddresses {
    /// As it is.
    Full,
    /// IPv4 to /24, IPv6 to /48.
    Prefix,
    /// Not at all.
    None,
}

impl Default for Settings {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            settings: Settings,
        }
        // The environment is not a default: no variable has an empty name.
        let mut command = <Only as clap::CommandFactory>::command();
        let ids: Vec<_> = command
            .get_arguments()
            .map(|arg| arg.get_id().clone())
            .collect();
        for id in ids {
            command = command.mut_arg(id, |arg| arg.env(""));
        }
        let matches = command.get_matches_from(["tracker"]);
        match <Only as clap::FromArgMatches>::from_arg_matches(&matches) {
            Ok(only) => only.settings,
            Err(error) => error.exit(),
        }
    }
}

impl Settings {
    /// Messages a second, and how many may be saved up for a burst.
    pub(crate) fn message_rate(&self) -> MessageRate {
        let rate = self.max_messages_per_second;
        MessageRate {
            rate,
            burst: rate.saturating_mul(10),
        }
    }

    /// Settings that contradict each other.
    ///
    /// # Errors
    /// What contradicts what.
    pub fn check(&self) -> Result<(), ConfigError> {
        let has_turn = self.ice_server.iter().any(|url| crate::ice::is_turn(url));
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            Err(ConfigError::TlsPair)
        } else if self.tls_cert.is_some() && self.tls_self_signed.is_some() {
            Err(ConfigError::TwoCertificates)
        } else if has_turn != self.turn_secret_file.is_some() {
            Err(ConfigError::TurnPair)
        } else if self.proxy_protocol && self.trusted_proxy.is_empty() {
            Err(ConfigError::NoProxy)
        } else if self.cluster_required && self.cluster_url.is_none() {
            Err(ConfigError::NoCluster)
        } else if let Some(url) = &self.cluster_url {
            url.check().map_err(ConfigError::ClusterUrl)
        } else {
            Ok(())
        }
    }

    /// Whether it speaks https and wss.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls_cert.is_some() || self.tls_self_signed.is_some()
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read config file {path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is not TOML.
    #[error("config file {path} is not valid TOML: {error}")]
    Syntax {
        /// Which file.
        path: String,
        /// Line, column and reason.
        error: toml::de::Error,
    },
    /// It has a key that is no setting.
    #[error("config file {path}: unknown key {key:?}; keys are the flags of --help without --")]
    UnknownKey {
        /// Which file.
        path: String,
        /// The key.
        key: String,
    },
    /// A value is a table or a date.
    #[error("config file {path}: {key} must be a string, a number or a list of strings")]
    BadType {
        /// Which file.
        path: String,
        /// The key.
        key: String,
    },
    /// Certificate without key or key without certificate.
    #[error("--tls-cert and --tls-key go together: give both or neither")]
    TlsPair,
    /// A certificate from files and one of our own.
    #[error("--tls-cert and --tls-self-signed exclude each other")]
    TwoCertificates,
    /// A TURN server without the secret, or the secret without one.
    #[error("a turn: --ice-server and --turn-secret-file go together: give both or neither")]
    TurnPair,
    /// Nobody who may send the header.
    #[error("--proxy-protocol needs --trusted-proxy: who sends the header?")]
    NoProxy,
    /// Required, but not said which.
    #[error("--cluster-required needs --cluster-url")]
    NoCluster,
    /// The cluster's URL. Not refused by clap, whose message would show it.
    #[error("--cluster-url: {0}")]
    ClusterUrl(ClusterUrlError),
}

/// Puts the values of a TOML file into `command` as defaults. Returns the keys it set.
pub(crate) fn apply_file(
    mut command: Command,
    path: &str,
) -> Result<(Command, Vec<String>), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })?;
    let table: toml::Table = text.parse().map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        error,
    })?;
    let order: Vec<_> = command
        .get_arguments()
        .map(|arg| arg.get_id().clone())
        .collect();
    let mut keys = Vec::new();
    for (key, value) in table {
        let id = key.replace('-', "_");
        let known = command
            .get_arguments()
            .any(|arg| arg.get_id() == id.as_str());
        if !known || id == "config" {
            return Err(ConfigError::UnknownKey {
                path: path.to_owned(),
                key,
            });
        }
        let items = match value {
            toml::Value::Array(items) => items,
            single => vec![single],
        };
        let values = items
            .into_iter()
            .map(|item| match item {
                toml::Value::String(text) => Some(OsString::from(text)),
                toml::Value::Integer(number) => Some(number.to_string().into()),
                toml::Value::Float(number) => Some(number.to_string().into()),
                toml::Value::Boolean(flag) => Some(flag.to_string().into()),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| ConfigError::BadType {
                path: path.to_owned(),
                key: key.clone(),
            })?;
        command = command.mut_arg(&id, |arg| {
            arg.default_values(values.into_iter().map(OsStr::from))
        });
        keys.push(id);
    }
    // A changed argument goes to the end of the list; touching all of them keeps the order.
    for id in order {
        command = command.mut_arg(id, |arg| arg);
    }
    Ok((command, keys))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_flags() {
        let settings = Settings::default();
        assert_eq!(settings.listen, [DEFAULT_LISTEN.parse().unwrap()]);
        assert_eq!(settings.listen[0].to_string(), DEFAULT_LISTEN);
        assert_eq!(settings.announce_interval, Duration::from_secs(120));
        assert_eq!(settings.message_rate().burst, 2000);
    }
}
