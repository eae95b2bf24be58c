//! The handshake (BEP 3): 68 bytes that both sides send first, without waiting for the other.
//!
//! It is the byte 19, `BitTorrent protocol`, 8 reserved bytes, the infohash and the peer id. Easypeers
//! sets one reserved bit, for the extension protocol (BEP 10), and ignores all others: a bit says what
//! its sender can do, and matters only if both sides set it.

use crate::{InfoHash, PeerId};

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;

/// How every handshake starts.
pub(super) const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// `reserved[5] & 0x10`: the extension protocol.
const EXTENSION_BIT: u8 = 0x10;

/// Why bytes are not a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first byte, the length of the protocol's name, is not 19.
    #[error("protocol name is {0} bytes long, not 19")]
    ProtocolLength(u8),
    /// The name is not `BitTorrent protocol`.
    #[error("another protocol")]
    ProtocolName,
}

/// A handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The reserved bits, as received.
    pub reserved: [u8; 8],
    /// The swarm.
    pub info_hash: InfoHash,
    /// The sender's address.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The handshake that this build sends, with the extension bit and no other.
    #[must_use]
    pub const fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        Self {
            reserved: [0, 0, 0, 0, 0, EXTENSION_BIT, 0, 0],
            info_hash,
            peer_id,
        }
    }

    /// Whether the sender speaks the extension protocol.
    #[must_use]
    pub const fn has_extensions(&self) -> bool {
        self.reserved[5] & EXTENSION_BIT != 0
    }

    /// The 68 bytes of the handshake.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved);
        out[28..48].copy_from_slice(self.info_hash.as_bytes());
        out[48..].copy_from_slice(self.peer_id.as_bytes());
        out
    }

    /// Reads a handshake.
    ///
    /// # Errors
    /// [`HandshakeError`], if it is one of another protocol.
    pub fn decode(bytes: &[u8; HANDSHAKE_LEN]) -> Result<Self, HandshakeError> {
        check_start(bytes)?;
        let mut reserved = [0; 8];
        reserved.copy_from_slice(&bytes[20..28]);
        let id = |from: usize| {
            let mut id = [0; 20];
            id.copy_from_slice(&bytes[from..from + 20]);
            id
        };
        Ok(Self {
            reserved,
            info_hash: InfoHash::new(id(28)),
            peer_id: PeerId::new(id(48)),
        })
    }
}

/// Whether a handshake may start with these bytes. There may be any number of them.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), HandshakeError> {
    match bytes.first() {
        Some(&length) if length != PROTOCOL[0] => Err(HandshakeError::ProtocolLength(length)),
        _ if bytes.iter().zip(PROTOCOL).all(|(a, b)| a == b) => Ok(()),
        _ => Err(HandshakeError::ProtocolName),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_has_the_extension_bit_and_no_other() {
        let ours = Handshake::new(InfoHash::new([0xaa; 20]), PeerId::new([0xbb; 20]));
        let bytes = ours.encode();
        assert_eq!(&bytes[..20], b"\x13BitTorrent protocol");
        assert_eq!(bytes[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0]);
        assert_eq!(bytes[28..48], [0xaa; 20]);
        assert_eq!(bytes[48..], [0xbb; 20]);
        assert_eq!(Handshake::decode(&bytes), Ok(ours));
        assert!(ours.has_extensions());
    }

    #[test]
    fn any_reserved_bits_are_accepted_and_another_protocol_is_refused() {
        let ours = Handshake::new(InfoHash::new([1; 20]), PeerId::new([2; 20]));
        let mut bytes = ours.encode();
        bytes[20..28].fill(0xff);
        assert!(Handshake::decode(&bytes).unwrap().has_extensions());
        bytes[20..28].fill(0);
        assert!(!Handshake::decode(&bytes).unwrap().has_extensions());
        bytes[19] = b'L';
        assert_eq!(Handshake::decode(&bytes), Err(HandshakeError::ProtocolName));
        bytes[0] = 18;
        assert_eq!(
            Handshake::decode(&bytes),
            Err(HandshakeError::ProtocolLength(18))
        );
    }
}
