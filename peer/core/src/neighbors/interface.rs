//! What goes into the links and what comes out of them.

use std::time::Duration;

use easypeers_proto::PeerId;
use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Frame, Neighbor, Ping, Pong};

use crate::message::LinkId;
use crate::time::Now;

/// Why a neighbour loses points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Penalty {
    /// A message or frame breaks a rule. Eight of them end a link: a peer may run an older version, or its
    /// clock may be wrong.
    BrokenRule,
    /// A broadcast of the neighbour's own is above its rate.
    OverRate,
}

impl Penalty {
    pub(super) const fn points(self) -> f32 {
        match self {
            Self::BrokenRule => 13.0,
            Self::OverRate => 1.0,
        }
    }
}

/// Why we close a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// We have enough links.
    Full,
    /// There is another link to the same peer.
    Duplicate,
    /// It sent what it must not send.
    Protocol,
    /// We leave the swarm.
    Leaving,
    /// Another link took its place.
    Split,
}

/// Why we close a link, and which other peers the other side may try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Why.
    pub reason: Reason,
    /// Members to try, at most eight. Only with [`Reason::Full`].
    pub peers: Vec<PeerId>,
}

/// A neighbour, for the application.
#[derive(Debug, Clone, Copy)]
pub struct NeighborView {
    /// Its address.
    pub peer: PeerId,
    /// Whether we made the offer.
    pub offered: bool,
    /// Since when the link is up.
    pub up_since: Now,
    /// The round trip of the last probe.
    pub rtt: Option<Duration>,
    /// Whether it is a peer of Easypeers 1.
    pub compat: bool,
}

/// What happens to the links.
#[derive(Debug)]
pub enum Input {
    /// The peer of a link has proven its keys.
    Admitted {
        /// The link.
        link: LinkId,
        /// Its peer.
        peer: PeerId,
        /// Its peer's keys. `None` for a peer of Easypeers 1, which has none.
        keys: Option<PublicKeys>,
        /// Whether we made the offer.
        offered: bool,
        /// A number that both sides of this link know and no other link has.
        token: u64,
    },
    /// The other side accepts the link, or tells how many links it has now.
    Neighbor(LinkId, Neighbor),
    /// The other side asks whether we live.
    Ping(LinkId, Ping),
    /// The other side answers a probe.
    Pong(LinkId, Pong),
    /// The connection of this link may be gone: ask now.
    Suspect(LinkId),
    /// Keep this many links from now on.
    SetMaxPeers(usize),
    /// A link has been silent for too long, see `Neighbors::overdue`.
    Overdue(LinkId),
}

/// What the links want done.
#[derive(Debug)]
pub enum Output {
    /// Send a control frame along these links.
    Send(Vec<LinkId>, Frame),
    /// Both sides have accepted this link.
    Accepted(LinkId),
    /// Close this link.
    Close(LinkId, Option<Reason>),
}
