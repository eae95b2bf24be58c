//! Links: one ordered, reliable WebRTC data channel between two peers, used as a byte stream.
//!
//! In go session descriptions and bytes; out come session descriptions, bytes and the news that the
//! other side fell silent or left. A [`Transport`] makes links, [`PendingOffer`] and
//! [`PendingAnswer`] are links that wait for the other side, a [`Link`] is open.
//!
//! Invariants:
//! - Descriptions are complete (no trickle) and those of others are checked before they are parsed.
//! - Whatever is dropped is closed: no socket, task or buffer outlives the value that stood for it.
//! - Both directions are bounded: a sender waits, a reader that does not read slows the other side.
//!
//! Only this folder names the crates `webrtc` and `rtc`.
//! Sources: RFC 8831 (data channels), RFC 8839 (ICE in SDP), RFC 8841 (SCTP in SDP), RFC 8445 (ICE).

mod channel;
mod connection;
mod error;
mod pending;
mod ports;
mod runtime;
mod sdp;
mod server;
mod shared_port;
#[cfg(test)]
mod tests;
mod webrtc;

use std::net::IpAddr;

pub(crate) use self::channel::{Link, LinkEvent, LinkReceiver, LinkSender};
pub use self::error::LinkError;
pub(crate) use self::pending::{PendingAnswer, PendingOffer};
pub use self::ports::{ParsePortsError, UdpPorts};
pub use self::sdp::SdpError;
pub use self::server::IceServer;
pub(crate) use self::webrtc::Transport;

/// How links are made.
#[derive(Debug, Clone)]
pub(crate) struct LinkOptions {
    /// STUN and TURN servers.
    pub(crate) ice_servers: Vec<IceServer>,
    /// Local addresses to use; empty for those of every interface.
    pub(crate) bind: Vec<IpAddr>,
    /// Local UDP ports to use.
    pub(crate) udp_ports: UdpPorts,
    /// Addresses told to others in place of our own of the same family.
    pub(crate) public_addresses: Vec<IpAddr>,
    /// Whether to use relayed candidates only.
    pub(crate) relay_only: bool,
    /// Longest message taken from the other side, in bytes: 16,384, or 262,144 for an original.
    pub(crate) max_message: u32,
}
