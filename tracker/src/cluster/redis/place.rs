//! Where a Redis is: its own URL, or those of the Sentinels that know.
//!
//! `redis://`, `rediss://` (TLS), `valkey://`, `valkeys://`, `unix://` are those of the crate.
//! `redis+sentinel://[user:password@]host[:port][,host[:port]...]/NAME[/DB]` asks the Sentinels for the
//! master NAME at every connect; user and password are the master's. `rediss+sentinel://` speaks TLS
//! to the master.

use std::fmt;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, TlsCertificates};

use super::bounded;
use crate::cluster::relay::RelayError;
use crate::cluster::url::{ClusterUrlError, mask};

/// Where Sentinels listen.
const SENTINEL_PORT: u16 = 26379;

const FORMS: &str = "use redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, \
    unix:///PATH, or redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT][,...]/NAME[/DB]";

pub(super) enum Place {
    One(Box<ConnectionInfo>),
    Sentinels {
        /// Of the Sentinels themselves.
        urls: Vec<String>,
        name: String,
        /// Scheme and credentials of the master's URL.
        head: String,
        /// Its database.
        tail: String,
    },
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(info) => write!(f, "{}", info.addr()),
            Self::Sentinels { urls, name, .. } => write!(f, "{name} of {urls:?}"),
        }
    }
}

fn info(url: &str) -> Result<ConnectionInfo, ClusterUrlError> {
    let rest = url.split_once("://").map_or("", |(_, rest)| rest);
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    if place.contains('#') {
        // The crate has an `#insecure`.
        return Err(ClusterUrlError::new(
            "there is nothing to be said behind a #",
        ));
    }
    let info = url.into_connection_info();
    // What the crate says may quote the URL.
    let info = info
        .map_err(|_| ClusterUrlError::new(format!("{} is not understood: {FORMS}", mask(url))))?;
    Ok(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

impl Place {
    pub(super) fn parse(url: &str) -> Result<Self, ClusterUrlError> {
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| ClusterUrlError::new(FORMS))?;
        let tls = match scheme {
            "redis+sentinel" => "redis",
            "rediss+sentinel" => "rediss",
            "redis+cluster" | "rediss+cluster" => {
                let text = "a Redis Cluster is not used: give one Redis, or its Sentinels. One is \
                    enough, and the trackers serve on without it";
                return Err(ClusterUrlError::new(text));
            }
            _ => return Ok(Self::One(Box::new(info(url)?))),
        };
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (format!("{credentials}@"), place),
            None => (String::new(), rest),
        };
        let mut parts = place.split('/');
        let (hosts, name, db) = (parts.next(), parts.next(), parts.next());
        let (Some(hosts), Some(name)) = (
            hosts.filter(|h| !h.is_empty()),
            name.filter(|n| !n.is_empty()),
        ) else {
            return Err(ClusterUrlError::new(FORMS));
        };
        let sentinel = |host: &str| {
            let has_port = host
                .rsplit_once(':')
                .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            match has_port {
                true => format!("redis://{host}"),
                false => format!("redis://{host}:{SENTINEL_PORT}"),
            }
        };
        let place = Self::Sentinels {
            urls: hosts.split(',').map(sentinel).collect(),
            name: name.to_owned(),
            head: format!("{tls}://{credentials}"),
            tail: db.map(|db| format!("/{db}")).unwrap_or_default(),
        };
        if let Self::Sentinels { urls, .. } = &place {
            urls.iter().try_for_each(|url| info(url).map(|_| ()))?;
        }
        place.master("host", 1)?;
        Ok(place)
    }

    /// The master's URL, read.
    fn master(&self, host: &str, port: u16) -> Result<ConnectionInfo, ClusterUrlError> {
        match self {
            Self::One(info) => Ok((**info).clone()),
            Self::Sentinels { head, tail, .. } => {
                let host = match host.contains(':') {
                    true => format!("[{host}]"),
                    false => host.to_owned(),
                };
                info(&format!("{head}{host}:{port}{tail}"))
            }
        }
    }

    /// A client of the Redis that takes writes.
    pub(super) async fn client(&self) -> Result<Client, RelayError> {
        let Self::Sentinels { urls, name, .. } = self else {
            return open(
                self.master("", 0)
                    .map_err(|error| RelayError(error.to_string()))?,
            );
        };
        let mut why = RelayError("no Sentinel is named".into());
        for url in urls {
            match ask(url, name).await {
                Ok((host, port)) => {
                    let info = self.master(&host, port);
                    return open(info.map_err(|error| RelayError(error.to_string()))?);
                }
                Err(error) => why = RelayError(format!("Sentinel {url}: {error}")),
            }
        }
        Err(why)
    }
}

/// Asks one Sentinel where the master is.
async fn ask(url: &str, name: &str) -> Result<(String, u16), RelayError> {
    let client = open(info(url).map_err(|error| RelayError(error.to_string()))?)?;
    let connection = client.get_multiplexed_async_connection();
    let mut connection = bounded("connecting", connection).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let answer = question.query_async::<Option<(String, u16)>>(&mut connection);
    bounded("asking", answer)
        .await?
        .ok_or_else(|| RelayError(format!("there is no master {name}")))
}

fn open(info: ConnectionInfo) -> Result<Client, RelayError> {
    if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
        return Ok(Client::open(info)?);
    }
    let root_cert = match std::env::var_os("SSL_CERT_FILE") {
        Some(file) => {
            let pem = std::fs::read(&file);
            Some(pem.map_err(|error| RelayError(format!("SSL_CERT_FILE: {error}")))?)
        }
        None => None,
    };
    let certificates = TlsCertificates {
        client_tls: None,
        root_cert,
    };
    Ok(Client::build_with_tls(info, certificates)?)
}
