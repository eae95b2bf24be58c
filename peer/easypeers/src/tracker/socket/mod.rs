//! Connections to a tracker: a WebSocket, and GET requests. `native` uses TCP and TLS with the roots
//! of webpki, `browser` the page's `WebSocket` and `fetch`.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;

use std::time::Duration;

#[cfg(target_family = "wasm")]
pub(super) use self::browser::{Connector, Socket};
#[cfg(not(target_family = "wasm"))]
pub(super) use self::native::{Connector, Socket};

/// Time for address, TCP, TLS and upgrade together.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of the largest message from a tracker: an offer is at most 16 KiB, and JSON may write it
/// six times as long.
const MAX_MESSAGE: usize = 256 << 10;

/// Bytes of the largest answer to a GET, headers included.
const MAX_ANSWER: usize = 64 << 10;

/// Time for a GET.
const GET: Duration = Duration::from_secs(3);

/// What a socket receives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Text(String),
    /// A sign of life.
    Other,
    /// The end, and why.
    Closed(String),
}

/// The end of a connection that the tracker closed, with its reason if it gave one.
fn closed_by_tracker(reason: Option<String>) -> Received {
    let reason = reason.filter(|reason| !reason.is_empty());
    Received::Closed(reason.unwrap_or_else(|| "closed by the tracker".to_owned()))
}

fn no_answer() -> String {
    format!("no answer in {} s", CONNECT.as_secs())
}
