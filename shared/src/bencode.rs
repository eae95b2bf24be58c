//! Bencode (BEP 3), as the extension protocol (BEP 10) needs it.
//!
//! [`read`] turns untrusted bytes into a [`Value`] that borrows them. It first checks the whole value,
//! depth included. Lists and dictionaries are then walked in place, which allocates nothing. The bytes
//! after the value are returned as well, because BEP 9 puts data after a dictionary.
//!
//! Numbers are read more strictly than by common decoders: no leading zeros, no `-0`, at most 64 bits.
//! Dictionaries are read more leniently: keys may be in any order, and if a key is repeated, the
//! **last** value counts, as in decoders that store into a map. Writing is canonical: an [`Item`] sorts
//! its keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// How deeply lists and dictionaries may be nested. An extended handshake needs 2.
pub const MAX_DEPTH: usize = 16;

/// Why bytes are not valid bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// The input ends inside a value.
    #[error("input ends inside a value")]
    Truncated,
    /// A byte with which no value can start.
    #[error("no value starts with this byte")]
    Syntax,
    /// An integer or a length that is not plain decimal or does not fit into 64 bits.
    #[error("not a plain decimal number of 64 bits")]
    Number,
    /// A dictionary key that is not a byte string.
    #[error("dictionary key is not a byte string")]
    Key,
    /// Lists and dictionaries are nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    Depth,
}

/// A value that borrows its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// `i…e`
    Integer(i64),
    /// `<length>:…`
    Bytes(&'a [u8]),
    /// `l…e`
    List(List<'a>),
    /// `d…e`
    Dict(Dict<'a>),
}

impl<'a> Value<'a> {
    /// The integer, if the value is one.
    #[must_use]
    pub const fn as_integer(self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(number),
            _ => None,
        }
    }

    /// The bytes, if the value is a byte string.
    #[must_use]
    pub const fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The dictionary, if the value is one.
    #[must_use]
    pub const fn as_dict(self) -> Option<Dict<'a>> {
        match self {
            Self::Dict(dict) => Some(dict),
            _ => None,
        }
    }
}

/// The content of a list, which has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct List<'a>(&'a [u8]);

impl<'a> List<'a> {
    /// The values in order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || take_value(&mut rest, 0).ok())
    }
}

/// The content of a dictionary, which has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dict<'a>(&'a [u8]);

impl<'a> Dict<'a> {
    /// Keys and values in the order of the input, repeated keys included.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let key = take_bytes(&mut rest).ok()?;
            Some((key, take_value(&mut rest, 0).ok()?))
        })
    }

    /// The value of a key, or its last value if the key is repeated. Walks the whole dictionary.
    #[must_use]
    pub fn get(self, key: &[u8]) -> Option<Value<'a>> {
        self.iter()
            .filter_map(|(name, value)| (name == key).then_some(value))
            .last()
    }
}

/// Reads one value. Returns it and the bytes after it.
///
/// # Errors
/// [`BencodeError`], if the bytes do not start with a complete value.
pub fn read(mut bytes: &[u8]) -> Result<(Value<'_>, &[u8]), BencodeError> {
    let value = take_value(&mut bytes, 0)?;
    Ok((value, bytes))
}

/// Takes a value off the front of `rest`. Recurses at most [`MAX_DEPTH`] deep.
fn take_value<'a>(rest: &mut &'a [u8], depth: usize) -> Result<Value<'a>, BencodeError> {
    match rest.first().ok_or(BencodeError::Truncated)? {
        b'0'..=b'9' => Ok(Value::Bytes(take_bytes(rest)?)),
        b'i' => {
            *rest = &rest[1..];
            let negative = rest.first() == Some(&b'-');
            *rest = &rest[usize::from(negative)..];
            let size = take_number(rest, b'e')?;
            match (negative, i64::try_from(size)) {
                (false, Ok(number)) => Ok(Value::Integer(number)),
                (true, _) if size != 0 => 0i64
                    .checked_sub_unsigned(size)
                    .map(Value::Integer)
                    .ok_or(BencodeError::Number),
                _ => Err(BencodeError::Number),
            }
        }
        b'l' => {
            let inside = take_nested(rest, depth, |rest| take_value(rest, depth + 1).map(drop))?;
            Ok(Value::List(List(inside)))
        }
        b'd' => {
            let inside = take_nested(rest, depth, |rest| {
                if !rest.first().is_some_and(u8::is_ascii_digit) {
                    return Err(BencodeError::Key);
                }
                take_bytes(rest)?;
                take_value(rest, depth + 1).map(drop)
            })?;
            Ok(Value::Dict(Dict(inside)))
        }
        _ => Err(BencodeError::Syntax),
    }
}

/// Takes a list or dictionary entry by entry. Returns the bytes between `l` or `d` and `e`.
fn take_nested<'a>(
    rest: &mut &'a [u8],
    depth: usize,
    mut entry: impl FnMut(&mut &'a [u8]) -> Result<(), BencodeError>,
) -> Result<&'a [u8], BencodeError> {
    if depth >= MAX_DEPTH {
        return Err(BencodeError::Depth);
    }
    let start = &rest[1..];
    *rest = start;
    while *rest.first().ok_or(BencodeError::Truncated)? != b'e' {
        entry(rest)?;
    }
    let inside = &start[..start.len() - rest.len()];
    *rest = &rest[1..];
    Ok(inside)
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BencodeError> {
    let length = take_number(rest, b':')?;
    let (bytes, after) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or(BencodeError::Truncated)?;
    *rest = after;
    Ok(bytes)
}

