//! Messages, events and states that an application gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use easypeers_proto::{MessageId, PeerId};

/// Largest message, in bytes. Broadcasts above 16 KiB and direct messages above 64 KiB travel in
/// parts.
pub const MAX_MESSAGE: usize = 16 << 20;

/// The content of a message: text, or bytes of any kind.
#[derive(Clone, PartialEq, Eq)]
pub enum Data {
    /// UTF-8 text.
    Text(Arc<str>),
    /// Bytes.
    Binary(Arc<[u8]>),
}

impl Data {
    /// The bytes. For a text, its UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<&[u8]> for Data {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its id, the same for every receiver.
    pub id: MessageId,
    /// Its author. Proven by a signature when `verified`.
    pub from: PeerId,
    /// Its content.
    pub data: Data,
    /// Sent to this peer alone, and sealed for it.
    pub direct: bool,
    /// Whether the signature of `from` was checked. `false` only with the feature `compat`, for
    /// messages of Easypeers 1: anyone may have written them.
    pub verified: bool,
    /// How many links it travelled along; 1 from a neighbour.
    pub hops: u32,
    /// When it was sent, in milliseconds since 1970 by its author's clock. A message of Easypeers 1
    /// does not say; for it, when it arrived.
    pub time_ms: u64,
}

/// How well a peer is connected to its mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// No link yet; the peer is trying.
    Connecting,
    /// Enough links: half of `max_peers`, or one to every other peer.
    Joined,
    /// Fewer links than that, or no tracker.
    Degraded,
    /// No link and no tracker.
    Offline,
}

impl State {
    /// The state in one word: `connecting`, `joined`, `degraded`, `offline`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Joined => "joined",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A [`State`] and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The state.
    pub state: State,
    /// Why, in words: `2 of 6 links, no tracker reached: connection refused, retrying in 8 s`.
    pub reason: String,
    /// Number of links that are up.
    pub links: usize,
    /// Number of trackers that are connected.
    pub trackers: usize,
}

/// What happened in the mesh. More kinds may come.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A link to this peer is up.
    Connect(PeerId),
    /// The link to this peer is gone.
    Disconnect(PeerId),
    /// A message arrived.
    Message(Message),
    /// The state or its reason changed.
    State(Status),
    /// This many events or messages were lost because the application or a neighbour was too slow.
    Lagged(u64),
}

/// What became of a direct message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Receipt {
    /// The receiver opened it and said so.
    Delivered {
        /// How many links it travelled along.
        hops: u32,
        /// From sending to acknowledgement.
        rtt: Duration,
    },
    /// No member with this address can be reached.
    Unreachable,
    /// No acknowledgement in time. It may have arrived.
    Timeout,
    /// Given to a neighbour of Easypeers 1, which does not acknowledge.
    Sent,
}

impl Receipt {
    /// The result in one word: `delivered`, `unreachable`, `timeout`, `sent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered { .. } => "delivered",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Sent => "sent",
        }
    }
}
