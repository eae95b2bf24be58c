//! What tracker and peers have in common: ids and the message codec. Pure: bytes in, typed
//! messages out and back; no I/O, no clock, no randomness, and no panic on any input.
//!
//! - [`cluster`]: frames and entries by which tracker nodes act as one.
//! - [`ice`]: URLs of STUN and TURN servers.
//! - [`id`]: the 20-byte ids of the protocol and their binary-string JSON form.
//! - [`tracker`]: the WebTorrent tracker dialect, both directions.
//! - [`limits`]: bounds that the codec itself enforces.
//!
//! With the feature `peer`, which the tracker does without:
//!
//! - `bencode`: bencode, borrowed.
//! - `crypto`: identities, admission to a link, signed envelopes, sealed messages.
//! - `wire`: what runs on a link between two peers.

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
