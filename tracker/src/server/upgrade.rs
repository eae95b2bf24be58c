//! The WebSocket upgrade, on any path (RFC 6455 section 4.2): who may, then the socket leaves
//! hyper and belongs to the relay.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use tokio_rustls::server::TlsStream;
use tungstenite::handshake::derive_accept_key;

use super::addresses::{Phase, Slot};
use super::client_addr::client;
use super::socket::Stream;
use crate::hub::Hub;
use crate::log;
use crate::metrics::{ClosedBy, UpgradeRefused};
use crate::session::{Connection, Driver, Handler};

/// Whether a request wants a WebSocket, well-formed or not.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
}

/// Answers the request and, if that is 101, leaves a task that waits for the socket.
pub(super) fn upgrade<H: Handler>(
    hub: &Arc<Hub>,
    peer: IpAddr,
    mut request: Request<Incoming>,
    handler: H,
) -> Response<Body> {
    let accepted = match check(hub, peer, &request) {
        Ok(accepted) => accepted,
        Err((refused, status, text)) => {
            hub.metrics.upgrades_rejected.inc(refused);
            tracing::debug!(?refused, "upgrade refused");
            let mut response = Response::new(Body::from(format!("{text}\n")));
            *response.status_mut() = status;
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, plain);
            if status == StatusCode::UPGRADE_REQUIRED {
                let thirteen = HeaderValue::from_static("13");
                response
                    .headers_mut()
                    .insert(header::SEC_WEBSOCKET_VERSION, thirteen);
            }
            return response;
        }
    };
    let open = Open::new(hub, accepted.client, accepted.slot);
    let waiting = hyper::upgrade::on(&mut request);
    tokio::spawn(take_over(waiting, open, handler));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accepted.key);
    response
}

struct Accepted {
    client: IpAddr,
    slot: Option<Slot>,
    key: HeaderValue,
}

type Refusal = (UpgradeRefused, StatusCode, &'static str);

fn check(hub: &Hub, peer: IpAddr, request: &Request<Incoming>) -> Result<Accepted, Refusal> {
    let headers = request.headers();
    let bad = |text| (UpgradeRefused::BadRequest, StatusCode::BAD_REQUEST, text);
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return Err(bad("a WebSocket starts with GET over HTTP/1.1"));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(bad("Connection: Upgrade is missing; does a proxy drop it?"));
    }
    if headers
        .get(header::SEC_WEBSOCKET_VERSION)
        .is_none_or(|version| version != "13")
    {
        let text = "this server speaks WebSocket version 13 (RFC 6455)";
        return Err((
            UpgradeRefused::BadRequest,
            StatusCode::UPGRADE_REQUIRED,
            text,
        ));
    }
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .filter(|key| is_key(key.as_bytes()))
        .ok_or_else(|| bad("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    if hub.is_draining() {
        let text = "server is shutting down";
        return Err((
            UpgradeRefused::Draining,
            StatusCode::SERVICE_UNAVAILABLE,
            text,
        ));
    }
    let origin = headers
        .get(header::ORIGIN)
        .map(|origin| origin.to_str().unwrap_or_default());
    if !hub.access().admits(origin) {
        let text = "this tracker does not serve pages of your origin";
        return Err((UpgradeRefused::Origin, StatusCode::FORBIDDEN, text));
    }
    if hub.is_full() {
        let text = "this tracker has as many connections as it may";
        return Err((
            UpgradeRefused::ConnectionLimit,
            StatusCode::SERVICE_UNAVAILABLE,
            text,
        ));
    }
    let client = client(&hub.addresses, peer, headers);
    let now_ms = hub.clock.now_ms();
    if !hub.addresses.may_upgrade(client, now_ms) {
        let text = "too many new connections from your address; slow down";
        return Err((UpgradeRefused::Rate, StatusCode::TOO_MANY_REQUESTS, text));
    }
    let slot = hub
        .addresses
        .take(client, Phase::WebSocket, now_ms)
        .map_err(|_| {
            let text = "too many connections from your address";
            (
                UpgradeRefused::AddressLimit,
                StatusCode::TOO_MANY_REQUESTS,
                text,
            )
        })?;
    let accept = derive_accept_key(key.as_bytes());
    let key = HeaderValue::try_from(accept).map_err(|_| bad("bad key"))?;
    Ok(Accepted { client, slot, key })
}

/// 16 bytes in base64: 22 characters and two `=`.
fn is_key(key: &[u8]) -> bool {
    let body = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key[..22].iter().all(body) && key.ends_with(b"==")
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

/// What an open WebSocket counts for; given back on drop.
struct Open {
    hub: Arc<Hub>,
    client: IpAddr,
    _slot: Option<Slot>,
}

impl Open {
    fn new(hub: &Arc<Hub>, client: IpAddr, slot: Option<Slot>) -> Self {
        hub.metrics.connections.inc();
        Self {
            hub: Arc::clone(hub),
            client,
            _slot: slot,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hub.metrics.connections.dec();
    }
}

/// Waits until hyper lets go of the socket and starts the connection's own, small task.
async fn take_over<H: Handler>(waiting: OnUpgrade, open: Open, handler: H) {
    let Ok(upgraded) = waiting.await else {
        return;
    };
    let Some((stream, tls, early)) = split(upgraded) else {
        return;
    };
    let hub = Arc::clone(&open.hub);
    let id = hub.next_connection();
    let (read, write) = stream.into_split();
    let now_ms = hub.clock.now_ms();
    let connection = Arc::new(Connection::new(
        id,
        write,
        tls,
        hub.settings.max_outbox,
        now_ms,
    ));
    hub.connections.insert(id, Arc::clone(&connection));
    if hub.is_draining() {
        connection.request_close(ClosedBy::Shutdown);
    }
    hub.metrics.connections_opened.inc();
    let client = log::address(open.client, hub.settings.log_addresses);
    tracing::debug!(connection = id, client, "opened");
    let max_message = hub.settings.max_message_size;
    let metrics = Arc::clone(&hub.metrics);
    let mut driver = Driver::new(read, connection, max_message, handler, metrics, hub.clock);
    let going = driver.take(early);
    tokio::spawn(async move {
        let by = match going {
            true => driver.run().await,
            false => ClosedBy::Error,
        };
        let hub = &open.hub;
        hub.connections.remove(&id);
        hub.metrics.connections_closed.inc(by);
        let client = log::address(open.client, hub.settings.log_addresses);
        if by == ClosedBy::Limit {
            tracing::info!(
                connection = id,
                client,
                "closed: went on after too many messages"
            );
        } else {
            tracing::debug!(connection = id, client, ?by, "closed");
        }
    });
}

/// The socket, its TLS session and what was read behind the request.
fn split(upgraded: Upgraded) -> Option<(Stream, Option<ServerConnection>, Vec<u8>)> {
    match upgraded.downcast::<TokioIo<Stream>>() {
        Ok(parts) => Some((parts.io.into_inner(), None, parts.read_buf.to_vec())),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<Stream>>>().ok()?;
            let (stream, tls) = parts.io.into_inner().into_inner();
            Some((stream, Some(tls), parts.read_buf.to_vec()))
        }
    }
}
