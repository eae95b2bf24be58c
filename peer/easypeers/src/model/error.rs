//! Why a peer cannot join, and why a message is not sent.

#[cfg(feature = "compat")]
use easypeers_proto::PeerId;
use easypeers_proto::crypto::topic::TopicError;
#[cfg(feature = "compat")]
use easypeers_proto::wire::v1::MAX_TEXT;

use super::event::MAX_MESSAGE;
use super::link_error::LinkError;
use super::options::{MAX_MAX_PEERS, MIN_MAX_PEERS};

/// Why a peer could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// `max_peers` is out of range.
    #[error("max_peers is {0}; it must be from {MIN_MAX_PEERS} to {MAX_MAX_PEERS}")]
    MaxPeers(usize),
    /// Without a tracker the peer would meet nobody.
    #[error("no tracker given")]
    NoTracker,
    /// The password is empty.
    #[error(transparent)]
    Password(#[from] TopicError),
    /// An address that is not that of the identity's keys, outside compatibility mode.
    #[cfg(feature = "compat")]
    #[error("the address {0} does not belong to this peer's keys")]
    ForeignAddress(PeerId),
    /// WebRTC could not be started: addresses, ports or ICE servers.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Why a message was not sent, or a setting not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// `Easypeers::close` was called.
    #[error("the peer is closed")]
    Closed,
    /// Larger than [`MAX_MESSAGE`].
    #[error("message of {0} bytes is larger than {MAX_MESSAGE} bytes")]
    TooLong(usize),
    /// The receiver is this peer itself.
    #[error("a message to this peer itself cannot be sent")]
    ToSelf,
    /// No link came up in time.
    #[error("no link to any peer: {0}")]
    NotConnected(String),
    /// Too many broadcasts wait for their turn under [`Limits::author`](super::options::Limits).
    #[error("sending faster than the swarm takes")]
    TooFast,
    /// A peer of Easypeers 1 takes only short texts.
    #[cfg(feature = "compat")]
    #[error("a peer of Easypeers 1 takes only text of at most {MAX_TEXT} bytes")]
    NotForV1,
    /// An address that is not that of this peer's keys, outside compatibility mode.
    #[cfg(feature = "compat")]
    #[error("the address {0} does not belong to this peer's keys")]
    ForeignAddress(PeerId),
    /// Too many messages or commands are waiting already.
    #[error("too many messages are waiting to be sent")]
    Busy,
}
