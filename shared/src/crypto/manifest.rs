//! The payload of a manifest, which describes a large broadcast.
//!
//! It is the size of the broadcast in bytes (LEB128), then the SHA-256 of each chunk in order. A chunk is
//! 16 KiB; the last one may be shorter. A broadcast of 16 MiB has 32 KiB of hashes, which is below the
//! limit of a message.

use sha2::{Digest, Sha256};

use crate::wire::varint::{self, Reader};

/// Size of a chunk in bytes. Every browser can send this much in one data channel message.
pub const CHUNK: usize = 16 << 10;

/// Size of the largest broadcast in bytes.
pub const MAX_SIZE: usize = 16 << 20;

const HASH_LEN: usize = 32;

/// Why a payload is not a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The size is missing, 0 or above [`MAX_SIZE`].
    #[error("size is missing or out of range")]
    Size,
    /// There is not exactly one hash for each chunk.
    #[error("number of hashes does not match the size")]
    Hashes,
}

/// A manifest that borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manifest<'a> {
    size: usize,
    hashes: &'a [[u8; HASH_LEN]],
}

impl<'a> Manifest<'a> {
    /// Makes the manifest of a broadcast, which must have 1 to [`MAX_SIZE`] bytes.
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

    /// Size of the broadcast in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Number of chunks.
    #[must_use]
    pub const fn chunks(&self) -> usize {
        self.hashes.len()
    }

    /// Whether `data` is the chunk at `index`, counted from 0.
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
    fn every_chunk_is_accepted_in_its_place_only() {
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
    fn other_payloads_are_refused() {
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
