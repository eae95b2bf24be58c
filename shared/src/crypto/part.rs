//! The payload of one part of a large direct message: 20 bytes that name the message, the index of the
//! part and the number of parts (LEB128), and the bytes of the part. The bytes of all parts in order are
//! the message.

use crate::wire::varint::{self, Reader};

/// Largest number of parts of one message. The largest message takes 342 parts of 48 KiB.
pub const MAX_PARTS: u32 = 512;

/// A part that borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// Names the message: 20 random bytes, the same in all its parts.
    pub group: [u8; 20],
    /// Index of the part, counted from 0.
    pub index: u32,
    /// Number of parts, at most [`MAX_PARTS`].
    pub count: u32,
    /// The bytes of the part.
    pub data: &'a [u8],
}

/// A payload is not a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a part of a message")]
pub struct PartError;

impl<'a> Part<'a> {
    /// Reads a part.
    ///
    /// # Errors
    /// [`PartError`], if a field is missing or the index or the count is out of range.
    pub fn decode(payload: &'a [u8]) -> Result<Self, PartError> {
        let mut reader = Reader::new(payload);
        let group = reader.array().map_err(|_| PartError)?;
        let index = reader.u32().map_err(|_| PartError)?;
        let count = reader.u32().map_err(|_| PartError)?;
        if count > MAX_PARTS || index >= count {
            return Err(PartError);
        }
        Ok(Self {
            group,
            index,
            count,
            data: reader.rest(),
        })
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.group);
        varint::write(self.index.into(), out);
        varint::write(self.count.into(), out);
        out.extend_from_slice(self.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_limits() {
        let part = Part {
            group: [3; 20],
            index: 300,
            count: MAX_PARTS,
            data: b"some bytes",
        };
        let mut bytes = Vec::new();
        part.encode(&mut bytes);
        assert_eq!(Part::decode(&bytes), Ok(part));
        for end in 0..24 {
            assert_eq!(Part::decode(&bytes[..end]), Err(PartError));
        }
        for (index, count) in [(0, 0), (2, 2), (0, MAX_PARTS + 1)] {
            let mut bytes = Vec::new();
            Part {
                index,
                count,
                ..part
            }
            .encode(&mut bytes);
            assert_eq!(Part::decode(&bytes), Err(PartError));
        }
    }
}
