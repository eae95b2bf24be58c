//! Compares keys, proofs and messages with those of an independent implementation, which was written
//! from docs/peer-protocol.md.

use serde_json::Value;

use super::admission::{Party, Role, Transcript};
use super::envelope::{Content, Draft, Envelope, Kind, bridged_id};
use super::manifest::{CHUNK, Manifest};
use super::part::Part;
use super::{Identity, TopicKey, hmac_sha256, seal};
use crate::wire::frame::{Auth, Frame};
use crate::{InfoHash, PeerId};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../vectors/crypto.json")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER
        .decode(text(value).as_bytes())
        .unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// Alice, who makes the offer and sends the messages, and Bob.
fn identities(vectors: &Value) -> [Identity; 2] {
    [0, 1].map(|at| Identity::from_seed(&array(&vectors["identities"][at]["seed"])))
}

#[test]
fn identities_and_topic_keys() {
    use hmac::Mac;

    let vectors = vectors();
    for (identity, expected) in identities(&vectors).iter().zip([0, 1]) {
        let expected = &vectors["identities"][expected];
        assert_eq!(*identity.public().as_bytes(), array(&expected["keys"]));
        assert_eq!(identity.address().to_string(), text(&expected["address"]));
    }
    let keys = &vectors["topic_keys"];
    let info_hash = InfoHash::of_topic(text(&keys["topic"]));
    assert_eq!(info_hash.to_string(), text(&keys["info_hash"]));
    for (key, name) in [
        (TopicKey::from_topic(text(&keys["topic"])), "of_topic"),
        (
            TopicKey::from_password(text(&keys["password"]), &info_hash).unwrap(),
            "of_password",
        ),
        (TopicKey::from_info_hash(&info_hash), "of_info_hash"),
    ] {
        let expected = hmac_sha256(&array(&keys[name]), &[b"any"]).finalize();
        assert_eq!(
            key.mac(b"any"),
            <[u8; 32]>::from(expected.into_bytes()),
            "{name}"
        );
    }
}

#[test]
fn admission() {
    let vectors = vectors();
    let [alice, bob] = identities(&vectors);
    let admission = &vectors["admission"];
    let party = |identity: &Identity, name: &str| Party {
        keys: *identity.public(),
        nonce: array(&admission[name]["nonce"]),
        fingerprint: array(&admission[name]["fingerprint"]),
    };
    let (offerer, answerer) = (party(&alice, "offerer"), party(&bob, "answerer"));
    let info_hash = InfoHash::of_topic("demo");
    let topic = TopicKey::from_topic("demo");
    for (role, local, remote, identity, name) in [
        (Role::Offerer, offerer, answerer, &alice, "offerer"),
        (Role::Answerer, answerer, offerer, &bob, "answerer"),
    ] {
        let transcript = Transcript::new(info_hash, role, local, remote);
        let length = transcript.bytes(role).len();
        assert_eq!(Some(length as u64), admission["length"].as_u64());
        let mut frame = Vec::new();
        let proof = transcript.prove(identity, &topic);
        Frame::from(Auth { proof }).encode(&mut frame);
        assert_eq!(frame, bytes(&admission[name]["auth"]), "{name}");
    }
}

#[test]
fn envelopes() {
    let vectors = vectors();
    let [alice, _] = identities(&vectors);
    for case in vectors["envelopes"].as_array().unwrap() {
        let name = text(&case["name"]);
        let recipients = case["recipients"].as_array().unwrap().iter();
        let recipients: Vec<PeerId> = recipients.map(|id| text(id).parse().unwrap()).collect();
        let payload = bytes(&case["payload"]);
        let kinds = [
            Kind::Broadcast,
            Kind::Direct,
            Kind::Manifest,
            Kind::Bridged,
            Kind::Part,
        ];
        let number = |field: &str| case[field].as_u64().unwrap();
        let draft = Draft {
            kind: kinds[number("kind") as usize],
            content: [Content::Text, Content::Binary][number("content") as usize],
            epoch: number("epoch"),
            sequence: number("sequence"),
            time_ms: number("time_ms"),
            recipients: &recipients,
            nonce: array(&case["nonce"]),
            payload: &payload,
        };
        let envelope = bytes(&case["envelope"]);
        assert_eq!(draft.sign(&alice), envelope, "{name}");
        let read = Envelope::decode(&envelope).unwrap();
        assert_eq!(read.verify(), Ok(()), "{name}");
        assert_eq!(read.id().to_string(), text(&case["id"]), "{name}");
        match draft.kind {
            Kind::Manifest => {
                let whole: Vec<u8> = (0..CHUNK + 100).map(|at| (at * 7) as u8).collect();
                assert_eq!(Manifest::encode(&whole), payload);
            }
            Kind::Bridged => {
                let (_, v1_id) = name.rsplit_once(' ').unwrap();
                assert_eq!(bridged_id(v1_id), read.id());
            }
            Kind::Part => {
                let part = Part::decode(&payload).unwrap();
                assert_eq!((part.index, part.count, part.data), (1, 3, &b"piece"[..]));
            }
            Kind::Broadcast | Kind::Direct | Kind::Beacon => {}
        }
    }
}

#[test]
fn sealed_messages() {
    let vectors = vectors();
    let [alice, bob] = identities(&vectors);
    let sealed = &vectors["sealed"];
    let mut envelopes = vectors["envelopes"].as_array().unwrap().iter();
    let inside = envelopes.find(|case| case["name"] == sealed["envelope"]);
    let inside = bytes(&inside.unwrap()["envelope"]);
    let ephemeral = array(&sealed["ephemeral"]);
    let (body, _) = seal::seal(&inside, alice.address(), bob.public(), &ephemeral).unwrap();
    assert_eq!(body, bytes(&sealed["body"]));
    let id = seal::sealed_id(&body);
    assert_eq!(id.to_string(), text(&sealed["id"]));
    let (opened, key) = seal::open(&body, &bob, alice.address()).unwrap();
    assert_eq!(opened, inside);
    let hops = sealed["hops"].as_u64().unwrap() as u8;
    assert_eq!(key.prove(&id, hops), array(&sealed["acknowledgement"]));
}
