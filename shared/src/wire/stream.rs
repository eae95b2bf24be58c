//! The byte stream of a link. A [`Decoder`] turns bytes in pieces of any size into [`Event`]s. The
//! functions at the end write the same messages.
//!
//! The stream starts with a handshake (see [`handshake`](super::handshake)). Messages follow: a
//! big-endian `u32` length, 1 byte type, and the payload (BEP 3). Type 20 is the extension protocol
//! (BEP 10); its payload starts with an extension id. All other types are skipped without being stored,
//! because an Easypeers swarm never has a file.
//!
//! Invariants:
//!
//! - The events do not depend on how the bytes were cut into pieces.
//! - Only the payload of an extended message that arrives in pieces is buffered. The buffer is never
//!   larger than twice what has arrived, nor than [`MAX_MESSAGE`].
//! - Between messages a decoder owns no heap memory.
//! - After an error, every call returns the same error.

use std::borrow::Cow;

use super::handshake::{HANDSHAKE_LEN, Handshake, HandshakeError, check_start};

/// Largest message in bytes, without its length field but with its type. The largest frame fits. A longer
/// message is refused before anything is allocated for it.
pub const MAX_MESSAGE: u32 = 1 << 20;

/// The message type of the extension protocol.
const EXTENDED: u8 = 20;

/// Why a stream cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The stream does not start with a handshake.
    #[error("no handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// A message longer than [`MAX_MESSAGE`].
    #[error("message of {0} bytes is too long")]
    TooLong(u32),
    /// A message of type 20 without an extension id.
    #[error("extended message without an id")]
    NoExtensionId,
}

/// What was read from a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The first event of every stream.
    Handshake(Handshake),
    /// A message of length 0.
    KeepAlive,
    /// A message of the extension protocol.
    Extended {
        /// 0 for the extended handshake, otherwise a number from our own extended handshake.
        id: u8,
        /// Borrowed from the input if all of it arrived in one piece.
        payload: Cow<'a, [u8]>,
    },
    /// The start of any other message. Its payload is skipped.
    Other {
        /// The type of the message.
        kind: u8,
    },
}

/// What the decoder reads next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The handshake.
    Handshake,
    /// The length of a message.
    Length,
    /// The type of a message with this length, type included. Never 0.
    Kind(u32),
    /// An extension id, which this many bytes follow.
    Id(u32),
    /// The payload of an extended message, of which `missing` bytes have not arrived.
    Payload { id: u8, missing: u32 },
    /// This many bytes of a payload that is skipped.
    Skip(u32),
    /// Nothing more, because of this error.
    Failed(StreamError),
}

