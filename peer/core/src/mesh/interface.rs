//! What goes into the core and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Frame, Pushed, Sealed, Signal, SignalKind};
use easypeers_proto::{MessageId, PeerId};

use crate::broadcast::{Arrival, Unsent};
use crate::message::{Class, LinkId, Signed};
use crate::neighbors::Goodbye;
use crate::rate::Rate;

/// What a core needs to know at its start.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub me: PeerId,
    pub keys: PublicKeys,
    /// Milliseconds since 1970 at the start: our epoch, and what [`Now`](crate::time::Now) counts from.
    pub started_ms: u64,
    pub max_peers: usize,
    /// Of each author.
    pub rate: Rate,
    /// How much of what was said before the start is wanted.
    pub history: Duration,
    /// Between two exchanges of neighbours, on average.
    pub flip_interval: Duration,
    pub seed: u64,
}

/// What happens to the core.
#[derive(Debug)]
pub enum Input {
    /// A link's peer has proven its keys and its knowledge of the topic.
    LinkAdmitted {
        link: LinkId,
        peer: PeerId,
        /// None for a peer of Easypeers 1, which has none.
        keys: Option<PublicKeys>,
        /// Whether we made the offer.
        offered: bool,
        /// A number that both sides of this link know and no other link has.
        token: u64,
    },
    /// A link's connection is gone.
    LinkClosed(LinkId),
    /// A link's connection may be gone: ask now.
    LinkSuspect(LinkId),
    /// A frame that needs no check, or passed it. GOSSIP and CHUNK have inputs of their own; AUTH and
    /// GOODBYE are for the driver.
    Frame { link: LinkId, frame: Frame },
    /// A broadcast that is not [known](super::Mesh::knows), its signature checked. From here on known.
    Gossip(Arrival),
    /// A copy of a known broadcast.
    Duplicate {
        link: LinkId,
        id: MessageId,
        pushed: Pushed,
    },
    /// A broadcast that is not [within its author's rate](super::Mesh::is_within_rate).
    OverRate { link: LinkId, origin: PeerId },
    /// A neighbour sent what does not hold.
    BrokenRule(LinkId),
    /// Members that a neighbour named when it closed its link.
    Hints(Vec<PeerId>),
    /// How many peers a tracker counts in the swarm.
    SwarmSize(usize),
    /// A piece of a large broadcast that fits its manifest.
    Chunk {
        link: LinkId,
        message: MessageId,
        index: u32,
        data: Arc<[u8]>,
    },
    /// Broadcasts a message of ours; with its pieces, if it is a manifest.
    Publish {
        message: Arc<Signed>,
        chunks: Vec<Arc<[u8]>>,
    },
    /// Asks for the keys of a member.
    FindKeys(PeerId),
    /// Sends a sealed message of ours.
    Direct(Arc<Sealed>),
    /// The sealed message was opened: acknowledge it.
    Acknowledge { id: MessageId, proof: [u8; 16] },
    /// An acknowledgement's proof was checked.
    Acknowledged(MessageId),
    /// Our description for the other side of an exchange.
    Signal {
        id: MessageId,
        to: PeerId,
        kind: SignalKind,
        sdp: Arc<[u8]>,
    },
    /// An exchange came to nothing on our side.
    ExchangeFailed(MessageId),
    /// Keep so many links.
    SetMaxPeers(usize),
    /// Time has passed.
    Timeout,
}

/// What the core wants done or known.
#[derive(Debug)]
pub enum Output {
    /// Send a frame along these links.
    Send {
        links: Vec<LinkId>,
        frame: Frame,
        class: Class,
    },
    /// Send a broadcast along these links, as GOSSIP.
    SendGossip {
        links: Vec<LinkId>,
        /// Links that it has come along, this one not included.
        hops: u8,
        pushed: Pushed,
        /// Members that have it or are being sent it.
        has: Vec<PeerId>,
        message: Arc<Signed>,
        class: Class,
    },
    /// Close a link, with a goodbye if there is a reason to give.
    Close {
        link: LinkId,
        goodbye: Option<Goodbye>,
    },
    /// Make an offer for this peer, then [`Input::Signal`] or [`Input::ExchangeFailed`].
    Invite { id: MessageId, peer: PeerId },
    /// An offer to be answered by [`Input::Signal`], or the answer to ours.
    Signal(Signal),
    /// A link that neither side needed was to a member of our own mesh.
    SameMesh,
    /// The other side wants nothing of our invitation.
    Withdraw(MessageId),
    /// A neighbour was won.
    Connect(PeerId),
    /// A neighbour was lost.
    Disconnect(PeerId),
    /// A broadcast for the application.
    Deliver { message: Arc<Signed>, hops: u8 },
    /// A large broadcast for the application, whole; `message` is its manifest.
    DeliverLarge {
        message: Arc<Signed>,
        hops: u8,
        data: Vec<u8>,
    },
    /// A broadcast of ours is on its way.
    Published(Arc<Signed>),
    /// A broadcast of ours did not go out.
    NotPublished { id: MessageId, why: Unsent },
    /// Sign a beacon, then [`Input::Publish`].
    Beacon,
    /// The keys of a member were found, or not.
    Keys {
        peer: PeerId,
        keys: Option<PublicKeys>,
    },
    /// Open a sealed message for us, then [`Input::Acknowledge`].
    Open { sealed: Arc<Sealed>, hops: u8 },
    /// Check the proof, then [`Input::Acknowledged`].
    CheckAck {
        id: MessageId,
        proof: [u8; 16],
        hops: u8,
    },
    /// A sealed message of ours was not acknowledged in time.
    Undelivered {
        id: MessageId,
        /// Whether there was a way to its receiver.
        reachable: bool,
    },
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    pub links_opened: u64,
    pub delivered: u64,
    pub forwarded: u64,
    pub duplicates: u64,
    /// Frames that broke a rule or a limit.
    pub rejected: u64,
    /// Other meshes of the same topic that we touched.
    pub merges: u64,
}