/// Takes decimal digits and the byte `end` after them.
fn take_number(rest: &mut &[u8], end: u8) -> Result<u64, BencodeError> {
    let mut number = 0u64;
    for (index, &byte) in rest.iter().enumerate() {
        if byte == end && index > 0 {
            *rest = &rest[index + 1..];
            return Ok(number);
        }
        if !byte.is_ascii_digit() || (index == 1 && number == 0) {
            return Err(BencodeError::Number);
        }
        number = number
            .checked_mul(10)
            .and_then(|number| number.checked_add(u64::from(byte - b'0')))
            .ok_or(BencodeError::Number)?;
    }
    Err(BencodeError::Truncated)
}

/// A value to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item<'a> {
    /// An integer.
    Integer(i64),
    /// A byte string.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Self>),
    /// A dictionary. The map sorts the keys as raw bytes, as BEP 3 requires.
    Dict(BTreeMap<Cow<'a, [u8]>, Self>),
}

impl<'a> Item<'a> {
    /// A borrowed byte string.
    #[must_use]
    pub fn bytes<T: AsRef<[u8]> + ?Sized>(bytes: &'a T) -> Self {
        Self::Bytes(Cow::Borrowed(bytes.as_ref()))
    }

    /// A dictionary of these entries, which may be in any order. If a key is repeated, its last value
    /// counts.
    #[must_use]
    pub fn dict(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let entries = entries.into_iter();
        Self::Dict(
            entries
                .map(|(key, item)| (Cow::Borrowed(key.as_bytes()), item))
                .collect(),
        )
    }

    /// Appends the canonical form.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(number) => {
                out.push(b'i');
                out.extend_from_slice(number.to_string().as_bytes());
                out.push(b'e');
            }
            Self::Bytes(bytes) => write_bytes(bytes, out),
            Self::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.write(out));
                out.push(b'e');
            }
            Self::Dict(entries) => {
                out.push(b'd');
                for (key, item) in entries {
                    write_bytes(key, out);
                    item.write(out);
                }
                out.push(b'e');
            }
        }
    }
}

/// Appends a byte string with its length prefix.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Turns what was read into something to write.
    fn copy(value: Value<'_>) -> Item<'_> {
        match value {
            Value::Integer(number) => Item::Integer(number),
            Value::Bytes(bytes) => Item::bytes(bytes),
            Value::List(list) => Item::List(list.iter().map(copy).collect()),
            Value::Dict(dict) => {
                Item::Dict(dict.iter().map(|(k, v)| (k.into(), copy(v))).collect())
            }
        }
    }

    fn items() -> impl Strategy<Value = Item<'static>> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![
            any::<i64>().prop_map(Item::Integer),
            bytes().prop_map(|bytes| Item::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(6, 40, 5, move |inner| {
            let key = bytes().prop_map(Cow::Owned);
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Item::List),
                prop::collection::btree_map(key, inner, 0..5).prop_map(Item::Dict),
            ]
        })
    }

    #[test]
    fn malformed_input_is_refused_with_its_reason() {
        use BencodeError as E;
        for (text, error) in [
            ("", E::Truncated),
            ("x", E::Syntax),
            ("e", E::Syntax),
            ("i", E::Truncated),
            ("ie", E::Number),
            ("i-e", E::Number),
            ("i-0e", E::Number),
            ("i03e", E::Number),
            ("i1", E::Truncated),
            ("i1.5e", E::Number),
            ("i--1e", E::Number),
            ("i9223372036854775808e", E::Number),
            ("i-9223372036854775809e", E::Number),
            ("03:abc", E::Number),
            ("4:abc", E::Truncated),
            ("99999999999:abc", E::Truncated),
            ("99999999999999999999:abc", E::Number),
            ("1x", E::Number),
            ("l", E::Truncated),
            ("d1:a", E::Truncated),
            ("d1:ae", E::Syntax),
            ("di1ei2ee", E::Key),
        ] {
            assert_eq!(read(text.as_bytes()), Err(error), "{text}");
        }
        let nested = |depth| ["l".repeat(depth), "e".repeat(depth)].concat();
        assert!(read(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            read(nested(MAX_DEPTH + 1).as_bytes()),
            Err(BencodeError::Depth)
        );
        assert_eq!(
            read("l".repeat(1 << 20).as_bytes()),
            Err(BencodeError::Depth)
        );
    }

    #[test]
    fn keys_may_be_in_any_order_and_the_last_value_of_a_repeated_key_counts() {
        let (value, rest) = read(b"d1:bi1e1:ai2e1:bi-3eerest").unwrap();
        let dict = value.as_dict().unwrap();
        assert_eq!(dict.get(b"b"), Some(Value::Integer(-3)));
        assert_eq!(dict.get(b"a"), Some(Value::Integer(2)));
        assert_eq!(dict.get(b"c"), None);
        assert_eq!(rest, b"rest");
        let mut out = Vec::new();
        copy(value).write(&mut out);
        assert_eq!(out, b"d1:ai2e1:bi-3ee");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn items_round_trip(item in items(), tail: Vec<u8>) {
            let mut out = Vec::new();
            item.write(&mut out);
            let length = out.len();
            out.extend_from_slice(&tail);
            let (value, rest) = read(&out).unwrap();
            prop_assert_eq!(copy(value), item);
            prop_assert_eq!(rest, &tail[..]);
            for short in 0..length {
                prop_assert_eq!(read(&out[..short]), Err(BencodeError::Truncated));
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, likely in "[0-9deil:-]{0,40}") {
            for input in [&bytes[..], likely.as_bytes()] {
                if let Ok((value, rest)) = read(input) {
                    let mut out = Vec::new();
                    copy(value).write(&mut out);
                    prop_assert!(out.len() <= input.len() - rest.len());
                }
            }
        }
    }
}
