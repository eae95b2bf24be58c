//! What a part of the driver wants from the others, as a value. The loop carries it out.

use std::sync::Arc;

use easypeers_core::mesh;
#[cfg(feature = "compat")]
use easypeers_core::mesh::LinkId;
#[cfg(feature = "compat")]
use easypeers_core::message::Class;
use easypeers_core::session::SessionError;
use easypeers_core::signal::{self, AttemptId};
use easypeers_core::tracker::TrackerId;
use easypeers_proto::{OfferId, PeerId};

use crate::link::Link;
use crate::model::Message;

/// What a part wants done, in the order in which it returns it.
#[derive(Debug)]
pub(super) enum Action {
    /// An input for the mesh.
    Mesh(mesh::Input),
    /// An input for the signalling.
    Signal(signal::Input),
    /// Run the handshakes on a new connection.
    OpenLink {
        attempt: AttemptId,
        peer: PeerId,
        link: Link,
    },
    /// Announce at a tracker with these offers.
    Announce {
        tracker: TrackerId,
        offers: Vec<(OfferId, Arc<str>)>,
    },
    /// Answer an offer through a tracker.
    Answer {
        tracker: TrackerId,
        to: PeerId,
        offer_id: OfferId,
        sdp: String,
    },
    /// Send a message to peers of Easypeers 1.
    #[cfg(feature = "compat")]
    SendV1 {
        links: Vec<LinkId>,
        payload: Arc<[u8]>,
        class: Class,
    },
    /// Give a message to the application.
    Deliver(Message),
    /// Count something.
    Count(Count),
    /// Say why a link was refused.
    LinkRefused(SessionError),
    /// The counts in the view are out of date.
    UpdateView,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    /// A message of this peer.
    Sent,
    /// A copy of a known message of Easypeers 1. The mesh counts the others.
    #[cfg(feature = "compat")]
    Duplicate,
    /// A link, message or frame that was refused.
    Rejected,
    /// Messages lost because a neighbour, or the work for it, was too slow.
    Dropped(u64),
}
