//! The options of a peer, with their defaults and limits.

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

/// The default tracker: one on this host.
pub const DEFAULT_TRACKER: &str = "ws://localhost:3000";

/// Links that a peer keeps by default.
pub const DEFAULT_MAX_PEERS: usize = 6;

/// Fewest links that make a mesh: with one each, peers would only form pairs.
pub const MIN_MAX_PEERS: usize = 2;

/// Most links. Each of them costs a copy of every message.
pub const MAX_MAX_PEERS: usize = 64;

/// Default time between two announces, unless the tracker asks for another.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Shortest and longest time between two announces. Announcing more often is a burden for a tracker,
/// which forgets peers that announce less often.
pub(crate) const TIMEOUTS: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(3600));

/// Which STUN and TURN servers help through NATs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IceServers {
    /// What the tracker's `/ice.json` names, else one public STUN server; none when every tracker
    /// is on loopback or a private network.
    #[default]
    Auto,
    /// Exactly these. An empty list means no server.
    Only(Vec<IceServer>),
}

/// How much other peers may send, and this peer sends at most.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Broadcasts of one author that are accepted and forwarded; default 20 a second and 100 at once.
    /// All members of a swarm should use the same rate, because the first member with a lower one
    /// drops what exceeds it. Broadcasts of this peer that exceed it wait.
    pub author: Rate,
    /// Frames of one neighbour; default 1,000 a second and 2,000 at once. More are read later, and
    /// wait in the neighbour's queue until then.
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
    /// Practically no limits: for measurements, and for members that trust each other.
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

/// The options of a peer. Start from [`Options::default`] and change the fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Links to keep, [`MIN_MAX_PEERS`] to [`MAX_MAX_PEERS`]; default 6.
    pub max_peers: usize,
    /// Time between two announces, unless the tracker asks for another; default 30 s. At least 1 s and
    /// at most 1 h; other values are adjusted.
    pub timeout: Duration,
    /// Trackers. All of them are used at once. Default: [`DEFAULT_TRACKER`].
    pub trackers: Vec<TrackerUrl>,
    /// Joins this swarm instead of the one of the topic. Peers that joined by topic admit only peers
    /// that joined by the same topic, because its text is part of the secret. With a `password`,
    /// peers that joined either way admit each other.
    pub identifier: Option<InfoHash>,
    /// The keys of this peer. Default: a new identity.
    pub identity: Option<Arc<Identity>>,
    /// The address of this peer. Default: that of the identity. Any other requires `compat`. Because
    /// the peer cannot prove that it owns it, it is then a peer of Easypeers 1 to all others.
    #[cfg(feature = "compat")]
    pub address: Option<PeerId>,
    /// Only peers that use the same password can connect.
    pub password: Option<String>,
    /// STUN and TURN servers.
    pub ice_servers: IceServers,
    /// Uses relayed candidates only, which hides this host's addresses behind a TURN server.
    pub relay_only: bool,
    /// Local addresses to use. Empty: those of every interface.
    #[cfg(not(target_family = "wasm"))]
    pub bind: Vec<IpAddr>,
    /// Local UDP ports to use.
    #[cfg(not(target_family = "wasm"))]
    pub udp_ports: UdpPorts,
    /// Addresses told to other peers instead of this host's own, when a NAT maps its ports one to one.
    #[cfg(not(target_family = "wasm"))]
    pub public_addresses: Vec<IpAddr>,
    /// How far back to replay messages from before joining: at most five minutes, of which members
    /// keep 256 messages or 1 MiB. Default: nothing.
    pub history: Duration,
    /// How much other peers may send.
    pub limits: Limits,
    /// Connects to peers of Easypeers 1 too. Their messages are not authenticated; see SECURITY.md.
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
