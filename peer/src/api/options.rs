//! How a peer joins.

#[cfg(not(target_family = "wasm"))]
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::{InfoHash, PeerId};

use crate::Identity;
use crate::link::IceServer;
#[cfg(not(target_family = "wasm"))]
use crate::link::UdpPorts;
use crate::mesh::Rate;
use crate::tracker::TrackerUrl;

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

/// How a peer joins. Made by [`Options::default`], changed through the fields.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Links to keep, [`MIN_MAX_PEERS`] to [`MAX_MAX_PEERS`]; default 6.
    pub max_peers: usize,
    /// Time between two announces, unless the tracker asks for another; default 30 s.
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
    /// Broadcasts of one author that are taken and passed on, and that this peer sends.
    pub rate: Rate,
    /// Speaks to peers of Easypeers 1 as well. Their messages are not authenticated; see SECURITY.md.
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
            rate: Rate::default(),
            compat: false,
        }
    }
}
