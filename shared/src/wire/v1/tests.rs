//! What Easypeers 1 sends and accepts, what we make, and what strangers may send.

use proptest::prelude::*;
use serde_json::Value;

use super::message::{MAX_HAS, MAX_JSON, Outgoing, message_id};
use super::*;
use crate::wire::extension::ExtensionHandshake;
use crate::wire::stream::{Decoder, Event};
use crate::{InfoHash, PeerId};

const ME: PeerId = PeerId::new([0xab; 20]);

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/compat.json")).unwrap()
}

/// Repeatable bytes that look random.
fn source(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |out| {
        for slot in out {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            *slot = (state >> 56) as u8;
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// A message with this JSON, right prefix included.
fn payload(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    crate::bencode::write_bytes(json.as_bytes(), &mut out);
    out
}

#[test]
fn certificates_of_easypeers_1_have_our_verdict() {
    for case in vectors()["certificates"].as_array().unwrap() {
        let (c, text) = (&case["certificate"], case["text"].as_str().unwrap());
        let json = serde_json::json!({"id": c, "from": c, "message": c, "pubkey": case["pubkey"]});
        let verdict = Certificate::decode(&json.to_string())
            .and_then(|certificate| certificate.verify(text, text, text))
            .map_or_else(|error| format!("{error:?}"), |()| "valid".to_owned());
        assert_eq!(verdict, case["ours"].as_str().unwrap(), "{}", case["name"]);
        assert!(case["original"] == true || verdict != "valid");
    }
}

#[test]
fn recorded_streams_of_easypeers_1_decode_and_verify() {
    for case in vectors()["streams"].as_array().unwrap() {
        let hex = |name: &str| case[name].as_str().unwrap();
        let pieces = case["pieces"].as_array().unwrap().iter();
        let pieces: Vec<_> = pieces.map(|piece| unhex(piece.as_str().unwrap())).collect();
        let (mut decoder, mut texts, mut shakes) = (Decoder::new(), Vec::new(), 0);
        for piece in &pieces {
            let mut input = &piece[..];
            while let Some(event) = decoder.next(&mut input).unwrap() {
                match event {
                    Event::Handshake(shake) => {
                        assert_eq!(Ok(shake.info_hash), hex("info_hash").parse::<InfoHash>());
                        assert_eq!(Ok(shake.peer_id), hex("from").parse::<PeerId>());
                        assert!(shake.has_extensions());
                        shakes += 1;
                    }
                    Event::Extended { id: 0, payload } => {
                        let shake = ExtensionHandshake::decode(&payload).unwrap();
                        assert_eq!(shake.sw_easypeers.map(|n| n.get()), Some(3));
                        shakes += 1;
                    }
                    Event::Extended { id: 3, payload } => {
                        let message = Message::decode(&payload).unwrap();
                        assert_eq!(message.verify(), Ok(()));
                        assert_eq!(message.from.to_string(), hex("from"));
                        assert_eq!(message.has, Some(vec![hex("to").parse().unwrap()]));
                        texts.push(message.text.into_owned());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((shakes, decoder.heap_bytes()), (2, 0));
        assert_eq!(Value::from(texts), case["texts"]);
    }
}

#[test]
fn our_messages_verify_and_altered_ones_do_not() {
    let mut fill = source(1);
    let key = PublicKey::generate(256, &mut fill).unwrap();
    assert_eq!(key.bits(), 256);
    let text = "say \"žluťoučký\" \u{1f40e}\n";
    let (id, from) = (message_id(text, 1 << 63), ME.to_string());
    let certificate = key.certify(&id, &from, text, &mut fill).unwrap();
    let (has, to) = ([PeerId::new([1; 20])], Some(PeerId::new([2; 20])));
    let certificate = &certificate;
    let outgoing = Outgoing {
        id: &id,
        has: &has,
        text,
        from: ME,
        to,
        certificate,
    };
    let mut out = Vec::new();
    outgoing.write(&mut out);
    let message = Message::decode(&out).unwrap();
    assert_eq!(
        (&*message.id, &*message.text, message.from),
        (&*id, text, ME)
    );
    assert_eq!(message.has.as_deref(), Some(&has[..]));
    assert_eq!(message.to, to.map(|to| vec![to]));
    assert_eq!(message.verify(), Ok(()));
    let proof = Err(MessageError::Certificate(CertificateError::Proof));
    let mut altered = message.clone();
    altered.text = "say".into();
    assert_eq!(altered.verify(), proof);
    let mut altered = message.clone();
    altered.from = has[0];
    assert_eq!(altered.verify(), proof);
    let mut altered = message;
    altered.id = "x".into();
    assert_eq!(altered.verify(), proof);
    let long = "x".repeat(MAX_TEXT + 1);
    let error = CertificateError::TextLength(MAX_TEXT + 1);
    assert_eq!(key.certify("", "", &long, &mut fill), Err(error));
    for bits in [0, 127, 513] {
        let error = Err(CertificateError::KeySize);
        assert_eq!(PublicKey::generate(bits, &mut fill), error);
    }
}

#[test]
fn an_id_hashes_the_low_bytes_and_ends_in_a_fraction() {
    let hash = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
    assert_eq!(message_id("hello", 1 << 63), format!("{hash}0.5"));
    // U+0168 is cut to `h`.
    assert_eq!(message_id("\u{168}ello", 0), format!("{hash}0"));
}

#[test]
fn forwarding_adds_one_address_and_changes_no_other_byte() {
    let other = "00".repeat(20);
    for (before, after) in [
        ("[ ]".to_owned(), format!("[ \"{ME}\"]")),
        (
            format!("[\"{other}\", 7 ]"),
            format!("[\"{other}\", 7 ,\"{ME}\"]"),
        ),
    ] {
        let json = |has: &str| {
            format!(
                r#"{{ "id":"1","x":{{"has":[1e9]}},"has":[],"h\u0061s": {has},"message":"\u0061",
                "from":"{other}","to":"nobody","certificate": {{"n": 1.0}} ,"y":"\ud800"}} "#
            )
        };
        let text = payload(&json(&before));
        let message = Message::decode(&text).unwrap();
        assert_eq!(
            (&*message.text, message.to.as_deref()),
            ("a", Some(&[][..]))
        );
        let mut out = Vec::new();
        assert!(message.write_forward(ME, &mut out));
        assert_eq!(out, payload(&json(&after)));
        assert_eq!(
            Message::decode(&out).unwrap().has.unwrap().last(),
            Some(&ME)
        );
    }
    let text = payload(&format!(
        r#"{{"id":"1","has":7,"message":"","from":"{other}"}}"#
    ));
    let message = Message::decode(&text).unwrap();
    let mut out = Vec::new();
    assert!(!message.write_forward(ME, &mut out) && out.is_empty());
    let missing = Err(MessageError::Certificate(CertificateError::Shape));
    assert_eq!(message.verify(), missing);
}

#[test]
fn what_is_no_message_is_refused_with_its_reason() {
    let from = "00".repeat(20);
    let with = |rest: &str| format!(r#"9:{{"id":"1","from":"{from}","message":"m"{rest}}}"#);
    let many = vec!["1"; MAX_HAS + 1].join(",");
    for (text, error) in [
        ("{}".to_owned(), MessageError::Prefix),
        ("2:[]".to_owned(), MessageError::Json),
        ("x:{".to_owned(), MessageError::Json),
        (":{}".to_owned(), MessageError::Id),
        (with(r#","id":7"#), MessageError::Id),
        (with(r#","from":"x""#), MessageError::From),
        (with(r#","message":7"#), MessageError::NotText),
        (
            with(&format!(r#","has":[{many}]"#)),
            MessageError::TooManyAddresses,
        ),
        (
            with(&format!(r#","x":{}"#, "[".repeat(40))),
            MessageError::Depth,
        ),
        (
            with(&" ".repeat(MAX_JSON)),
            MessageError::TooLong(with("").len() - 2 + MAX_JSON),
        ),
        (
            with(&format!(r#","message":"{}""#, "x".repeat(MAX_TEXT + 1))),
            MessageError::TextLength(MAX_TEXT + 1),
        ),
    ] {
        assert_eq!(Message::decode(text.as_bytes()), Err(error));
    }
    assert!(Message::decode(with("").as_bytes()).is_ok());
}

#[test]
#[ignore = "prints the cost of certificates; run it with --release --nocapture"]
fn cost() {
    let mut fill = source(2);
    let key = PublicKey::generate(512, &mut fill).unwrap();
    let case = &vectors()["certificates"][1];
    // A key as Easypeers 1 makes it, whose g is random.
    let theirs = PublicKey::decode(&case["pubkey"].to_string()).unwrap();
    let (id, from) = (message_id("hello", 7), ME.to_string());
    for (name, key) in [("ours", &key), ("theirs", &theirs)] {
        for length in [12, 1000, 4000, MAX_TEXT] {
            let text = "x".repeat(length);
            let times = |run: &mut dyn FnMut()| {
                #[expect(clippy::disallowed_methods, reason = "measures")]
                let start = std::time::Instant::now();
                (0..20).for_each(|_| run());
                start.elapsed() / 20
            };
            let mut json = String::new();
            let make = times(&mut || json = key.certify(&id, &from, &text, &mut fill).unwrap());
            let verify = times(&mut || {
                Certificate::decode(&json)
                    .unwrap()
                    .verify(&id, &from, &text)
                    .unwrap();
            });
            println!("{name}, {length} bytes: make {make:?}, verify {verify:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_to_a_message_is_read_without_panic(
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let json = format!(
            r#"{{"id":"1","has":["{ME}"],"message":"m","from":"{ME}","to":["{ME}"],"certificate":
            {{"id":{{"cipher":"1","proof":{{"a":"1","e":"2","z":"3"}}}}}}}}"#
        );
        let mut text = payload(&json);
        let at = at.index(text.len());
        text[at] = byte;
        for text in [&text[..], &text[..cut.index(text.len())]] {
            if let Ok(message) = Message::decode(text) {
                let _ = message.verify();
                let mut out = Vec::new();
                if message.write_forward(ME, &mut out) {
                    prop_assert!(Message::decode(&out).is_ok());
                }
            }
        }
    }
}
