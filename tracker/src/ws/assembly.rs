//! A message that does not come in one piece.
//!
//! In: unmasked payload as it arrives. Out: the message, once the last of it is there.
//!
//! Invariants: the memory taken is at most twice what has arrived, and never more than the limit;
//! text is refused at the first byte that cannot be UTF-8, and each byte of it is looked at once
//! while it comes (those of an incomplete character again) and once when it is handed out.
//!
//! Source: RFC 6455, sections 5.4 and 8.1.

use super::{Message, ProtocolError};

#[derive(Debug)]
pub(super) struct Assembly {
    text: bool,
    bytes: Vec<u8>,
    /// How much of the text is known to be UTF-8: all but an incomplete character.
    checked: usize,
}

impl Assembly {
    pub(super) fn new(text: bool) -> Self {
        Self {
            text,
            bytes: Vec::new(),
            checked: 0,
        }
    }

    /// How much has arrived.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How much memory it takes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds a piece. The whole message will not be longer than `most`.
    pub(super) fn push(&mut self, piece: &[u8], most: usize) -> Result<(), ProtocolError> {
        let bytes = &mut self.bytes;
        let needed = bytes.len() + piece.len();
        if needed > bytes.capacity() {
            let capacity = (2 * bytes.capacity()).min(most).max(needed);
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(piece);

        if self.text {
            match str::from_utf8(&bytes[self.checked..]) {
                Ok(text) => self.checked += text.len(),
                Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
                Err(_) => return Err(ProtocolError::InvalidUtf8),
            }
        }
        Ok(())
    }

    /// The message, all of it being there.
    pub(super) fn message(&self) -> Result<Message<'_>, ProtocolError> {
        if !self.text {
            return Ok(Message::Binary(&self.bytes));
        }
        str::from_utf8(&self.bytes)
            .map(Message::Text)
            .map_err(|_| ProtocolError::InvalidUtf8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_checked_once() {
        let mut assembly = Assembly::new(true);
        let mut text = String::new();
        for char in "aé€🦀".chars().cycle().take(40) {
            let known = text.len();
            text.push(char);
            for byte in &text.as_bytes()[known..text.len() - 1] {
                assembly.push(&[*byte], 1000).unwrap();
                assert_eq!(assembly.checked, known);
                assert_eq!(assembly.message(), Err(ProtocolError::InvalidUtf8));
            }
            assembly
                .push(&text.as_bytes()[text.len() - 1..], 1000)
                .unwrap();
            assert_eq!(assembly.checked, text.len());
            assert_eq!(assembly.message(), Ok(Message::Text(&text)));
        }
    }

    #[test]
    fn memory_doubles_up_to_the_most_there_can_be() {
        let mut assembly = Assembly::new(false);
        for (piece, capacity) in [(300, 300), (1, 600), (299, 600), (1, 1000), (399, 1000)] {
            assembly.push(&vec![0; piece], 1000).unwrap();
            assert_eq!(assembly.capacity(), capacity);
        }
        assert_eq!(assembly.len(), 1000);
    }
}
