//! Lists in frames: read from the received bytes or written from a slice, without a copy.

use crate::PeerId;
use crate::id::ID_LEN;
use crate::wire::varint::{self, ReadError, Reader};

/// Peer ids.
#[derive(Debug, Clone, Copy)]
pub enum Ids<'a> {
    /// As they came, 20 bytes each.
    #[doc(hidden)]
    Received(&'a [u8]),
    /// As they will be sent.
    #[doc(hidden)]
    Given(&'a [PeerId]),
}

impl<'a> Ids<'a> {
    /// How many.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            Self::Received(bytes) => bytes.len() / ID_LEN,
            Self::Given(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = PeerId> + use<'a> {
        let (received, given) = match *self {
            Self::Received(bytes) => (bytes, &[][..]),
            Self::Given(ids) => (&[][..], ids),
        };
        let received = received.as_chunks::<ID_LEN>().0;
        received
            .iter()
            .map(|bytes| PeerId::new(*bytes))
            .chain(given.iter().copied())
    }

    pub(crate) fn read(reader: &mut Reader<'a>, most: usize) -> Result<Option<Self>, ReadError> {
        let count = reader.length()?;
        if count > most {
            return Ok(None);
        }
        reader
            .take(count * ID_LEN)
            .map(|bytes| Some(Self::Received(bytes)))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.len() as u64, out);
        for id in self.iter() {
            out.extend_from_slice(id.as_bytes());
        }
    }
}

impl<'a> From<&'a [PeerId]> for Ids<'a> {
    fn from(ids: &'a [PeerId]) -> Self {
        Self::Given(ids)
    }
}

impl PartialEq for Ids<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Ids<'_> {}

/// Numbers of pieces.
#[derive(Debug, Clone, Copy)]
pub enum Indices<'a> {
    /// As they came: varints, all of them checked.
    #[doc(hidden)]
    Received(&'a [u8]),
    /// As they will be sent.
    #[doc(hidden)]
    Given(&'a [u32]),
}

impl<'a> Indices<'a> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        let (mut received, given) = match *self {
            Self::Received(bytes) => (Reader::new(bytes), &[][..]),
            Self::Given(indices) => (Reader::new(&[]), indices),
        };
        std::iter::from_fn(move || received.u32().ok()).chain(given.iter().copied())
    }

    pub(super) fn read(reader: &mut Reader<'a>, most: usize) -> Result<Option<Self>, ReadError> {
        let count = reader.length()?;
        if count > most {
            return Ok(None);
        }
        let before = reader.rest();
        for _ in 0..count {
            reader.u32()?;
        }
        let length = before.len() - reader.rest().len();
        Ok(Some(Self::Received(&before[..length])))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.iter().count() as u64, out);
        for index in self.iter() {
            varint::write(index.into(), out);
        }
    }
}

impl<'a> From<&'a [u32]> for Indices<'a> {
    fn from(indices: &'a [u32]) -> Self {
        Self::Given(indices)
    }
}

impl PartialEq for Indices<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Indices<'_> {}
