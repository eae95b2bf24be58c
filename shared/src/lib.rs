//! What tracker and peers have in common: ids and the message codec. Pure: bytes in, typed
//! messages out and back; no I/O, no clock, no randomness, and no panic on any input.
//!
//! - [`bencode`]: bencode, borrowed.
//! - [`id`]: the 20-byte ids of the protocol and their binary-string JSON form.
//! - [`tracker`]: the WebTorrent tracker dialect, both directions.
//! - [`wire`]: what runs on a link between two peers.
//! - [`limits`]: bounds that the codec itself enforces.

#![deny(missing_docs)]

pub mod bencode;
pub mod id;
pub mod limits;
pub mod tracker;
pub mod wire;

pub use id::{InfoHash, OfferId, PeerId};
