//! The accept loop, our own because `axum::serve` has no header timeout, no connection cap and
//! does not wait for upgraded sockets.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::addresses::{Phase, Slot};
use super::socket::{Listener, Stream};
use super::tls::Tls;
use super::{proxy_header, routes, upgrade};
use crate::hub::Hub;
use crate::session::Handler;

/// After a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes of a request head.
const MAX_HEAD: usize = 16 * 1024;

/// Accepts on one listener.
pub(super) struct Acceptor<F> {
    pub(super) hub: Arc<Hub>,
    pub(super) tls: Option<Tls>,
    pub(super) handler: F,
    pub(super) sockets: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl<F, H> Acceptor<F>
where
    H: Handler,
    F: Fn() -> H + Clone + Send + Sync + 'static,
{
    pub(super) async fn run(self, listener: Listener) {
        let router = routes::router(Arc::clone(&self.hub), self.tls.clone());
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    self.socket(stream, peer, &router);
                }
                // The client gave up while it waited; not our failure.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.hub.metrics.accept_errors.inc();
                    if !failing {
                        tracing::warn!(%error, "cannot accept connections, trying on");
                    }
                    failing = true;
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn socket(&self, stream: Stream, peer: IpAddr, router: &Router) {
        let Some(slot) = slot(&self.hub, peer) else {
            return;
        };
        let (hub, router) = (Arc::clone(&self.hub), router.clone());
        let (handler, stop) = (self.handler.clone(), self.stop.clone());
        let tls = self.tls.as_ref().map(Tls::acceptor);
        self.sockets.spawn(async move {
            let Some((stream, peer, _slot)) = introduce(&hub, stream, peer, slot).await else {
                return;
            };
            let Some(acceptor) = tls else {
                return serve(&hub, stream, peer, router, handler, stop).await;
            };
            match timeout(hub.settings.header_timeout, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => serve(&hub, stream, peer, router, handler, stop).await,
                Ok(Err(error)) => {
                    hub.metrics.tls_errors.inc();
                    tracing::debug!(%error, "TLS handshake failed");
                }
                Err(_) => hub.metrics.http_timeouts.inc(),
            }
        });
    }
}

/// A place for a socket that has not said anything yet.
fn slot(hub: &Hub, peer: IpAddr) -> Option<Option<Slot>> {
    let slot = hub.addresses.take(peer, Phase::Http, hub.clock.now_ms());
    if slot.is_err() {
        hub.metrics.sockets_refused.inc();
    }
    slot.ok()
}

/// Whom the socket comes from: its other end, or whom a proxy names before anything else.
async fn introduce(
    hub: &Hub,
    mut stream: Stream,
    peer: IpAddr,
    place: Option<Slot>,
) -> Option<(Stream, IpAddr, Option<Slot>)> {
    if !hub.settings.proxy_protocol || !hub.addresses.is_trusted(peer) {
        return Some((stream, peer, place));
    }
    let header = proxy_header::read(&mut stream);
    match timeout(hub.settings.header_timeout, header).await {
        Ok(Ok(Some(client))) => {
            let client = client.to_canonical();
            Some((stream, client, slot(hub, client)?))
        }
        Ok(Ok(None)) => Some((stream, peer, place)),
        Ok(Err(error)) => {
            hub.metrics.proxy_header_errors.inc();
            tracing::debug!(%error, "a proxy did not introduce its client");
            None
        }
        Err(_) => {
            hub.metrics.http_timeouts.inc();
            None
        }
    }
}

/// Serves HTTP on one socket until it closes or is upgraded.
async fn serve<S, F, H>(
    hub: &Arc<Hub>,
    stream: S,
    peer: IpAddr,
    router: Router,
    handler: F,
    stop: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
    F: Fn() -> H,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(routes::Peer(peer));
        let upgraded = upgrade::is_wanted(request.headers());
        let router = router.clone();
        let response = if upgraded {
            Ok(upgrade::upgrade(hub, peer, request, handler()))
        } else {
            Err(request.map(Body::new))
        };
        async move {
            match response {
                Ok(response) => Ok(response),
                Err(request) => router.oneshot(request).await,
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(hub.settings.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        if error.is_timeout() {
            hub.metrics.http_timeouts.inc();
        }
        tracing::debug!(%error, "HTTP connection failed");
    }
}
