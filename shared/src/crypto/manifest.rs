//! The payload of a manifest: what a large broadcast is made of.
//!
//! A number, the size of the whole in bytes; then the SHA-256 of each piece, in order. A piece is
//! 16 KiB, the last one what is left. At 16 MiB that is 32 KiB of hashes, below the limit of a
//! message.

use sha2::{Digest, Sha256};

use crate::wire::varint::{self, Reader};

/// Bytes of a piece: what one message of a data channel carries in every browser.
pub const CHUNK: usize = 16 << 10;

/// Bytes of the largest broadcast.
pub const MAX_SIZE: usize = 16 << 20;

const HASH_LEN: usize = 32;

/// Why a payload is no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// No number first, or one of 0 or above [`MAX_SIZE`].
    #[error("size is missing or out of range")]
    Size,
    /// Not one hash for each piece.
    #[error("hashes do not fit the size")]
    Hashes,
}

/// A manifest, borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    size: usize,
    hashes: &'a [[u8; HASH_LEN]],
}

impl<'a> Manifest<'a> {
    /// The manifest of these bytes, of which there must be 1 to [`MAX_SIZE`].
    #[must_use]
    pub fn encode(data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + data.len().div_ceil(CHUNK) * HASH_LEN);
        varint::write(data.len() as u64, &mut out);
        for chunk in data.chunks(CHUNK) {
            out.extend_from_slice(&Sha256::digest(chunk));
        }
        out
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn decode(payload: &'a [u8]) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(payload);
        let size = reader.length().map_err(|_| ManifestError::Size)?;
        if size == 0 || size > MAX_SIZE {
            return Err(ManifestError::Size);
        }
        let (hashes, rest) = reader.rest().as_chunks::<HASH_LEN>();
        if !rest.is_empty() || hashes.len() != size.div_ceil(CHUNK) {
            return Err(ManifestError::Hashes);
        }
        Ok(Self { size, hashes })
    }

    /// Bytes of the whole.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// How many pieces.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.hashes.len()
    }

    /// Whether this is that piece.
    #[must_use]
    pub fn check(&self, index: u32, data: &[u8]) -> bool {
        let index = index as usize;
        let Some(hash) = self.hashes.get(index) else {
            return false;
        };
        let length = CHUNK.min(self.size - index * CHUNK);
        data.len() == length && *Sha256::digest(data) == *hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_fits_its_place_only() {
        for size in [1, CHUNK - 1, CHUNK, CHUNK + 1, 300 << 10, MAX_SIZE] {
            let data: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
            let encoded = Manifest::encode(&data);
            assert!(encoded.len() < 33 << 10);
            let manifest = Manifest::decode(&encoded).unwrap();
            assert_eq!(manifest.size(), size);
            assert_eq!(manifest.chunks(), data.chunks(CHUNK).count());
            for (index, chunk) in (0..).zip(data.chunks(CHUNK)) {
                assert!(manifest.check(index, chunk));
                assert!(!manifest.check(index, &chunk[1..]));
                let mut wrong = chunk.to_vec();
                wrong[0] ^= 1;
                assert!(!manifest.check(index, &wrong));
            }
            assert!(!manifest.check(u32::MAX, &data[..1]));
        }
    }

    #[test]
    fn other_payloads_are_no_manifest() {
        let good = Manifest::encode(&[7; CHUNK + 1]);
        for end in 0..good.len() {
            assert!(Manifest::decode(&good[..end]).is_err());
        }
        let mut long = good;
        long.push(0);
        assert_eq!(Manifest::decode(&long), Err(ManifestError::Hashes));
        assert_eq!(Manifest::decode(&[0]), Err(ManifestError::Size));
        let mut huge = Vec::new();
        varint::write(MAX_SIZE as u64 + 1, &mut huge);
        assert_eq!(Manifest::decode(&huge), Err(ManifestError::Size));
    }
}
