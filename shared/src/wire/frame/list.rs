//! Lists in frames: read from the received bytes or written from a slice, without a copy.

use crate::id::{ID_LEN, Id};
use crate::wire::varint::{self, ReadError, Reader};
use crate::{MessageId, PeerId};

/// Ids of peers or messages.
#[derive(Debug, Clone, Copy)]
pub enum Ids<'a, T = PeerId> {
    /// As they came, 20 bytes each.
    #[doc(hidden)]
    Received(&'a [u8]),
    /// As they will be sent.
    #[doc(hidden)]
    Given(&'a [T]),
}

impl<'a, T> Ids<'a, T> {
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

    pub(crate) fn read(reader: &mut Reader<'a>, most: usize) -> Result<Option<Self>, ReadError> {
        let count = reader.length()?;
        if count > most {
            return Ok(None);
        }
        reader
            .take(count * ID_LEN)
            .map(|bytes| Some(Self::Received(bytes)))
    }
}

impl<'a, T: Id> Ids<'a, T> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<'a, T> {
        let (received, given) = match *self {
            Self::Received(bytes) => (bytes, &[][..]),
            Self::Given(ids) => (&[][..], ids),
        };
        let received = received.as_chunks::<ID_LEN>().0;
        received
            .iter()
            .map(|bytes| T::from(*bytes))
            .chain(given.iter().copied())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.len() as u64, out);
        for id in self.iter() {
            out.extend_from_slice(id.as_ref());
        }
    }
}

impl<'a, T> From<&'a [T]> for Ids<'a, T> {
    fn from(ids: &'a [T]) -> Self {
        Self::Given(ids)
    }
}

impl<T: Id> PartialEq for Ids<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Id> Eq for Ids<'_, T> {}

/// Beacons by the slot of time that they stand for.
#[derive(Debug, Clone, Copy)]
pub enum Marks<'a> {
    /// As they came, all of them checked.
    #[doc(hidden)]
    Received(&'a [u8]),
    /// As they will be sent.
    #[doc(hidden)]
    Given(&'a [(u64, MessageId)]),
}

impl<'a> Marks<'a> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = (u64, MessageId)> + use<'a> {
        let (mut received, given) = match *self {
            Self::Received(bytes) => (Reader::new(bytes), &[][..]),
            Self::Given(marks) => (Reader::new(&[]), marks),
        };
        let next = move || Some((received.u64().ok()?, received.message_id().ok()?));
        std::iter::from_fn(next).chain(given.iter().copied())
    }

    pub(super) fn read(reader: &mut Reader<'a>, most: usize) -> Result<Option<Self>, ReadError> {
        let count = reader.length()?;
        if count > most {
            return Ok(None);
        }
        let before = reader.rest();
        for _ in 0..count {
            reader.u64()?;
            reader.message_id()?;
        }
        let length = before.len() - reader.rest().len();
        Ok(Some(Self::Received(&before[..length])))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.iter().count() as u64, out);
        for (slot, id) in self.iter() {
            varint::write(slot, out);
            out.extend_from_slice(id.as_bytes());
        }
    }
}

impl<'a> From<&'a [(u64, MessageId)]> for Marks<'a> {
    fn from(marks: &'a [(u64, MessageId)]) -> Self {
        Self::Given(marks)
    }
}

impl PartialEq for Marks<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Marks<'_> {}

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