/// Turns a stream of bytes into events.
///
/// ```
/// use easypeers_proto::wire::stream::{Decoder, Event};
/// # let bytes = [0u8; 0];
/// let mut decoder = Decoder::new();
/// let mut input = &bytes[..];
/// while let Some(event) = decoder.next(&mut input)? {
///     match event {
///         Event::Extended { id, payload } => println!("{id}: {} bytes", payload.len()),
///         _ => {}
///     }
/// }
/// # Ok::<(), easypeers_proto::wire::stream::StreamError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The bytes so far of a handshake or a length that arrives in pieces.
    head: [u8; HANDSHAKE_LEN],
    head_len: usize,
    /// The bytes so far of a payload that arrives in pieces.
    payload: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Handshake,
            head: [0; HANDSHAKE_LEN],
            head_len: 0,
            payload: Vec::new(),
        }
    }

    /// Whether the handshake has been read.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Handshake | State::Failed(_))
    }

    /// How many bytes of heap memory the decoder owns.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.payload.capacity()
    }

    /// Takes bytes off the front of `input` until there is an event. Returns `None` when all bytes are
    /// taken.
    ///
    /// # Errors
    /// [`StreamError`], and the same one on every later call. The link must be closed.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, StreamError> {
        let result = self.advance(input);
        if let Err(error) = result {
            self.state = State::Failed(error);
            self.payload = Vec::new();
        }
        result
    }

    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, StreamError> {
        loop {
            match self.state {
                State::Failed(error) => return Err(error),
                State::Handshake => {
                    let head = self.fill_head::<HANDSHAKE_LEN>(input);
                    // Checked before it is complete, because another protocol often shows in its
                    // first byte.
                    check_start(&self.head[..self.head_len])?;
                    let Some(head) = head else { return Ok(None) };
                    self.finish_head(State::Length);
                    return Ok(Some(Event::Handshake(Handshake::decode(&head)?)));
                }
                State::Length => {
                    let Some(head) = self.fill_head(input) else {
                        return Ok(None);
                    };
                    let length = u32::from_be_bytes(head);
                    match length {
                        0 => {
                            self.finish_head(State::Length);
                            return Ok(Some(Event::KeepAlive));
                        }
                        1..=MAX_MESSAGE => self.finish_head(State::Kind(length)),
                        _ => return Err(StreamError::TooLong(length)),
                    }
                }
                State::Kind(length) => match take_byte(input) {
                    None => return Ok(None),
                    Some(EXTENDED) if length == 1 => return Err(StreamError::NoExtensionId),
                    Some(EXTENDED) => self.state = State::Id(length - 2),
                    Some(kind) => {
                        self.state = skip(length - 1);
                        return Ok(Some(Event::Other { kind }));
                    }
                },
                State::Id(missing) => {
                    let Some(id) = take_byte(input) else {
                        return Ok(None);
                    };
                    self.state = State::Payload { id, missing };
                }
                State::Payload { id, missing } => {
                    let part = take(input, missing);
                    let left = missing - part.len() as u32;
                    if left == 0 && self.payload.is_empty() {
                        self.state = State::Length;
                        let payload = Cow::Borrowed(part);
                        return Ok(Some(Event::Extended { id, payload }));
                    }
                    self.store(part, left);
                    if left > 0 {
                        self.state = State::Payload { id, missing: left };
                        return Ok(None);
                    }
                    self.state = State::Length;
                    let payload = Cow::Owned(std::mem::take(&mut self.payload));
                    return Ok(Some(Event::Extended { id, payload }));
                }
                State::Skip(missing) => {
                    let skipped = take(input, missing).len() as u32;
                    self.state = skip(missing - skipped);
                    if skipped < missing {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Takes bytes until there are `N` of a header. The caller then calls `finish_head`.
    fn fill_head<const N: usize>(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        let part = take(input, (N - self.head_len) as u32);
        self.head[self.head_len..self.head_len + part.len()].copy_from_slice(part);
        self.head_len += part.len();
        if self.head_len < N {
            return None;
        }
        self.head[..N].try_into().ok()
    }

    const fn finish_head(&mut self, next: State) {
        self.head_len = 0;
        self.state = next;
    }

    /// Buffers a piece of a payload of which `left` bytes are still to come. The buffer grows by doubling
    /// up to the size of the payload. A large length alone therefore allocates nothing.
    fn store(&mut self, part: &[u8], left: u32) {
        let length = self.payload.len() + part.len();
        if length > self.payload.capacity() {
            let whole = length + left as usize;
            let wanted = whole.min(length.max(2 * self.payload.len()));
            self.payload.reserve_exact(wanted - self.payload.len());
        }
        self.payload.extend_from_slice(part);
    }
}

/// The state in which `missing` bytes are to be skipped.
const fn skip(missing: u32) -> State {
    match missing {
        0 => State::Length,
        _ => State::Skip(missing),
    }
}

/// Takes at most `count` bytes off the front.
fn take<'a>(input: &mut &'a [u8], count: u32) -> &'a [u8] {
    let (part, rest) = input.split_at(input.len().min(count as usize));
    *input = rest;
    part
}

fn take_byte(input: &mut &[u8]) -> Option<u8> {
    take(input, 1).first().copied()
}

/// Appends a keep-alive.
pub fn write_keep_alive(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

/// Appends an extended message. `id` is the number that the *receiver* chose, or 0 for the extended
/// handshake.
///
/// # Errors
/// [`StreamError::TooLong`], if the message is longer than [`MAX_MESSAGE`]. Then nothing is appended.
pub fn write_extended(id: u8, payload: &[u8], out: &mut Vec<u8>) -> Result<(), StreamError> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .saturating_add(2);
    if length > MAX_MESSAGE {
        return Err(StreamError::TooLong(length));
    }
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&[EXTENDED, id]);
    out.extend_from_slice(payload);
    Ok(())
}

#[cfg(test)]
mod tests;
