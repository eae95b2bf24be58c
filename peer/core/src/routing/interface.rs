//! What goes into routing and what comes out of it.

use std::sync::Arc;

use easypeers_proto::crypto::PublicKeys;
use easypeers_proto::wire::frame::{Ack, Frame, Keys, Route, RouteError, Sealed, Who};
use easypeers_proto::{MessageId, PeerId};
use rand::rngs::StdRng;

use crate::message::LinkId;
use crate::neighbors::Neighbors;

/// What happens to direct messages.
#[derive(Debug)]
pub enum Input {
    /// A sealed message came along this link.
    Route(LinkId, Route),
    /// An acknowledgement came along this link.
    Ack(LinkId, Ack),
    /// A neighbour cannot pass a message on.
    RouteError(LinkId, RouteError),
    /// A question for a member's keys came along this link.
    Who(LinkId, Who),
    /// A member's keys came along this link.
    Keys(LinkId, Keys),
    /// The application wants a member's keys.
    FindKeys(PeerId),
    /// The application sends a sealed message.
    Send(Arc<Sealed>),
    /// The sealed message was opened: acknowledge it.
    Acknowledge {
        /// The message.
        id: MessageId,
        /// Shows its author that we could open it.
        proof: [u8; 16],
    },
    /// The proof of an acknowledgement was checked.
    Acknowledged(MessageId),
    /// A link is up.
    LinkUp,
    /// Time has passed.
    Timeout,
}

/// What routing wants done or known.
#[derive(Debug)]
pub enum Output {
    /// Send a control frame along these links.
    Send(Vec<LinkId>, Frame),
    /// A member's keys were found, or not in time.
    Keys {
        /// The member.
        peer: PeerId,
        /// Its keys.
        keys: Option<PublicKeys>,
    },
    /// A sealed message for us: open it, then [`Input::Acknowledge`].
    Open {
        /// The message.
        sealed: Arc<Sealed>,
        /// Links that it travelled along.
        hops: u8,
    },
    /// Check the proof, then [`Input::Acknowledged`].
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
    /// A message between this neighbour and us went along its link.
    Used(LinkId, PeerId),
    /// There is a lot of traffic to this member: it deserves a link of its own.
    Bulk(PeerId),
}

/// What routing reads.
#[derive(Debug)]
pub struct Context<'a> {
    /// The links.
    pub neighbors: &'a Neighbors,
    /// Where random choices come from.
    pub rng: &'a mut StdRng,
}
