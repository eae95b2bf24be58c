//! Links: one ordered, reliable WebRTC data channel between two peers, used as a byte stream.
//!
//! In go session descriptions and bytes; out come session descriptions, bytes and the news that the
//! other side fell silent or left. A [`Transport`] makes links, [`PendingOffer`] and
//! [`PendingAnswer`] are links that wait for the other side, a [`Link`] is open. `native` has them
//! over the crate `webrtc`, `browser` over the page's `RTCPeerConnection`.
//!
//! Invariants:
//! - Descriptions are complete (no trickle) and those of others are checked before they are parsed.
//! - Whatever is dropped is closed: no socket, task or buffer outlives the value that stood for it.
//! - Both directions are bounded: a sender waits; a reader that does not read slows the other side,
//!   or, in a page, which cannot, loses the link.
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

#[cfg(target_family = "wasm")]
pub use self::browser::{Link, LinkReceiver, LinkSender, PendingAnswer, PendingOffer, Transport};
#[cfg(not(target_family = "wasm"))]
pub use self::native::{Link, LinkReceiver, LinkSender, PendingAnswer, PendingOffer, Transport};
pub use crate::model::{IceServer, LinkError, SdpError};
#[cfg(not(target_family = "wasm"))]
pub use crate::model::{ParsePortsError, UdpPorts};

/// Longest message sent. Every implementation takes 16 KiB (RFC 8831, section 6.6).
const MAX_PIECE: usize = 16 * 1024;

/// Bytes unacknowledged above which sending waits: covers 20 MB/s at 12 ms, 5 MB/s at 50 ms.
const HIGH_WATER: usize = 256 * 1024;

/// Bytes unacknowledged below which sending goes on.
const LOW_WATER: usize = 64 * 1024;

/// Time for what was sent to be acknowledged before a close.
const FLUSH: Duration = Duration::from_secs(1);

/// Time for candidates after the first one: a STUN server that answers does so in 0.3 s or less,
/// one that does not would hold the description back for 10 s.
const GATHER: Duration = Duration::from_millis(1500);

/// Time for the first candidate, which may have to come from a TURN server.
const FIRST_CANDIDATE: Duration = Duration::from_secs(6);

/// Time for the channel to open once both descriptions are there. A wrong fingerprint gives no
/// event at all, so this is what ends such an attempt.
const OPEN: Duration = Duration::from_secs(25);

/// The channel's name; nobody depends on it.
const LABEL: &str = "easypeers";

/// How links are made.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// STUN and TURN servers.
    pub ice_servers: Vec<IceServer>,
    /// Whether to use relayed candidates only.
    pub relay_only: bool,
    /// Local addresses to use; empty for those of every interface.
    #[cfg(not(target_family = "wasm"))]
    pub bind: Vec<IpAddr>,
    /// Local UDP ports to use.
    #[cfg(not(target_family = "wasm"))]
    pub udp_ports: UdpPorts,
    /// Addresses told to others in place of our own of the same family.
    #[cfg(not(target_family = "wasm"))]
    pub public_addresses: Vec<IpAddr>,
    /// Longest message taken from the other side, in bytes: 16,384, or 262,144 for an original.
    #[cfg(not(target_family = "wasm"))]
    pub max_message: u32,
}

/// What a link tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// A message of the other side: the next bytes of the stream.
    Data(Vec<u8>),
    /// The other side stopped answering; time to ask whether it is there.
    Suspect,
    /// It answers again.
    Recovered,
}

/// What a session description exchange came to.
#[derive(Debug, Clone, Copy)]
struct Terms {
    role: Role,
    local_fingerprint: [u8; 32],
    remote_fingerprint: [u8; 32],
    /// Longest message that the other side takes, in bytes.
    remote_max_message: usize,
}
