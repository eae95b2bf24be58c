//! What goes into the core and what comes out of it.

use std::sync::Arc;

use easypeers_proto::{OfferId, PeerId};

use crate::tracker::TrackerId;

/// What a core needs to know at its start.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub me: PeerId,
    pub seed: u64,
}

/// An attempt at a link. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(super) u64);

/// The way that an offer or answer came, and its answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    Tracker(TrackerId),
    /// Other members; the offer id is that of the exchange.
    Mesh,
}

/// What happens to the core.
#[derive(Debug)]
pub enum Input {
    /// It is time to announce, with so many links missing and so many there.
    Due {
        tracker: TrackerId,
        want: usize,
        links: usize,
    },
    /// A tracker cannot be reached any more.
    TrackerLost(TrackerId),
    /// A tracker counts so many peers in the swarm.
    SwarmSize { tracker: TrackerId, size: usize },
    /// An offer is ready to be sent out.
    OfferMade { attempt: AttemptId, sdp: Arc<str> },
    /// An offer could not be made.
    OfferFailed { attempt: AttemptId },
    /// A link that neither side needed was to a member of our own mesh.
    SameMesh,
    /// Somebody offers a link; so many could be accepted now.
    Offer {
        via: Via,
        peer: PeerId,
        offer_id: OfferId,
        sdp: String,
        want: usize,
    },
    /// The mesh wants a link to this peer: make it an offer.
    Invite { peer: PeerId, offer_id: OfferId },
    /// The mesh wants nothing of an offer any more.
    Withdraw(OfferId),
    /// An answer is ready to be sent.
    AnswerMade { attempt: AttemptId, sdp: String },
    /// An answer could not be made.
    AnswerFailed { attempt: AttemptId },
    /// Somebody answers an offer.
    Answer {
        peer: PeerId,
        offer_id: OfferId,
        sdp: String,
    },
    /// Offers made so far name STUN and TURN servers that are not in use any more, or none.
    ServersChanged,
    /// The attempt's link is up.
    AttemptOpened { attempt: AttemptId, peer: PeerId },
    /// The attempt's connection failed, or its link was refused.
    AttemptFailed { attempt: AttemptId },
    /// Time has passed.
    Timeout,
}

/// What the core wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Make an offer, then [`Input::OfferMade`] or [`Input::OfferFailed`].
    MakeOffer { attempt: AttemptId },
    /// Announce with these offers.
    Announce {
        tracker: TrackerId,
        offers: Vec<(OfferId, Arc<str>)>,
    },
    /// An offer of ours was answered: connect, then [`Input::AttemptOpened`] or
    /// [`Input::AttemptFailed`].
    Accept {
        attempt: AttemptId,
        peer: PeerId,
        sdp: String,
    },
    /// Answer this offer, then [`Input::AnswerMade`] or [`Input::AnswerFailed`], and after the
    /// former as with [`Output::Accept`].
    MakeAnswer {
        attempt: AttemptId,
        peer: PeerId,
        sdp: String,
    },
    SendAnswer {
        via: Via,
        peer: PeerId,
        offer_id: OfferId,
        sdp: String,
    },
    /// Send an offer to a peer over the mesh.
    SendOffer {
        peer: PeerId,
        offer_id: OfferId,
        sdp: Arc<str>,
    },
    /// An exchange over the mesh came to nothing.
    ExchangeFailed(OfferId),
    /// Close what was made for this attempt: nobody waits for it.
    Drop { attempt: AttemptId },
}
