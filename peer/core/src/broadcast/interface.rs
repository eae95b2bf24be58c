//! What goes into broadcasts and what comes out of them.

use std::sync::Arc;

use easypeers_proto::wire::frame::{Chunk, ChunkRequest, Digest, Frame, IHave, Pull, Pushed};
use easypeers_proto::{MessageId, PeerId};

use super::Passing;
use crate::message::{Class, LinkId, Signed};
use crate::neighbors::Penalty;

/// A broadcast that came along a link.
#[derive(Debug)]
pub struct Arrival {
    /// The link.
    pub link: LinkId,
    /// Links that it had travelled along before this one.
    pub hops: u8,
    /// Why it came.
    pub pushed: Pushed,
    /// Peers that have it or are getting it.
    pub has: Vec<PeerId>,
    /// The message, its signature checked.
    pub message: Arc<Signed>,
}

/// Why our broadcast was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// There was no link in time.
    NoLink,
    /// Too many messages before it wait for our rate.
    TooFast,
}

/// What happens to broadcasts.
#[derive(Debug)]
pub enum Input {
    /// A broadcast came that was not [known](super::Broadcast::knows), its signature checked.
    Gossip(Arrival),
    /// A copy of a known broadcast came.
    Duplicate {
        /// The link.
        link: LinkId,
        /// The broadcast.
        id: MessageId,
        /// Why it came.
        pushed: Pushed,
    },
    /// A broadcast came that is not [within its author's rate](super::Broadcast::is_within_rate).
    OverRate {
        /// The link.
        link: LinkId,
        /// The author.
        origin: PeerId,
    },
    /// A piece of a large broadcast came that fits its manifest.
    Chunk(Chunk),
    /// We broadcast a message, with its pieces if it is a manifest.
    Publish {
        /// The message.
        message: Arc<Signed>,
        /// The pieces of a manifest.
        chunks: Vec<Arc<[u8]>>,
    },
    /// A beacon is worth passing on.
    PassOn(Box<Passing>),
    /// A neighbour has these broadcasts.
    IHave(LinkId, IHave),
    /// A neighbour wants broadcasts in whole.
    Graft(LinkId),
    /// A neighbour wants broadcasts to be announced only.
    Prune(LinkId),
    /// A neighbour compares what it has.
    Digest(LinkId, Digest),
    /// A neighbour asks for broadcasts.
    Pull(LinkId, Pull),
    /// A neighbour asks for pieces.
    ChunkRequest(LinkId, ChunkRequest),
    /// A link is up: it gets its place in the tree.
    LinkUp(LinkId),
    /// A mesh link is up, and the neighbours know: compare what both have.
    Compare(LinkId),
    /// A link is about to be lost.
    LinkLeaving {
        /// The link.
        link: LinkId,
        /// The link that takes its place.
        heir: Option<LinkId>,
    },
    /// A link has taken the place of another one.
    Replaced {
        /// The one that will be closed.
        old: LinkId,
        /// The one in its place.
        new: LinkId,
    },
    /// Links are missing and none has their place yet.
    Incomplete,
    /// Send what waits, if it may go out now.
    Flush,
    /// Time has passed.
    Timeout,
    /// Time has passed for large messages.
    LargeTimeout,
}

/// What broadcasts want done or known.
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
    /// Send a broadcast along these links.
    SendGossip {
        /// The links.
        links: Vec<LinkId>,
        /// Links that it has travelled along.
        hops: u8,
        /// Why it is sent.
        pushed: Pushed,
        /// Peers that have it or are getting it.
        has: Vec<PeerId>,
        /// The message.
        message: Arc<Signed>,
        /// How important it is.
        class: Class,
    },
    /// A broadcast for the application.
    Deliver {
        /// The message.
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
        /// The message.
        id: MessageId,
        /// Why.
        why: Unsent,
    },
    /// A beacon is here. If it is worth passing on, [`Input::PassOn`].
    Beacon(Box<Passing>),
    /// The author of a message lies behind a link, and has these keys.
    AuthorSeen {
        /// Its message.
        message: Arc<Signed>,
        /// The link.
        link: LinkId,
        /// Links that the message travelled along.
        hops: u8,
    },
    /// This neighbour broke a rule.
    Penalize(LinkId, Penalty),
    /// Neighbours had messages and did not pass them on.
    Deprived,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Broadcasts given to the application.
    pub delivered: u64,
    /// Copies passed on.
    pub forwarded: u64,
    /// Copies of known broadcasts.
    pub duplicates: u64,
    /// Frames that broke a rule or a limit.
    pub rejected: u64,
}
