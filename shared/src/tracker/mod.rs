//! The WebTorrent tracker dialect: one JSON object per WebSocket text message.
//!
//! No BEP describes it. The reference is the source of npm `bittorrent-tracker` and what its clients
//! send. docs/protocol.md lists the fields and what is tolerated. Session descriptions (`offer`,
//! `answer`) are never decoded: they are borrowed as raw JSON and relayed byte for byte.

pub mod client;
pub mod error;
mod fields;
pub mod server;

pub use client::{Announce, Answer, ClientMessage, Event, Offer, Scrape};
pub use error::{DecodeError, RejectReason};
pub use server::{ScrapeEntry, ServerMessage};

use serde_json::value::RawValue;

/// The two actions of the dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Joins, refreshes or leaves a swarm. Carries offers or an answer.
    Announce,
    /// Asks for the number of peers in swarms.
    Scrape,
}

impl Action {
    /// The JSON value of `action`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Scrape => "scrape",
        }
    }
}

/// Whether raw JSON looks like a session description: an object with the keys `type` and `sdp`.
///
/// This only searches the text and does not parse it. Quotes inside JSON strings are escaped, so a match
/// is a key or a whole value. The receiving client parses the description anyway; here it is enough not
/// to relay obvious garbage.
#[must_use]
pub fn is_description(raw: &RawValue) -> bool {
    let text = raw.get();
    text.starts_with('{') && text.contains("\"sdp\"") && text.contains("\"type\"")
}

#[cfg(test)]
mod tests;
