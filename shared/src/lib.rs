//! What the tracker and the peers have in common: ids and message formats. Everything here is pure: it
//! turns bytes into typed messages and back, has no I/O, no clock and no randomness, and panics on no
//! input.
//!
//! - [`cluster`]: what the nodes of a tracker cluster tell each other.
//! - [`ice`]: URLs of STUN and TURN servers.
//! - [`id`]: the 20-byte ids of the protocol and their binary-string JSON form.
//! - [`tracker`]: the WebTorrent tracker dialect, both directions.
//! - [`limits`]: limits that the decoders enforce.
//!
//! With the feature `peer`, which the tracker does not need:
//!
//! - `bencode`: reads and writes bencode.
//! - `crypto`: identities, admission to a link, signed envelopes, sealed messages.
//! - `wire`: the bytes on a link between two peers.

#![deny(missing_docs)]

#[cfg(feature = "peer")]
pub mod bencode;
pub mod cluster;
#[cfg(feature = "peer")]
pub mod crypto;
pub mod ice;
pub mod id;
pub mod limits;
pub mod tracker;
#[cfg(feature = "peer")]
pub mod wire;

pub use id::{InfoHash, MessageId, OfferId, PeerId};
