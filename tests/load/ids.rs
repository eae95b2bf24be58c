//! Ids that say what they are: whose, which announce, which offer.
//!
//! An id is twenty digits of five bits. Written in letters and digits it needs no JSON escapes;
//! in its binary form each digit is the upper part of a byte whose lower part is noise, so that
//! all byte values occur. A receiver decodes the id it got and knows what should have come.

use std::fmt;

/// Most connections or swarms that fit an id.
pub(crate) const MAX_OWNER: u32 = (1 << 20) - 1;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Twenty bytes, as in the protocol.
pub(crate) type Bytes = [u8; 20];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Swarm = 0,
    Peer = 1,
    Offer = 2,
    Answer = 3,
}

/// What an id says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub kind: Kind,
    /// Swarm or connection.
    pub owner: u32,
    /// Announce of that connection.
    pub seq: u32,
    /// Offer in that announce.
    pub index: u8,
    /// Session description it carries.
    pub variant: u16,
}

impl Id {
    pub(crate) fn swarm(owner: u32) -> Self {
        Self::bare(Kind::Swarm, owner)
    }

    pub(crate) fn peer(owner: u32) -> Self {
        Self::bare(Kind::Peer, owner)
    }

    fn bare(kind: Kind, owner: u32) -> Self {
        Self {
            kind,
            owner,
            seq: 0,
            index: 0,
            variant: 0,
        }
    }
}

/// Writes and reads the ids of one run.
pub(crate) struct Ids {
    seed: u64,
    tag: u32,
    binary_below: u64,
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ids").field("seed", &self.seed).finish()
    }
}

impl Ids {
    /// `binary` is the share of owners whose ids use all byte values.
    pub(crate) fn new(seed: u64, binary: f64) -> Self {
        Self {
            seed,
            tag: (mix(seed) >> 40) as u32 & 0x00ff_ffff,
            binary_below: (binary * 4_294_967_296.0) as u64,
        }
    }

    /// The id as the protocol's twenty bytes, in the form its owner uses.
    pub(crate) fn encode(&self, id: Id) -> Bytes {
        let digits = self.digits(id);
        if self.is_binary(id) {
            let noise = mix(self.seed ^ mix(u64::from(id.seq) << 32 | u64::from(id.owner)));
            std::array::from_fn(|i| digits[i] << 3 | (noise >> (3 * i)) as u8 & 7)
        } else {
            digits.map(|digit| ALPHABET[usize::from(digit)])
        }
    }

    /// The same in letters and digits, whatever its owner uses.
    pub(crate) fn token(&self, id: Id) -> Bytes {
        self.digits(id).map(|digit| ALPHABET[usize::from(digit)])
    }

    /// What an id says, if this run made it.
    pub(crate) fn decode(&self, bytes: &Bytes) -> Option<Id> {
        let mut bits = 0_u128;
        for &byte in bytes.iter().rev() {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'v' => byte - b'a' + 10,
                _ => return self.decode_binary(bytes),
            };
            bits = bits << 5 | u128::from(digit);
        }
        self.unpack(bits, bytes)
    }

    fn decode_binary(&self, bytes: &Bytes) -> Option<Id> {
        let bits = bytes
            .iter()
            .rev()
            .fold(0, |bits: u128, byte| bits << 5 | u128::from(byte >> 3));
        self.unpack(bits, bytes)
    }

    fn unpack(&self, bits: u128, bytes: &Bytes) -> Option<Id> {
        let id = Id {
            owner: bits as u32 & MAX_OWNER,
            seq: (bits >> 20) as u32,
            index: (bits >> 52) as u8,
            variant: (bits >> 60) as u16 & 0x0fff,
            kind: match (bits >> 72) & 0xf {
                0 => Kind::Swarm,
                1 => Kind::Peer,
                2 => Kind::Offer,
                3 => Kind::Answer,
                _ => return None,
            },
        };
        (self.encode(id) == *bytes).then_some(id)
    }

    /// 100 bits, the owner in the first digits: some trackers shard by the first byte.
    fn digits(&self, id: Id) -> Bytes {
        let bits = u128::from(id.owner)
            | u128::from(id.seq) << 20
            | u128::from(id.index) << 52
            | u128::from(id.variant) << 60
            | (id.kind as u128) << 72
            | u128::from(self.tag) << 76;
        std::array::from_fn(|i| (bits >> (5 * i)) as u8 & 31)
    }

    fn is_binary(&self, id: Id) -> bool {
        // A peer's offers look like the peer.
        let family = u64::from(id.kind == Kind::Swarm);
        self.binary_below > 0
            && mix(self.seed ^ family << 32 ^ u64::from(id.owner)) >> 32 < self.binary_below
    }
}

/// A well mixed number from another (the finaliser of SplitMix64).
pub(crate) fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(owner: u32) -> Id {
        Id {
            kind: Kind::Offer,
            owner,
            seq: owner.wrapping_mul(77_777),
            index: (owner % 64) as u8,
            variant: (owner % 4096) as u16,
        }
    }

    #[test]
    fn ids_say_what_they_were_made_of() {
        for share in [0.0, 0.5, 1.0] {
            let ids = Ids::new(7, share);
            for owner in (0..MAX_OWNER).step_by(997) {
                let bytes = ids.encode(id(owner));
                assert_eq!(ids.decode(&bytes), Some(id(owner)));
                assert_eq!(Ids::new(8, share).decode(&bytes), None);
            }
        }
    }

    #[test]
    fn binary_ids_use_all_byte_values() {
        let ids = Ids::new(1, 1.0);
        let mut seen = [false; 256];
        for owner in 0..5000 {
            for byte in ids.encode(id(owner)) {
                seen[usize::from(byte)] = true;
            }
        }
        assert!(seen.iter().all(|seen| *seen));
    }

    #[test]
    fn a_changed_id_is_not_ours() {
        let ids = Ids::new(1, 1.0);
        let mut bytes = ids.encode(id(5));
        bytes[3] ^= 1;
        assert_eq!(ids.decode(&bytes), None);
    }
}
