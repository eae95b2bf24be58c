//! What goes into [`Signal`](super::Signal) and what comes out of it.

use std::sync::Arc;

use easypeers_proto::{OfferId, PeerId};

use crate::tracker::TrackerId;

/// What a core needs to know when it starts.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The address of this peer.
    pub me: PeerId,
    /// Seed of all random draws. The same seed and inputs give the same outputs.
    pub seed: u64,
}

/// An attempt to open a link. An id is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub(super) u64);

/// How an offer arrived. Its answer goes back the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Through this tracker.
    Tracker(TrackerId),
    /// Over other members. The offer id is the id of the exchange in the mesh.
    Mesh,
}

/// What happens to the core.
#[derive(Debug)]
pub enum Input {
    /// It is time to announce to this tracker.
    Due {
        /// The tracker to announce to.
        tracker: TrackerId,
        /// How many links this peer wants to find through trackers.
        offers_to_publish: usize,
        /// How many links this peer has.
        open_links: usize,
    },
    /// A tracker cannot be reached any more.
    TrackerLost(TrackerId),
    /// A tracker has said how many peers are in the swarm.
    SwarmSize {
        /// The tracker that counted.
        tracker: TrackerId,
        /// Peers in the swarm, this one included.
        size: usize,
    },
    /// An offer was made and can be sent out.
    OfferMade {
        /// From [`Output::MakeOffer`].
        attempt: AttemptId,
        /// The session description (SDP) of the offer.
        sdp: Arc<str>,
    },
    /// An offer could not be made.
    OfferFailed {
        /// From [`Output::MakeOffer`].
        attempt: AttemptId,
    },
    /// A link that neither side needed connected to a member of our own mesh.
    SameMesh,
    /// Another peer offers a link.
    Offer {
        /// How the offer arrived.
        via: Via,
        /// The peer that made the offer.
        peer: PeerId,
        /// Chosen by that peer.
        offer_id: OfferId,
        /// The session description (SDP) of the offer.
        sdp: String,
        /// How many more links this peer could accept now.
        acceptable_links: usize,
    },
    /// The mesh wants a link to this peer and asks for an offer to it.
    Invite {
        /// The peer that the offer is for.
        peer: PeerId,
        /// The id of the exchange in the mesh.
        offer_id: OfferId,
    },
    /// The mesh does not need the offer of this exchange any more.
    Withdraw(OfferId),
    /// An answer was made and can be sent.
    AnswerMade {
        /// From [`Output::MakeAnswer`].
        attempt: AttemptId,
        /// The session description (SDP) of the answer.
        sdp: String,
    },
    /// An answer could not be made.
    AnswerFailed {
        /// From [`Output::MakeAnswer`].
        attempt: AttemptId,
    },
    /// Another peer answers an offer.
    Answer {
        /// The peer that answers.
        peer: PeerId,
        /// The offer that it answers.
        offer_id: OfferId,
        /// The session description (SDP) of the answer.
        sdp: String,
    },
    /// The STUN and TURN servers changed, so the offers made so far name the wrong ones.
    ServersChanged,
    /// The link of an attempt is up.
    AttemptOpened {
        /// The attempt that ends with this.
        attempt: AttemptId,
        /// The peer at the other end.
        peer: PeerId,
    },
    /// The connection of an attempt failed, or its link was refused.
    AttemptFailed {
        /// The attempt that ends with this.
        attempt: AttemptId,
    },
    /// The time of [`Signal::poll_timeout`](super::Signal::poll_timeout) has come.
    Timeout,
}

/// What the core wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Make an offer. [`Input::OfferMade`] or [`Input::OfferFailed`] follows.
    MakeOffer {
        /// The new attempt.
        attempt: AttemptId,
    },
    /// Announce to this tracker with these offers.
    Announce {
        /// The tracker to announce to.
        tracker: TrackerId,
        /// The offers with their session descriptions (SDP). May be empty.
        offers: Vec<(OfferId, Arc<str>)>,
    },
    /// Our offer was answered. Connect; [`Input::AttemptOpened`] or [`Input::AttemptFailed`]
    /// follows.
    Accept {
        /// The attempt whose offer was answered.
        attempt: AttemptId,
        /// The peer that answered.
        peer: PeerId,
        /// The session description (SDP) of the answer.
        sdp: String,
    },
    /// Answer this offer. [`Input::AnswerMade`] or [`Input::AnswerFailed`] follows. An answer that
    /// was made is followed by [`Input::AttemptOpened`] or [`Input::AttemptFailed`] as well.
    MakeAnswer {
        /// The new attempt.
        attempt: AttemptId,
        /// The peer that made the offer.
        peer: PeerId,
        /// The session description (SDP) of the offer.
        sdp: String,
    },
    /// Send this answer.
    SendAnswer {
        /// How the offer arrived, and how the answer goes back.
        via: Via,
        /// The peer that made the offer.
        peer: PeerId,
        /// The offer that is answered.
        offer_id: OfferId,
        /// The session description (SDP) of the answer.
        sdp: String,
    },
    /// Send this offer to a peer over the mesh.
    SendOffer {
        /// The peer that the offer is for.
        peer: PeerId,
        /// The id of the exchange in the mesh.
        offer_id: OfferId,
        /// The session description (SDP) of the offer.
        sdp: Arc<str>,
    },
    /// An exchange over the mesh ended without a link.
    ExchangeFailed(OfferId),
    /// Close whatever was made for this attempt. The core has given it up.
    Drop {
        /// The attempt that ended.
        attempt: AttemptId,
    },
}
