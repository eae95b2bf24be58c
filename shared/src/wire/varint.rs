//! The numbers of the peer protocol: unsigned LEB128, seven bits a byte, lowest bits first, in the
//! shortest form. Also a reader of fields, which never reads past the end.

use crate::{MessageId, PeerId};

/// Why a field cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The bytes end inside a field.
    Truncated,
    /// A number is not in its shortest form or too large for its field.
    Number,
}

/// Appends a number.
pub(crate) fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`write`] appends.
pub(crate) const fn len(value: u64) -> usize {
    // Zero takes a byte too.
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Reads fields one after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The bytes that have not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self
            .bytes
            .split_at_checked(length)
            .ok_or(ReadError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, ReadError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ReadError> {
        let mut value = 0u64;
        for shift in (0..).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            let overflows = shift > 63 || (shift == 63 && bits > 1);
            // A last byte of zero means that the number is not in its shortest form.
            if overflows || (byte == 0 && shift > 0) {
                return Err(ReadError::Number);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ReadError::Number)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ReadError> {
        self.u64()?.try_into().map_err(|_| ReadError::Number)
    }

    /// A length. It is not checked against the bytes that are left; [`take`](Self::take) does that.
    pub(crate) fn length(&mut self) -> Result<usize, ReadError> {
        self.u64()?.try_into().map_err(|_| ReadError::Number)
    }

    pub(crate) fn peer_id(&mut self) -> Result<PeerId, ReadError> {
        self.array().map(PeerId::new)
    }

    pub(crate) fn message_id(&mut self) -> Result<MessageId, ReadError> {
        self.array().map(MessageId::new)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_numbers() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[0x7f]),
            (128, &[0x80, 1]),
            (300, &[0xac, 2]),
            (u64::MAX, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            write(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(len(value), bytes.len());
            assert_eq!(Reader::new(bytes).u64(), Ok(value));
        }
        for (bytes, error) in [
            (&[][..], ReadError::Truncated),
            (&[0x80], ReadError::Truncated),
            (&[0x80, 0], ReadError::Number),
            (
                &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
                ReadError::Number,
            ),
            (
                &[255, 255, 255, 255, 255, 255, 255, 255, 255, 129, 0],
                ReadError::Number,
            ),
        ] {
            assert_eq!(Reader::new(bytes).u64(), Err(error), "{bytes:?}");
        }
        assert_eq!(
            Reader::new(&[255, 255, 255, 255, 16]).u32(),
            Err(ReadError::Number)
        );
    }

    proptest! {
        #[test]
        fn round_trip(value: u64, more: u8) {
            let mut out = Vec::new();
            write(value, &mut out);
            prop_assert_eq!(out.len(), len(value));
            out.push(more);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.u64(), Ok(value));
            prop_assert_eq!(reader.rest(), &[more][..]);
        }
    }
}
