//! HTTP: the page, counts for people and programs, health, metrics.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::assets::{self, secure};
use super::ice::ice_json;
use super::tls::Tls;
use super::trust;
use crate::hub::Hub;
use crate::metrics::{Role, Scope};

/// The other end of a request's socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

pub(super) fn router(hub: Arc<Hub>, tls: Option<Tls>) -> Router {
    let trust = tls.filter(|tls| tls.trust().is_some());
    let router = assets::routes(trust.is_some())
        .route("/ice.json", get(ice_json))
        .route("/stats", get(stats_page))
        .route("/stats.json", get(stats_json))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(not_found);
    trust
        .map_or_else(Router::new, trust::router)
        .merge(router.with_state(hub))
}

/// What `/stats.json` says: current counts, and totals since the start. The keys in camel case are
/// those of bittorrent-tracker's `/stats.json`.
#[derive(Debug, Serialize)]
struct Stats {
    version: &'static str,
    revision: &'static str,
    uptime_seconds: u64,
    connections: i64,
    connections_limit: i64,
    swarms: i64,
    peers: i64,
    complete: i64,
    incomplete: i64,
    announces_total: u64,
    offers_relayed_total: u64,
    answers_relayed_total: u64,
    draining: bool,
    torrents: i64,
    #[serde(rename = "activeTorrents")]
    active_torrents: i64,
    #[serde(rename = "peersAll")]
    peers_all: i64,
    #[serde(rename = "peersSeederOnly")]
    peers_seeder_only: i64,
    #[serde(rename = "peersLeecherOnly")]
    peers_leecher_only: i64,
}

impl Stats {
    fn of(hub: &Hub) -> Self {
        let metrics = &hub.metrics;
        let (complete, incomplete) = (
            metrics.peers(Role::Complete).get(),
            metrics.peers(Role::Incomplete).get(),
        );
        let swarms = metrics.swarms.get();
        Self {
            version: crate::VERSION,
            revision: crate::REVISION,
            uptime_seconds: hub.clock.elapsed().as_secs(),
            connections: metrics.connections.get(),
            connections_limit: metrics.connections_limit.get(),
            swarms,
            peers: complete + incomplete,
            complete,
            incomplete,
            announces_total: metrics.announces.total(),
            offers_relayed_total: metrics.offers_relayed.value(Scope::Local),
            answers_relayed_total: metrics.answers_relayed.value(Scope::Local),
            draining: hub.is_draining(),
            torrents: swarms,
            active_torrents: swarms,
            peers_all: complete + incomplete,
            peers_seeder_only: complete,
            peers_leecher_only: incomplete,
        }
    }
}

async fn stats_json(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Json(Stats::of(&hub)))
}

async fn stats_page(State(hub): State<Arc<Hub>>) -> Response {
    let stats = Stats::of(&hub);
    let rows = [
        ("Version", format!("{} ({})", stats.version, stats.revision)),
        ("Uptime", uptime(stats.uptime_seconds)),
        (
            "Connections",
            format!("{} of {}", stats.connections, stats.connections_limit),
        ),
        ("Swarms", stats.swarms.to_string()),
        ("Peers", stats.peers.to_string()),
        ("Complete", stats.complete.to_string()),
        ("Incomplete", stats.incomplete.to_string()),
        ("Announces since start", stats.announces_total.to_string()),
        (
            "Offers relayed since start",
            stats.offers_relayed_total.to_string(),
        ),
        (
            "Answers relayed since start",
            stats.answers_relayed_total.to_string(),
        ),
    ];
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>\n"))
        .collect();
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Tracker statistics</title><link rel=\"stylesheet\" href=\"{}\"></head>\n\
         <body><main><h1>Statistics</h1>\n<table>\n{rows}</table>\n\
         <p>The same for programs: <a href=\"/stats.json\">/stats.json</a>, \
         <a href=\"/metrics\">/metrics</a>. <a href=\"/\">Back to the page</a>.</p>\
         </main></body></html>\n",
        assets::stylesheet()
    );
    let mut response = Html(page).into_response();
    secure(response.headers_mut());
    response
}

fn uptime(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    format!(
        "{days} d {hours} h {} min {} s",
        seconds / 60 % 60,
        seconds % 60
    )
}

/// 200 while new clients are welcome.
async fn readyz(State(hub): State<Arc<Hub>>) -> (StatusCode, &'static str) {
    if hub.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if hub.is_full() {
        (StatusCode::SERVICE_UNAVAILABLE, "full\n")
    } else if hub.cluster.node().is_some_and(|node| node.is_missed()) {
        (StatusCode::SERVICE_UNAVAILABLE, "cluster away\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        hub.metrics.render(),
    )
}

async fn not_found() -> (StatusCode, &'static str) {
    let text = "Not found. Here are /, /stats, /stats.json, /healthz, /readyz and /metrics; \
                a WebSocket opens on any path.\n";
    (StatusCode::NOT_FOUND, text)
}
