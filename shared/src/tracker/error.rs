//! Why a client's message was refused.

use super::Action;

/// What was wrong with a message. [`label`](Self::label) is the value of the metric's `reason` label.
/// [`Display`](std::fmt::Display) gives the text of the `failure reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// Not JSON at all, or not UTF-8.
    #[error("message is not valid JSON")]
    NotJson,
    /// JSON, but `null`, a number, a string or an array.
    #[error("message is not a JSON object")]
    NotAnObject,
    /// `action` is missing or neither `announce` nor `scrape`.
    #[error("action must be \"announce\" or \"scrape\"")]
    UnknownAction,
    /// `info_hash` is missing.
    #[error("info_hash is missing")]
    MissingInfoHash,
    /// `info_hash` is not an id.
    #[error("info_hash must be a binary string of 20 characters U+0000 to U+00FF")]
    InvalidInfoHash,
    /// `peer_id` is missing or not an id.
    #[error("peer_id must be a binary string of 20 characters U+0000 to U+00FF")]
    InvalidPeerId,
    /// `event` is not a known one.
    #[error("event must be started, stopped, completed, paused, update or empty")]
    InvalidEvent,
    /// `answer` is not a session description.
    #[error("answer must be an object with type and sdp")]
    InvalidAnswer,
    /// `to_peer_id` of an answer is missing or not an id.
    #[error("to_peer_id must be a binary string of 20 characters U+0000 to U+00FF")]
    InvalidToPeerId,
    /// `offer_id` of an answer is missing or not an id.
    #[error("offer_id must be a binary string of 20 characters U+0000 to U+00FF")]
    InvalidOfferId,
    /// More infohashes in one scrape than [`crate::limits::MAX_SCRAPE`].
    #[error("too many infohashes in one scrape")]
    ScrapeTooLarge,
}

impl RejectReason {
    /// Every reason, to initialise counters.
    pub const ALL: [Self; 11] = [
        Self::NotJson,
        Self::NotAnObject,
        Self::UnknownAction,
        Self::MissingInfoHash,
        Self::InvalidInfoHash,
        Self::InvalidPeerId,
        Self::InvalidEvent,
        Self::InvalidAnswer,
        Self::InvalidToPeerId,
        Self::InvalidOfferId,
        Self::ScrapeTooLarge,
    ];

    /// A stable name for metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::UnknownAction => "unknown_action",
            Self::MissingInfoHash => "missing_info_hash",
            Self::InvalidInfoHash => "invalid_info_hash",
            Self::InvalidPeerId => "invalid_peer_id",
            Self::InvalidEvent => "invalid_event",
            Self::InvalidAnswer => "invalid_answer",
            Self::InvalidToPeerId => "invalid_to_peer_id",
            Self::InvalidOfferId => "invalid_offer_id",
            Self::ScrapeTooLarge => "scrape_too_large",
        }
    }
}

/// Why a message was refused, and what the answer must contain for the client to survive it. A failure
/// without `action` makes `bittorrent-tracker`'s client drop the socket. A failure with `action` but
/// without `info_hash` crashes it under Node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError<'a> {
    /// What was wrong.
    pub reason: RejectReason,
    /// The action, if it could be read.
    pub action: Option<Action>,
    /// The JSON text of `info_hash` with its quotes, if it was a string of at most
    /// [`MAX_INFO_HASH_ECHO`](crate::limits::MAX_INFO_HASH_ECHO) bytes.
    pub info_hash: Option<&'a str>,
}
