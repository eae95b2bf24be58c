//! Reads received messages without parsing them into a tree.
//!
//! Only the keys of the outer object and of `offer`/`answer` matter, in any order; values stay
//! slices of the message, still escaped. Known texts are compared as they are; the slow way
//! (undo the escapes) is for trackers that write their JSON otherwise.

use crate::ids::Bytes;

/// The parts of a tracker's message that matter here; strings are without quotes, escapes as sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub action: Option<&'a [u8]>,
    pub info_hash: Option<&'a [u8]>,
    pub peer_id: Option<&'a [u8]>,
    pub offer_id: Option<&'a [u8]>,
    pub offer: Option<Description<'a>>,
    pub answer: Option<Description<'a>>,
    pub failure: Option<&'a [u8]>,
    /// `complete` or `interval` is there: the response to an announce.
    pub response: bool,
}

/// An offer or an answer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Description<'a> {
    pub kind: Option<&'a [u8]>,
    pub sdp: Option<&'a [u8]>,
}

/// The message in a text, or nothing when it is not an object.
pub(crate) fn scan(text: &[u8]) -> Option<Message<'_>> {
    let mut message = Message::default();
    let mut cursor = Cursor { text, at: 0 };
    cursor.object(|key, cursor| {
        match key {
            b"action" => message.action = cursor.string_or_skip()?,
            b"info_hash" => message.info_hash = cursor.string_or_skip()?,
            b"peer_id" => message.peer_id = cursor.string_or_skip()?,
            b"offer_id" => message.offer_id = cursor.string_or_skip()?,
            b"failure reason" => message.failure = cursor.string_or_skip()?,
            b"offer" => message.offer = cursor.description()?,
            b"answer" => message.answer = cursor.description()?,
            b"complete" | b"interval" => {
                message.response = true;
                cursor.skip()?;
            }
            _ => cursor.skip()?,
        }
        Some(())
    })?;
    Some(message)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Calls `member` behind each key; it moves the cursor over the value.
    fn object(&mut self, mut member: impl FnMut(&[u8], &mut Self) -> Option<()>) -> Option<()> {
        self.eat(b'{')?;
        if self.peek()? == b'}' {
            return self.eat(b'}');
        }
        loop {
            let key = self.string()?;
            self.eat(b':')?;
            member(key, self)?;
            match self.peek()? {
                b',' => self.at += 1,
                _ => return self.eat(b'}'),
            }
        }
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        self.eat(b'"')?;
        let start = self.at;
        loop {
            let rest = self.text.get(self.at..)?;
            self.at += rest.iter().position(|b| matches!(b, b'"' | b'\\'))?;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Some(&self.text[start..self.at - 1]);
            }
            self.at += 2;
        }
    }

    /// Nothing in the inner option: the value was something else.
    fn string_or_skip(&mut self) -> Option<Option<&'a [u8]>> {
        if self.peek()? == b'"' {
            return self.string().map(Some);
        }
        self.skip()?;
        Some(None)
    }

    fn description(&mut self) -> Option<Option<Description<'a>>> {
        if self.peek()? != b'{' {
            self.skip()?;
            return Some(None);
        }
        let mut description = Description::default();
        self.object(|key, cursor| {
            match key {
                b"type" => description.kind = cursor.string_or_skip()?,
                b"sdp" => description.sdp = cursor.string_or_skip()?,
                _ => cursor.skip()?,
            }
            Some(())
        })?;
        Some(Some(description))
    }

    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_u32;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    depth -= 1;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                b'}' | b']' | b',' | b':' => return None,
                _ => {
                    let rest = &self.text[self.at..];
                    self.at += rest
                        .iter()
                        .position(|b| {
                            matches!(b, b',' | b'}' | b']' | b':' | b' ' | b'\n' | b'\r' | b'\t')
                        })
                        .unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// The twenty bytes of an id, each a code point up to U+00FF.
pub(crate) fn id(escaped: &[u8]) -> Option<Bytes> {
    if let Ok(bytes) = Bytes::try_from(escaped) {
        return (bytes.iter().all(|b| b.is_ascii() && *b != b'\\')).then_some(bytes);
    }
    let text = unescape(escaped)?;
    let mut chars = text.chars();
    let mut bytes = [0; 20];
    for byte in &mut bytes {
        *byte = u8::try_from(u32::from(chars.next()?)).ok()?;
    }
    chars.next().is_none().then_some(bytes)
}

/// The text that a JSON string stands for.
pub(crate) fn unescape(escaped: &[u8]) -> Option<String> {
    let mut quoted = Vec::with_capacity(escaped.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(escaped);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).ok()
}

/// Appends an id as the inside of a JSON string.
pub(crate) fn push_id(out: &mut Vec<u8>, id: &Bytes) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in id {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1f => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            0x80.. => out.extend_from_slice(&[0xc0 | byte >> 6, 0x80 | byte & 0x3f]),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_order_and_space_do_not_matter() {
        let one = br#"{"action":"announce","info_hash":"h","offer":{"type":"offer","sdp":"s"},"offer_id":"o","peer_id":"p"}"#;
        let other = br#" { "peer_id" : "p" , "x":[1,{"offer_id":"no"},"]"], "offer":{ "sdp":"s","y":{}, "type":"offer" },
            "offer_id":"o","z":null,"n":-1.5e3, "t":true ,"info_hash":"h", "action":"announce" } "#;
        let message = scan(one).unwrap();
        assert_eq!(scan(other), Some(message));
        assert_eq!(message.peer_id, Some(&b"p"[..]));
        assert_eq!(message.offer_id, Some(&b"o"[..]));
        let offer = message.offer.unwrap();
        assert_eq!(
            (offer.kind, offer.sdp),
            (Some(&b"offer"[..]), Some(&b"s"[..]))
        );
        assert!(!message.response);
    }

    #[test]
    fn quotes_in_strings_end_nothing() {
        let message = scan(br#"{"peer_id":"a\"b\\","answer":{"sdp":"v=0\r\n\"}"}}"#).unwrap();
        assert_eq!(message.peer_id, Some(&br#"a\"b\\"#[..]));
        assert_eq!(message.answer.unwrap().sdp, Some(&br#"v=0\r\n\"}"#[..]));
    }

    #[test]
    fn responses_and_failures_are_told_apart() {
        let response = scan(
            br#"{"complete":0,"incomplete":3,"action":"announce","interval":120,"info_hash":"h"}"#,
        );
        assert!(response.unwrap().response);
        let failure = scan(br#"{"failure reason":"no","action":"announce"}"#).unwrap();
        assert_eq!(failure.failure, Some(&b"no"[..]));
        assert!(!failure.response);
    }

    #[test]
    fn what_is_not_an_object_is_nothing() {
        for text in [
            "",
            "null",
            "[]",
            "{",
            r#"{"a""#,
            r#"{"a":"#,
            r#"{"a":"b"#,
            r#"{"a":"\"#,
            "{]",
        ] {
            assert_eq!(scan(text.as_bytes()), None, "{text}");
        }
        assert_eq!(scan(b"{}"), Some(Message::default()));
    }

    #[test]
    fn a_value_of_another_type_is_skipped() {
        let message = scan(br#"{"peer_id":7,"offer":null,"offer_id":"o"}"#).unwrap();
        assert_eq!(
            (message.peer_id, message.offer, message.offer_id),
            (None, None, Some(&b"o"[..]))
        );
    }

    #[test]
    fn ids_survive_any_way_of_escaping() {
        let bytes: Bytes = std::array::from_fn(|i| (i * 13) as u8);
        let mut ours = Vec::new();
        push_id(&mut ours, &bytes);
        assert_eq!(id(&ours), Some(bytes));
        let all_escaped: String = bytes.iter().map(|b| format!("\\u{b:04X}")).collect();
        assert_eq!(id(all_escaped.as_bytes()), Some(bytes));
        assert_eq!(
            id(br"\u0000\b\t\n\f\r\/0123456789abc"),
            Some(*b"\0\x08\t\n\x0c\r/0123456789abc")
        );
    }

    #[test]
    fn ids_of_other_lengths_are_none() {
        assert_eq!(id(b"0123456789012345678"), None);
        assert_eq!(id(b"012345678901234567890"), None);
        assert_eq!(id("012345678901234567\u{20ac}".as_bytes()), None);
        assert_eq!(id(br"\u00ff\u00ff5678"), None);
    }

    #[test]
    fn every_byte_value_round_trips() {
        for start in 0..=255_u8 {
            let bytes: Bytes = std::array::from_fn(|i| start.wrapping_add(i as u8));
            let mut text = Vec::new();
            push_id(&mut text, &bytes);
            assert_eq!(id(&text), Some(bytes));
        }
    }
}
