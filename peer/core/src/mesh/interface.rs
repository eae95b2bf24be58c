//! What goes into the mesh and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Frame, Pushed, Sealed, Signal, SignalKind};
use easypeers_proto::{MessageId, PeerId};

use crate::broadcast::{Arrival, Unsent};
use crate::message::{Class, LinkId, Signed};
use crate::neighbors::Goodbye;
use crate::rate::Rate;

/// What a mesh needs to know at its start.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Our address.
    pub me: PeerId,
    /// Our keys.
    pub keys: PublicKeys,
    /// The start in milliseconds since 1970: our epoch, and what [`Now`](crate::time::Now) counts from.
    pub started_ms: u64,
    /// Links that we want.
    pub max_peers: usize,
    /// How many broadcasts each author may send.
    pub rate: Rate,
    /// How much from before the start is wanted.
    pub history: Duration,
    /// Average time between two exchanges of neighbours that we start.
    pub flip_interval: Duration,
    /// Seeds every random choice.
    pub seed: u64,
}

/// What happens to the mesh.
#[derive(Debug)]
pub enum Input {
    /// The peer of a link has proven its keys and that it knows the topic.
    LinkAdmitted {
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
    /// The connection of a link is gone.
    LinkClosed(LinkId),
    /// The connection of a link may be gone: ask now.
    LinkSuspect(LinkId),
    /// A frame that needs no check, or that passed it. GOSSIP and CHUNK have inputs of their own, AUTH and
    /// GOODBYE are for the driver.
    Frame {
        /// The link that it came along.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// A broadcast that is not [known](super::Mesh::knows), its signature checked. It is known from now on.
    Gossip(Arrival),
    /// A copy of a known broadcast.
    Duplicate {
        /// The link that it came along.
        link: LinkId,
        /// The broadcast.
        id: MessageId,
        /// Why it came.
        pushed: Pushed,
    },
    /// A broadcast that is not [within its author's rate](super::Mesh::is_within_rate).
    OverRate {
        /// The link that it came along.
        link: LinkId,
        /// The author.
        origin: PeerId,
    },
    /// A neighbour sent what does not pass its checks.
    BrokenRule(LinkId),
    /// Members that a neighbour named when it closed its link.
    Hints(Vec<PeerId>),
    /// Peers in the swarm as a tracker counts them.
    SwarmSize(usize),
    /// A piece of a large broadcast that fits its manifest.
    Chunk {
        /// The link that it came along.
        link: LinkId,
        /// The broadcast.
        message: MessageId,
        /// Which piece, counted from 0.
        index: u32,
        /// Its bytes, at most 16 KiB.
        data: Arc<[u8]>,
    },
    /// Broadcast our message.
    Publish {
        /// The message.
        message: Arc<Signed>,
        /// The pieces, if the message is a manifest.
        chunks: Vec<Arc<[u8]>>,
    },
    /// Find the keys of a member.
    FindKeys(PeerId),
    /// Send our sealed message.
    Direct(Arc<Sealed>),
    /// A sealed message was opened: acknowledge it.
    Acknowledge {
        /// The message.
        id: MessageId,
        /// Shows its author that we could open it.
        proof: [u8; 16],
    },
    /// The proof of an acknowledgement was checked.
    Acknowledged(MessageId),
    /// Our description for the other side of an exchange.
    Signal {
        /// The exchange.
        id: MessageId,
        /// The other side.
        to: PeerId,
        /// An offer or an answer.
        kind: SignalKind,
        /// The description.
        sdp: Arc<[u8]>,
    },
    /// An exchange came to nothing on our side.
    ExchangeFailed(MessageId),
    /// Keep this many links from now on.
    SetMaxPeers(usize),
    /// Time has passed.
    Timeout,
}

/// What the mesh wants done or known.
#[derive(Debug)]
pub enum Output {
    /// Send a frame along these links.
    Send {
        /// The links.
        links: Vec<LinkId>,
        /// The frame.
        frame: Frame,
        /// How important it is.
        class: Class,
    },
    /// Send a broadcast along these links, as GOSSIP.
    SendGossip {
        /// The links.
        links: Vec<LinkId>,
        /// Links that it has travelled along.
        hops: u8,
        /// Why it is sent.
        pushed: Pushed,
        /// Members that have it or are being sent it.
        has: Vec<PeerId>,
        /// The broadcast.
        message: Arc<Signed>,
        /// How important it is.
        class: Class,
    },
    /// Close a link.
    Close {
        /// The link.
        link: LinkId,
        /// What to say, if there is a reason to give.
        goodbye: Option<Goodbye>,
    },
    /// Make an offer for this peer, then [`Input::Signal`] or [`Input::ExchangeFailed`].
    Invite {
        /// The exchange.
        id: MessageId,
        /// The peer.
        peer: PeerId,
    },
    /// An offer to be answered with [`Input::Signal`], or the answer to ours.
    Signal(Signal),
    /// A link that neither side needed leads to a member of our own mesh.
    SameMesh,
    /// The other side does not want our invitation.
    Withdraw(MessageId),
    /// There is a new neighbour.
    Connect(PeerId),
    /// A neighbour is gone.
    Disconnect(PeerId),
    /// A broadcast for the application.
    Deliver {
        /// The broadcast.
        message: Arc<Signed>,
        /// Links that it travelled along.
        hops: u8,
    },
    /// A whole large broadcast for the application.
    DeliverLarge {
        /// Its manifest.
        message: Arc<Signed>,
        /// Links that the manifest travelled along.
        hops: u8,
        /// The content.
        data: Vec<u8>,
    },
    /// Our broadcast is on its way.
    Published(Arc<Signed>),
    /// Our broadcast did not go out.
    NotPublished {
        /// The broadcast.
        id: MessageId,
        /// Why.
        why: Unsent,
    },
    /// Sign a beacon, then [`Input::Publish`].
    Beacon,
    /// The keys of a member were found, or not in time.
    Keys {
        /// The member.
        peer: PeerId,
        /// Its keys.
        keys: Option<PublicKeys>,
    },
    /// Open a sealed message for us, then [`Input::Acknowledge`].
    Open {
        /// The message.
        sealed: Arc<Sealed>,
        /// Links that it travelled along.
        hops: u8,
    },
    /// Check the proof of an acknowledgement, then [`Input::Acknowledged`].
    CheckAck {
        /// The message.
        id: MessageId,
        /// What its receiver sent to show that it opened it.
        proof: [u8; 16],
        /// Links that the message travelled along.
        hops: u8,
    },
    /// Our sealed message was not acknowledged in time.
    Undelivered {
        /// The message.
        id: MessageId,
        /// Whether there was a way to its receiver.
        reachable: bool,
    },
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links that came up.
    pub links_opened: u64,
    /// Broadcasts given to the application.
    pub delivered: u64,
    /// Copies of broadcasts and direct messages passed on.
    pub forwarded: u64,
    /// Copies of known broadcasts.
    pub duplicates: u64,
    /// Frames that broke a rule or a limit.
    pub rejected: u64,
    /// Other meshes of the same topic that we touched.
    pub merges: u64,
}
