//! `--metrics-listen`: the peer's counts in the Prometheus text format, and its health.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use easypeers::{Easypeers, Stats};
use prometheus::{
    Encoder, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};
use tokio::net::TcpListener;

const NAMESPACE: &str = "easypeers_peer";

/// All values of [`easypeers::State::as_str`].
const STATES: [&str; 4] = ["connecting", "joined", "degraded", "offline"];

/// Binds the address before the peer joins: a peer that cannot be watched does not start.
pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("--metrics-listen {address}"))
}

/// Serves until the runtime ends.
pub(crate) fn serve(
    listener: TcpListener,
    peer: Easypeers,
) -> anyhow::Result<impl Future<Output = ()> + Send> {
    let metrics = Arc::new(Mutex::new(Metrics::new()?));
    let health = peer.clone();
    let router = Router::new()
        .route(
            "/metrics",
            get(move || {
                let text = metrics
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .text(&peer);
                std::future::ready(match text {
                    Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
                    Err(error) => {
                        (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
                    }
                })
            }),
        )
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route(
            "/readyz",
            get(move || {
                let status = health.status();
                let code = if status.links > 0 {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                };
                std::future::ready((code, format!("{}: {}\n", status.state, status.reason)))
            }),
        );
    Ok(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "cannot serve metrics any longer");
        }
    })
}

struct Metrics {
    registry: Registry,
    state: IntGaugeVec,
    links: IntGauge,
    max_peers: IntGauge,
    links_opened: IntCounter,
    connections_created: IntCounter,
    links_refused: IntCounterVec,
    messages: IntCounterVec,
    duplicates: IntCounter,
    rejected: IntCounter,
    dropped: IntCounter,
    bytes: IntCounterVec,
    /// The counts at the last call of [`count`](Self::count).
    last: Stats,
}

impl Metrics {
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let options = |name: &str, help: &str| Opts::new(name, help).namespace(NAMESPACE);
        let gauge = |name, help| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::with_opts(options(name, help))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name, help| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::with_opts(options(name, help))?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name, help, label| -> prometheus::Result<IntCounterVec> {
            let counters = IntCounterVec::new(options(name, help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let state = IntGaugeVec::new(
            options(
                "state",
                "1 for the current state of the peer, 0 for the others.",
            ),
            &["state"],
        )?;
        registry.register(Box::new(state.clone()))?;
        let build = IntGaugeVec::new(options("build_info", "Always 1."), &["version"])?;
        registry.register(Box::new(build.clone()))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = prometheus::process_collector::ProcessCollector::for_self();
        registry.register(Box::new(process))?;
        Ok(Self {
            links: gauge("links", "Links that are up.")?,
            max_peers: gauge("max_peers", "The most links that the peer keeps.")?,
            links_opened: counter("links_opened_total", "Links that came up.")?,
            connections_created: counter(
                "connections_created_total",
                "WebRTC connections made, including offers without an answer.",
            )?,
            links_refused: counters(
                "links_refused_total",
                "Links refused before they came up.",
                "reason",
            )?,
            messages: counters(
                "messages_total",
                "Messages sent by this peer, received by it, and copies forwarded to others.",
                "direction",
            )?,
            duplicates: counter(
                "duplicates_total",
                "Copies of messages that this peer already had.",
            )?,
            rejected: counter("rejected_total", "Links, messages and frames refused.")?,
            dropped: counter(
                "dropped_total",
                "Messages dropped because a neighbour was too slow.",
            )?,
            bytes: counters(
                "bytes_total",
                "Bytes sent and received on all links.",
                "direction",
            )?,
            state,
            registry,
            last: Stats::default(),
        })
    }

    fn text(&mut self, peer: &Easypeers) -> prometheus::Result<Vec<u8>> {
        let (status, stats) = (peer.status(), peer.stats());
        for state in STATES {
            let now = i64::from(state == status.state.as_str());
            self.state.with_label_values(&[state]).set(now);
        }
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.links.set(gauge(status.links));
        self.max_peers.set(gauge(peer.max_peers()));
        self.count(&stats);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }

    /// Adds what was counted since the last call. The library's counts start at 0 again when the peer
    /// joins another swarm. A Prometheus counter must not fall.
    fn count(&mut self, stats: &Stats) {
        let last = std::mem::replace(&mut self.last, stats.clone());
        let add = |counter: &IntCounter, now: u64, before: u64| {
            counter.inc_by(if now < before { now } else { now - before });
        };
        add(&self.links_opened, stats.links_opened, last.links_opened);
        add(
            &self.connections_created,
            stats.connections_created,
            last.connections_created,
        );
        add(&self.duplicates, stats.duplicates, last.duplicates);
        add(&self.rejected, stats.rejected, last.rejected);
        add(&self.dropped, stats.dropped, last.dropped);
        for (reason, now) in &stats.links_refused {
            let before = last.links_refused.get(reason).copied().unwrap_or_default();
            add(
                &self.links_refused.with_label_values(&[reason]),
                *now,
                before,
            );
        }
        for (direction, now, before) in [
            ("sent", stats.messages_sent, last.messages_sent),
            ("received", stats.messages_received, last.messages_received),
            (
                "forwarded",
                stats.messages_forwarded,
                last.messages_forwarded,
            ),
        ] {
            add(&self.messages.with_label_values(&[direction]), now, before);
        }
        for (direction, now, before) in [
            ("sent", stats.bytes_sent, last.bytes_sent),
            ("received", stats.bytes_received, last.bytes_received),
        ] {
            add(&self.bytes.with_label_values(&[direction]), now, before);
        }
    }
}
