//! Ids by number, so that a test reads as peers 1 and 2 in swarm 3.

use easypeers_proto::{InfoHash, OfferId, PeerId};

/// Swarm `number`.
#[must_use]
pub fn hash(number: u32) -> InfoHash {
    InfoHash::new(bytes(b'h', number))
}

/// Peer `number`.
#[must_use]
pub fn peer(number: u32) -> PeerId {
    PeerId::new(bytes(b'p', number))
}

/// Offer `number`.
#[must_use]
pub fn offer_id(number: u32) -> OfferId {
    OfferId::new(bytes(b'o', number))
}

/// Bytes from the whole range, controls and those beyond ASCII among them.
fn bytes(tag: u8, number: u32) -> [u8; 20] {
    let mut bytes = *b"?\0\x01\n\"\\\x7f\x80\xa0\xff/{}[]:0000";
    bytes[0] = tag;
    bytes[16..].copy_from_slice(&number.to_be_bytes());
    bytes
}
