//! Links: one ordered, reliable WebRTC data channel between two peers, used as a byte stream.
//!
//! A `Transport` makes session descriptions: a `PendingOffer` or a `PendingAnswer`, which waits
//! for the other side and becomes an open `Link`. A link sends and receives bytes, and reports when
//! the other side stops answering. `native` uses the crate `webrtc`, `browser` the page's
//! `RTCPeerConnection`.
//!
//! Invariants:
//! - Descriptions are complete (no trickle). Those from other peers are checked before the WebRTC
//!   stack parses them.
//! - Dropping a value closes what it owns: no socket, task or buffer outlives it.
//! - Both directions are bounded. A sender waits. A reader that is too slow makes the other side
//!   wait; in a page, which cannot do that, it loses the link.
//!
//! Sources: RFC 8831 (data channels), RFC 8839 (ICE in SDP), RFC 8841 (SCTP in SDP), RFC 8445 (ICE).

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg_attr(
    target_family = "wasm",
    expect(dead_code, reason = "a browser has no candidates to rewrite")
)]
mod sdp;

#[cfg(not(target_family = "wasm"))]
use std::net::IpAddr;
use std::time::Duration;

use easypeers_proto::crypto::admission::Role;

// Not part of the API: the benchmark `link_cost` measures these.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use self::browser::{Link, LinkReceiver, LinkSender, PendingAnswer, PendingOffer, Transport};
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
pub use self::native::{Link, LinkReceiver, LinkSender, PendingAnswer, PendingOffer, Transport};
pub use crate::model::{IceServer, LinkError, SdpError};
#[cfg(not(target_family = "wasm"))]
pub use crate::model::{ParsePortsError, UdpPorts};

/// Longest message sent. Every implementation takes 16 KiB (RFC 8831, section 6.6).
const MAX_PIECE: usize = 16 * 1024;

/// Unacknowledged bytes above which sending waits: enough for 20 MB/s at 12 ms or 5 MB/s at 50 ms.
const HIGH_WATER: usize = 256 * 1024;

/// Unacknowledged bytes below which sending continues.
const LOW_WATER: usize = 64 * 1024;

/// Time to wait for acknowledgements before closing.
const FLUSH: Duration = Duration::from_secs(1);

/// Time for more candidates after the first one. A STUN server that answers does so within 0.3 s.
/// One that does not answer would delay the description by 10 s.
const GATHER: Duration = Duration::from_millis(1500);

/// Time for the first candidate, which may have to come from a TURN server.
const FIRST_CANDIDATE: Duration = Duration::from_secs(6);

/// Time for the channel to open once both descriptions are known. A wrong fingerprint causes no
/// event, so only this deadline ends such an attempt.
const OPEN: Duration = Duration::from_secs(25);

/// The channel's name. Nothing depends on it.
const LABEL: &str = "easypeers";

/// How links are made.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Whether to use relayed candidates only.
    pub relay_only: bool,
    /// Local addresses to use. Empty: those of every interface.
    #[cfg(not(target_family = "wasm"))]
    pub bind: Vec<IpAddr>,
    /// Local UDP ports to use.
    #[cfg(not(target_family = "wasm"))]
    pub udp_ports: UdpPorts,
    /// Addresses told to other peers in place of our own of the same family.
    #[cfg(not(target_family = "wasm"))]
    pub public_addresses: Vec<IpAddr>,
    /// Longest message taken from the other side, in bytes: 16,384, or 262,144 for peers of
    /// Easypeers 1.
    #[cfg(not(target_family = "wasm"))]
    pub max_message: u32,
}

/// What a link reports.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// The next bytes of the stream from the other side.
    Data(Vec<u8>),
    /// The other side stopped answering. It may be gone.
    Suspect,
    /// It answers again.
    Recovered,
}

/// The result of exchanging session descriptions.
#[derive(Debug, Clone, Copy)]
struct Terms {
    role: Role,
    local_fingerprint: [u8; 32],
    remote_fingerprint: [u8; 32],
    /// Longest message that the other side accepts, in bytes.
    remote_max_message: usize,
}
