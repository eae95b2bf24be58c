//! How a peer joins.

#[cfg(not(target_family = "wasm"))]
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use easypeers_core::rate::{AUTHOR_RATE, Rate};
use easypeers_proto::InfoHash;
#[cfg(feature = "compat")]
use easypeers_proto::PeerId;
use easypeers_proto::crypto::Identity;

use super::ice_server::IceServer;
use super::tracker_url::TrackerUrl;
#[cfg(not(target_family = "wasm"))]
use super::udp_ports::UdpPorts;

/// The tracker of a peer that is told no other: one that runs here.
pub const DEFAULT_TRACKER: &str = "ws://localhost:3000";

/// Links that a peer keeps unless told otherwise.
pub const DEFAULT_MAX_PEERS: usize = 6;

/// Fewest links that make a mesh: with one, every second peer would cut it in two.
pub const MIN_MAX_PEERS: usize = 2;

/// Most links. A message is sent along each of them.
pub const MAX_MAX_PEERS: usize = 64;

/// Time between two announces unless told otherwise or by the tracker.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Shortest and longest time between two announces: a tracker is no place to poll, and forgets who is
/// silent.
pub(crate) const TIMEOUTS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(3600));

/// Which STUN and TURN servers help through NATs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IceServers {
    /// What the tracker's `/ice.json` names, else one public STUN server; none when every tracker
    /// is on loopback or a private network.
    #[default]
    Auto,
    /// Exactly these; an empty list is none.
    Only(Vec<IceServer>),
}

/// What others may send, and this peer sends at most.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Broadcasts of one author that are taken and passed on; default 20 a second and 100 at once.
    /// All members of a swarm should have the same: what is above it is lost at the first that allows
    /// less. What this peer sends beyond it waits.
    pub author: Rate,
    /// Frames of one neighbour; default 1,000 a second and 2,000 at once. More are not read until it
    /// is their time, so that it is the neighbour's queue that grows.
    pub link_frames: Rate,
    /// Bytes of one neighbour; default 8 MiB a second and 16 MiB at once.
    pub link_bytes: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: f32 = (1 << 20) as f32;
        Self {
            author: AUTHOR_RATE,
            link_frames: Rate::new(1000.0, 2000.0),
            link_bytes: Rate::new(8.0 * MIB, 16.0 * MIB),
        }
    }
}

impl Limits {
    /// None to speak of: for measuring, and for members who trust each other.
    #[must_use]
    pub const fn none() -> Self {
        const RATE: Rate = Rate::new(1e9, 1e9);
        Self {
            author: RATE,
            link_frames: RATE,
            link_bytes: RATE,
        }
    }
}

/// How a peer joins. Made by [`Options::default`], changed through the fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Links to keep, [`MIN_MAX_PEERS`] to [`MAX_MAX_PEERS`]; default 6.
    pub max_peers: usize,
    /// Time between two announces, unless the tracker asks for another; default 30 s. Taken as 1 s if
    /// it is shorter, as 1 h if it is longer.
    pub timeout: Duration,
    /// Trackers, all used at once. Default: [`DEFAULT_TRACKER`].
    pub trackers: Vec<TrackerUrl>,
    /// Joins this swarm instead of the one that the topic's text stands for. Peers that joined by
    /// topic admit only those that joined by the same topic, since the text is part of the secret;
    /// with a `password` the two meet.
    pub identifier: Option<InfoHash>,
    /// Who this peer is; default a new identity.
    pub identity: Option<Arc<Identity>>,
    /// The address; default that of the identity. Any other is an error outside compatibility mode,
    /// and there makes this peer one of Easypeers 1 to everybody: it cannot prove to be that address.
    #[cfg(feature = "compat")]
    pub address: Option<PeerId>,
    /// Only peers with the same password are let in, and let us in.
    pub password: Option<String>,
    /// STUN and TURN servers.
    pub ice_servers: IceServers,
    /// Uses relayed candidates only: hides this host's addresses behind a TURN server.
    pub relay_only: bool,
    /// Addresses to use; empty for those of every interface.
    #[cfg(not(target_family = "wasm"))]
    pub bind: Vec<IpAddr>,
    /// UDP ports to use.
    #[cfg(not(target_family = "wasm"))]
    pub udp_ports: UdpPorts,
    /// Addresses told to others instead of this host's own, when a NAT maps its ports one to one.
    #[cfg(not(target_family = "wasm"))]
    pub public_addresses: Vec<IpAddr>,
    /// How much of what was said before this peer came it wants to hear: at most five minutes, of
    /// which members keep 256 messages or 1 MiB. Default: nothing.
    pub history: Duration,
    /// What others may send.
    pub limits: Limits,
    /// Speaks to peers of Easypeers 1 as well. Their messages are not authenticated; see SECURITY.md.
    #[cfg(feature = "compat")]
    pub compat: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_peers: DEFAULT_MAX_PEERS,
            timeout: DEFAULT_TIMEOUT,
            trackers: DEFAULT_TRACKER.parse().into_iter().collect(),
            identifier: None,
            identity: None,
            #[cfg(feature = "compat")]
            address: None,
            password: None,
            ice_servers: IceServers::Auto,
            relay_only: false,
            #[cfg(not(target_family = "wasm"))]
            bind: Vec::new(),
            #[cfg(not(target_family = "wasm"))]
            udp_ports: UdpPorts::Any,
            #[cfg(not(target_family = "wasm"))]
            public_addresses: Vec::new(),
            history: Duration::ZERO,
            limits: Limits::default(),
            #[cfg(feature = "compat")]
            compat: false,
        }
    }
}
