//! `/ice.json`: STUN and TURN servers for pages and peers; see `crate::ice` for the format.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::client_addr::client;
use super::routes::Peer;
use crate::clock::system_time;
use crate::config::Settings;
use crate::hub::Hub;
use crate::ice::servers;
use crate::metrics::IceAnswer;

/// What the settings say about ICE servers.
pub(crate) struct Ice {
    urls: Vec<String>,
    secret: Vec<u8>,
    ttl: Duration,
}

/// Why the TURN secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the TURN secret from {path}: {error}", path = path.display())]
pub struct SecretError {
    path: PathBuf,
    error: std::io::Error,
}

impl fmt::Debug for Ice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ice")
            .field("urls", &self.urls)
            .finish_non_exhaustive()
    }
}

impl Ice {
    /// Reads the secret; the end of its line does not belong to it.
    pub(super) fn load(settings: &Settings) -> Result<Self, SecretError> {
        let mut secret = Vec::new();
        if let Some(path) = &settings.turn_secret_file {
            let error = |error| SecretError {
                path: path.clone(),
                error,
            };
            secret = std::fs::read(path).map_err(error)?;
            secret.truncate(secret.trim_ascii_end().len());
            if secret.is_empty() {
                return Err(error(std::io::Error::other("it is empty")));
            }
        }
        Ok(Self {
            urls: settings.ice_server.clone(),
            secret,
            ttl: settings.turn_ttl,
        })
    }
}

/// Whoever may open a WebSocket may have the list, and as often: the credentials are worth traffic.
pub(super) async fn ice_json(
    State(hub): State<Arc<Hub>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Response {
    let ice = hub.ice();
    if ice.urls.is_empty() {
        // Nothing is said, and clients have defaults of their own; no error in their consoles.
        let anybody = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")];
        return (StatusCode::NO_CONTENT, anybody).into_response();
    }
    let origin = headers
        .get(header::ORIGIN)
        .map(|origin| origin.to_str().unwrap_or_default());
    let refuse = |status: StatusCode, text| {
        hub.metrics.ice_requests.inc(IceAnswer::Refused);
        (status, text).into_response()
    };
    if !hub.access().admits(origin) {
        let text = "this tracker does not serve pages of your origin\n";
        return refuse(StatusCode::FORBIDDEN, text);
    }
    let client = client(&hub.addresses, peer, &headers);
    if !hub.addresses.may_upgrade(client, hub.clock.now_ms()) {
        let text = "too many requests from your address; slow down\n";
        return refuse(StatusCode::TOO_MANY_REQUESTS, text);
    }
    hub.metrics.ice_requests.inc(IceAnswer::Served);
    let now = system_time().duration_since(SystemTime::UNIX_EPOCH);
    let list = servers(
        &ice.urls,
        &ice.secret,
        now.unwrap_or_default().as_secs(),
        ice.ttl,
    );
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Json(list)).into_response()
}
