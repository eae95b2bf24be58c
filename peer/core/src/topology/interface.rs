//! What goes into the topology and what comes out of it.

use easypeers_proto::wire::frame::{
    Beacons, Flip, Frame, LinkRequest, Shuffle, ShuffleReply, Signal, Split,
};
use easypeers_proto::{MessageId, PeerId};
use rand::rngs::StdRng;

use crate::message::LinkId;
use crate::neighbors::{Neighbors, Reason};
use crate::routing::Routes;

/// What happens to the topology.
#[derive(Debug)]
pub enum Input {
    /// A walk came along this link.
    LinkRequest(LinkId, LinkRequest),
    /// A session description came along this link.
    Signal(LinkId, Signal),
    /// A neighbour asks us to link to another peer in place of it.
    Split(LinkId, Split),
    /// A step of a flip.
    Flip(LinkId, Flip),
    /// Addresses on their way.
    Shuffle(LinkId, Shuffle),
    /// Addresses in return.
    ShuffleReply(ShuffleReply),
    /// What a new neighbour has heard of beacons.
    Beacons(LinkId, Beacons),
    /// Members that a neighbour named when it closed its link.
    Hints(Vec<PeerId>),
    /// Our description for the other side of an exchange.
    Describe(Signal),
    /// An exchange came to nothing on our side.
    ExchangeFailed(MessageId),
    /// A link is up.
    LinkUp(LinkId),
    /// Everything that a link coming up caused is done.
    LinkSettled,
    /// A link that was up is gone.
    LinkLost,
    /// Neighbours had messages and did not pass them on.
    Deprived,
    /// There is a lot of traffic to this member.
    Bulk(PeerId),
    /// A direct message between this neighbour and us went along this link.
    Used(LinkId, PeerId),
    /// The time of the beacons has come.
    BeaconTimeout,
    /// Time has passed: end what took too long.
    Timeout,
    /// Time has passed, and what took too long has ended: look for links.
    Search,
}

/// What the topology wants done or known.
#[derive(Debug)]
pub enum Output {
    /// Send a control frame along this link.
    Send(LinkId, Frame),
    /// Make an offer for this peer.
    Invite {
        /// The exchange.
        id: MessageId,
        /// The peer to be invited.
        peer: PeerId,
    },
    /// An offer to be answered, or the answer to ours.
    Signal(Signal),
    /// The other side wants nothing of our invitation.
    Withdraw(MessageId),
    /// A link that neither side needed leads to a member of our own mesh.
    SameMesh,
    /// Sign and publish a beacon.
    SignBeacon,
    /// A slot of the beacons has started: forget what is too old.
    SlotStarted,
    /// A link has taken the place of another one.
    Replaced {
        /// The one that will be closed.
        old: LinkId,
        /// The one in its place.
        new: LinkId,
    },
    /// Close this link.
    Close(LinkId, Reason),
    /// Close the link of this peer and keep the peer out.
    Ban(LinkId, PeerId),
    /// There are more links than this: let some go, see `Topology::let_go`.
    TooManyLinks(usize),
    /// Links are missing and none has their place yet.
    Incomplete,
    /// This member lies behind this link, this many links away.
    RouteLearnt(PeerId, LinkId, u8),
}

/// What the topology reads.
#[derive(Debug)]
pub struct Context<'a> {
    /// The links.
    pub neighbors: &'a Neighbors,
    /// Behind which link a member is.
    pub routes: &'a Routes,
    /// Where random choices come from.
    pub rng: &'a mut StdRng,
}
