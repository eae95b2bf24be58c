//! Messages of Easypeers 1 as members carry them: a bridge, which is a member with links to such
//! peers, signs the message as it came, behind the id that every bridge makes for it. All members
//! check and forward them; only bridges (`v1_bridge`) speak to peers of Easypeers 1.

use easypeers_proto::MessageId;
use easypeers_proto::crypto::envelope::bridged_id;
use easypeers_proto::wire::v1::message::Message;

/// What follows the 40 hex digits of a member's message in its id for v1 peers. Their own ids end
/// with a random fraction of about 16 digits.
const FRACTION: &str = "0.5";

/// The id for v1 peers of a member's message.
#[cfg(feature = "compat")]
pub(super) fn v1_id(id: MessageId) -> String {
    format!("{id}{FRACTION}")
}

/// Whether a bridge made this id: then its message comes from the mesh.
pub(super) fn is_from_bridge(id: &str) -> bool {
    id.strip_suffix(FRACTION)
        .is_some_and(|hex| hex.parse::<MessageId>().is_ok())
}

/// The v1 message in the payload of a bridged one, after its id of 20 bytes.
pub(super) fn v1_payload(payload: &[u8]) -> &[u8] {
    payload.get(20..).unwrap_or_default()
}

/// Whether a bridged message carries a v1 message with the id that it claims.
pub(super) fn is_bridged(id: &MessageId, payload: &[u8]) -> bool {
    Message::decode(v1_payload(payload))
        .is_ok_and(|message| bridged_id(&message.id) == *id && !is_from_bridge(&message.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "compat")]
    #[test]
    fn ids_from_bridges_are_recognised() {
        let id = MessageId::new([0xab; 20]);
        assert!(is_from_bridge(&v1_id(id)));
        let theirs = easypeers_proto::wire::v1::message::message_id("hello", 12345);
        assert!(!is_from_bridge(&theirs), "{theirs}");
        assert!(!is_from_bridge("0.5"));
    }

    #[test]
    fn a_bridged_message_has_the_id_of_the_message_in_it() {
        let json = format!(
            r#"{{"id":"x0.25","has":[],"message":"hello","from":"{}"}}"#,
            "ab".repeat(20)
        );
        let id = bridged_id("x0.25");
        let payload = [id.as_bytes(), format!("{}:{json}", json.len()).as_bytes()].concat();
        assert!(is_bridged(&id, &payload));
        assert!(!is_bridged(&MessageId::new([1; 20]), &payload));
        assert!(!is_bridged(&id, &payload[..19]));
    }
}
