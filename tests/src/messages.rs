//! What clients send.

use easypeers_proto::{InfoHash, OfferId, PeerId};
use serde_json::{Map, Value, json};

use crate::ids::offer_id;

/// An announce as WebTorrent writes it, to be changed where a test differs.
#[derive(Debug, Clone)]
pub struct Announce {
    fields: Map<String, Value>,
    /// Raw JSON of each offer with its id.
    offers: Vec<(OfferId, String)>,
}

impl Announce {
    /// Of an unknown `left`, without event or offers.
    #[must_use]
    pub fn new(info_hash: InfoHash, peer_id: PeerId) -> Self {
        let fields = Map::from_iter([
            ("action".to_owned(), json!("announce")),
            ("info_hash".to_owned(), json!(info_hash)),
            ("peer_id".to_owned(), json!(peer_id)),
            ("left".to_owned(), Value::Null),
        ]);
        Self {
            fields,
            offers: Vec::new(),
        }
    }

    /// Sets any field; null stays, see [`without`](Self::without).
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }

    /// Leaves a field out.
    #[must_use]
    pub fn without(mut self, field: &str) -> Self {
        self.fields.remove(field);
        self
    }

    /// Sets `event`.
    #[must_use]
    pub fn event(self, event: &str) -> Self {
        self.with("event", event)
    }

    /// Has everything.
    #[must_use]
    pub fn seeding(self) -> Self {
        self.with("left", 0)
    }

    /// Adds offers 0 to `count - 1`, each with its own description.
    #[must_use]
    pub fn offers(mut self, count: u32) -> Self {
        for number in 0..count {
            self = self.offer(offer_id(number), &sdp("offer", number));
        }
        self
    }

    /// Adds one offer; `description` is JSON.
    #[must_use]
    pub fn offer(mut self, id: OfferId, description: &str) -> Self {
        self.offers.push((id, description.to_owned()));
        self
    }

    /// The message; descriptions stand in it byte for byte.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = json!(self.fields).to_string();
        if !self.offers.is_empty() {
            text.truncate(text.len() - 1);
            let offers = self.offers.iter();
            let offers: Vec<_> = offers
                .map(|(id, raw)| format!("{{\"offer\":{raw},\"offer_id\":{}}}", json!(id)))
                .collect();
            text += &format!(",\"offers\":[{}]}}", offers.join(","));
        }
        text
    }
}

/// JSON of the description `number`, of the kind `offer` or `answer`.
#[must_use]
pub fn sdp(kind: &str, number: u32) -> String {
    json!({"type": kind, "sdp": format!("v=0\r\no=- {number} 2 IN IP4 127.0.0.1\r\n")}).to_string()
}

/// An answer of `from` to the offer `id` that `to` made; `description` is JSON.
#[must_use]
pub fn answer(
    info_hash: InfoHash,
    from: PeerId,
    to: PeerId,
    id: OfferId,
    description: &str,
) -> String {
    let (info_hash, from, to, id) = (json!(info_hash), json!(from), json!(to), json!(id));
    format!(
        "{{\"action\":\"announce\",\"info_hash\":{info_hash},\"peer_id\":{from},\
         \"to_peer_id\":{to},\"answer\":{description},\"offer_id\":{id}}}"
    )
}
