//! What a peer says about itself, its neighbours and its trackers.

use std::collections::BTreeMap;
use std::time::Duration;

use easypeers_proto::PeerId;

/// A neighbour, as `Easypeers::peers` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its address.
    pub address: PeerId,
    /// How long the link has been up.
    pub up: Duration,
    /// Round trip of the last ping, if there was one.
    pub rtt: Option<Duration>,
    /// Whether this peer made the offer.
    pub offered: bool,
    /// Whether it is a peer of Easypeers 1.
    pub compat: bool,
    /// Whether it says that it runs in a browser.
    pub browser: bool,
}

/// A tracker, as `Easypeers::trackers` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerInfo {
    /// Its address.
    pub url: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Members of the swarm that it counts, this peer included.
    pub members: Option<u32>,
    /// Why it is not connected and when the next attempt is, or what it refused.
    pub trouble: Option<String>,
}

/// Counts since the peer joined, and current sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Links up now.
    pub links: u64,
    /// Members of the swarm, this peer included, as counted by the tracker that knows most of them.
    pub members: Option<u32>,
    /// Links that came up.
    pub links_opened: u64,
    /// WebRTC connections made, including offers that nobody answered.
    pub connections_created: u64,
    /// Links refused before they came up, by reason: `wrong_topic_key`, `bad_signature` and so on.
    pub links_refused: BTreeMap<&'static str, u64>,
    /// Messages that this peer sent.
    pub messages_sent: u64,
    /// Messages given to the application.
    pub messages_received: u64,
    /// Copies of messages that were forwarded.
    pub messages_forwarded: u64,
    /// Copies of messages that were known already.
    pub duplicates: u64,
    /// Links, messages and frames refused: bad proofs, wrong lengths, replays.
    pub rejected: u64,
    /// Messages dropped because a neighbour was too slow.
    pub dropped: u64,
    /// Bytes written to links.
    pub bytes_sent: u64,
    /// Bytes read from links.
    pub bytes_received: u64,
}
