//! The application's data as the content of an envelope, and back.

use easypeers_core::message::Signed;
use easypeers_proto::crypto::envelope::{Content, Kind};

use crate::model::{Data, Message};

/// How an envelope marks this data.
pub(super) const fn content(data: &Data) -> Content {
    match data {
        Data::Text(_) => Content::Text,
        Data::Binary(_) => Content::Binary,
    }
}

/// What the application gets; `None` for a text that is not UTF-8.
pub(super) fn to_data(content: Content, bytes: Vec<u8>) -> Option<Data> {
    match content {
        Content::Text => String::from_utf8(bytes).ok().map(Data::from),
        Content::Binary => Some(bytes.into()),
    }
}

/// A broadcast as the application gets it; `None` for a text that is not UTF-8.
pub(super) fn broadcast(signed: &Signed, hops: u8, bytes: Vec<u8>) -> Option<Message> {
    Some(Message {
        id: signed.id,
        from: signed.origin,
        data: to_data(signed.content, bytes)?,
        direct: false,
        verified: signed.kind != Kind::Bridged,
        hops: hops.into(),
        time_ms: signed.time_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_its_kind() {
        for data in [Data::from("hello"), Data::from(vec![0xff])] {
            let bytes = data.as_bytes().to_vec();
            assert_eq!(to_data(content(&data), bytes), Some(data));
        }
        assert_eq!(to_data(Content::Text, vec![0xff]), None);
    }
}
