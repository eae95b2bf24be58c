//! Round trips, tolerance and golden vectors of the codec.

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;
use crate::{InfoHash, OfferId, PeerId};

const HASH: &str = "aaaaaaaaaaaaaaaaaaaa";
const PEER: &str = "bbbbbbbbbbbbbbbbbbbb";

fn announce(rest: &str) -> String {
    format!(r#"{{"action":"announce","info_hash":"{HASH}","peer_id":"{PEER}"{rest}}}"#)
}

fn decoded(text: &str) -> Announce<'_> {
    match ClientMessage::decode(text) {
        Ok(ClientMessage::Announce(announce)) => announce,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> DecodeError<'_> {
    ClientMessage::decode(text).expect_err(text)
}

#[test]
fn absent_null_and_odd_fields_mean_a_plain_update_of_a_leecher() {
    for rest in [
        "",
        r#","event":null,"left":null,"offers":null,"numwant":null,"answer":null"#,
        r#","event":"","left":-1,"offers":[],"numwant":-1"#,
        r#","event":"empty","left":1.5,"offers":{},"numwant":1.5"#,
        r#","event":"update","left":1e300,"offers":"x","numwant":"5""#,
        r#","left":{},"offers":[null,7,"x",[[]],{},{"fake_offer":{}}],"key":{"a":[1]}"#,
    ] {
        let text = announce(rest);
        let announce = decoded(&text);
        assert_eq!(announce.event, Event::Update, "{rest}");
        assert!(!announce.complete && announce.offers.is_empty(), "{rest}");
        assert_eq!(announce.numwant, None, "{rest}");
    }
}

#[test]
fn left_zero_is_a_seeder() {
    for left in ["0", "0.0", "-0", "\"0\""] {
        assert!(
            decoded(&announce(&format!(r#","left":{left}"#))).complete,
            "{left}"
        );
    }
}

#[test]
fn every_event_is_known() {
    for event in Event::ALL {
        let text = announce(&format!(r#","event":"{}""#, event.as_str()));
        assert_eq!(decoded(&text).event, event);
    }
}

#[test]
fn malformed_offers_are_skipped_and_the_rest_is_kept_byte_for_byte() {
    let good = r#"{ "type" : "offer", "sdp":"v=0\r\n\u00e9", "more":[{}] }"#;
    let text = announce(&format!(
        r#","offers":[{{"offer":{good},"offer_id":"cccccccccccccccccccc"}},{{"offer":{good}}},
           {{"offer":"x","offer_id":"cccccccccccccccccccc"}},{{"offer":{{"type":"offer"}},
           "offer_id":"cccccccccccccccccccc"}},{{"offer":{good},"offer_id":"c"}}]"#
    ));
    let announce = decoded(&text);
    assert_eq!(announce.offers.len(), 1);
    assert_eq!(announce.offers_skipped, 4);
    assert_eq!(announce.offers[0].offer.get(), good);
}

#[test]
fn a_hundred_thousand_offers_are_counted_but_not_kept() {
    let offer = r#"{"offer":{"type":"offer","sdp":""},"offer_id":"cccccccccccccccccccc"}"#;
    let text = announce(&format!(
        r#","offers":[{}]"#,
        vec![offer; 100_000].join(",")
    ));
    let announce = decoded(&text);
    assert_eq!(announce.offers.len(), crate::limits::MAX_OFFERS);
    assert_eq!(announce.offers_skipped, 100_000 - crate::limits::MAX_OFFERS);
}

#[test]
fn the_last_value_of_a_repeated_key_counts() {
    let text = announce(r#","event":"started","event":"stopped""#);
    assert_eq!(decoded(&text).event, Event::Stopped);
}

#[test]
fn a_malformed_message_is_refused_with_its_reason() {
    use RejectReason::*;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (text, reason) in [
        ("", NotJson),
        ("{", NotJson),
        ("{}x", NotJson),
        ("hello", NotJson),
        ("null", NotAnObject),
        ("7", NotAnObject),
        ("[]", NotAnObject),
        ("\"x\"", NotAnObject),
        (&deep, NotAnObject),
        ("{}", UnknownAction),
        (r#"{"action":null}"#, UnknownAction),
        (r#"{"action":"dance"}"#, UnknownAction),
        (r#"{"action":"announce"}"#, MissingInfoHash),
        (r#"{"action":"announce","info_hash":7}"#, InvalidInfoHash),
        (
            r#"{"action":"announce","info_hash":"aaaaaaaaaaaaaaaaaaa"}"#,
            InvalidInfoHash,
        ),
        (
            &announce(r#","peer_id":"bbbbbbbbbbbbbbbbbbbbb""#),
            InvalidPeerId,
        ),
        (
            &announce(r#","peer_id":"Ābbbbbbbbbbbbbbbbbbb""#),
            InvalidPeerId,
        ),
        (&announce(r#","event":"dance""#), InvalidEvent),
        (&announce(r#","event":7"#), InvalidEvent),
        (&announce(r#","answer":7"#), InvalidAnswer),
        (
            &announce(r#","answer":{"type":"answer","sdp":""}"#),
            InvalidToPeerId,
        ),
        (
            &announce(&format!(
                r#","answer":{{"type":"answer","sdp":""}},"to_peer_id":"{PEER}""#
            )),
            InvalidOfferId,
        ),
        (r#"{"action":"scrape"}"#, MissingInfoHash),
        (r#"{"action":"scrape","info_hash":[]}"#, MissingInfoHash),
        (r#"{"action":"scrape","info_hash":["x"]}"#, InvalidInfoHash),
        (r#"{"action":"scrape","info_hash":{}}"#, InvalidInfoHash),
    ] {
        assert_eq!(refused(text).reason, reason, "{:.80}", text);
    }
    let many = format!(
        r#"{{"action":"scrape","info_hash":[{}]}}"#,
        ["\"\""; 101].join(",")
    );
    assert_eq!(refused(&many).reason, ScrapeTooLarge);
}

#[test]
fn a_refusal_carries_action_and_infohash_as_they_were_sent() {
    let error = refused(r#"{"info_hash":"\u0000short","action":"announce"}"#);
    assert_eq!(error.action, Some(Action::Announce));
    assert_eq!(error.info_hash, Some(r#""\u0000short""#));
    let long = format!(
        r#"{{"action":"announce","info_hash":"{}"}}"#,
        "x".repeat(5000)
    );
    assert_eq!(refused(&long).info_hash, None);
}

#[test]
fn recorded_messages_of_real_clients_decode() {
    let file = include_str!("../../vectors/clients.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 10);
    for vector in vectors {
        let text = vector["text"].as_str().unwrap();
        if vector["direction"] == "tracker-to-client" {
            ServerMessage::decode(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            continue;
        }
        let message = ClientMessage::decode(text).unwrap_or_else(|e| panic!("{e:?}: {text}"));
        let kind = vector["kind"].as_str().unwrap();
        match message {
            ClientMessage::Answer(answer) if kind == "announce answer" => {
                assert!(text.contains(answer.answer.get()), "{text}");
            }
            ClientMessage::Announce(announce) if kind.starts_with("announce ") => {
                let event = announce.event.as_str();
                let named = kind.contains(event) || kind.contains("without event");
                assert!(named, "{kind} decoded as {event}");
                let json: serde_json::Value = serde_json::from_str(text).unwrap();
                let offers = json["offers"].as_array().map_or(0, Vec::len);
                assert_eq!(
                    (announce.offers.len(), announce.offers_skipped),
                    (offers, 0)
                );
                assert_eq!(kind.contains("with offers"), offers > 0, "{kind}");
            }
            ClientMessage::Scrape(scrape) if kind.starts_with("scrape") => {
                assert_eq!(scrape.info_hashes.len() > 1, kind.contains("list"));
            }
            message => panic!("{kind} decoded as {message:?}"),
        }
    }
}

/// Each vector: bytes on the wire and what they mean, spelled out, in both directions.
#[test]
fn golden_vectors_hold() {
    let file = include_str!("../../vectors/tracker.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    for vector in file["client"].as_array().unwrap() {
        let text = vector["text"].as_str().unwrap();
        let meaning = describe_client(ClientMessage::decode(text));
        assert_eq!(meaning, vector["means"], "{}", vector["name"]);
    }
    for vector in file["server"].as_array().unwrap() {
        let text = vector["text"].as_str().unwrap();
        let message = ServerMessage::decode(text).unwrap();
        let mut again = Vec::new();
        message.write_json(&mut again);
        assert_eq!(
            String::from_utf8(again).unwrap(),
            text,
            "{}",
            vector["name"]
        );
    }
}

fn describe_client(decoded: Result<ClientMessage<'_>, DecodeError<'_>>) -> serde_json::Value {
    use serde_json::json;
    match decoded {
        Ok(ClientMessage::Announce(a)) => json!({
            "kind": "announce", "info_hash": a.info_hash.to_string(),
            "peer_id": a.peer_id.to_string(), "event": a.event.as_str(), "complete": a.complete,
            "numwant": a.numwant, "skipped": a.offers_skipped,
            "offers": a.offers.iter().map(|o| json!([o.offer_id.to_string(), o.offer.get()]))
                .collect::<Vec<_>>(),
        }),
        Ok(ClientMessage::Answer(a)) => json!({
            "kind": "answer", "info_hash": a.info_hash.to_string(),
            "peer_id": a.peer_id.to_string(), "to_peer_id": a.to_peer_id.to_string(),
            "offer_id": a.offer_id.to_string(), "answer": a.answer.get(),
        }),
        Ok(ClientMessage::Scrape(s)) => json!({
            "kind": "scrape",
            "info_hashes": s.info_hashes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }),
        Err(error) => json!({
            "kind": "refused", "reason": error.reason.label(), "info_hash": error.info_hash,
            "action": error.action.map(Action::as_str),
        }),
    }
}

fn description() -> impl Strategy<Value = Box<RawValue>> {
    any::<(String, bool)>().prop_map(|(sdp, spaced)| {
        let sdp = serde_json::to_string(&sdp).unwrap();
        let gap = if spaced { " \n" } else { "" };
        RawValue::from_string(format!(r#"{{{gap}"type":"offer",{gap}"sdp":{sdp}{gap}}}"#)).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn announces_round_trip(
        ids: ([u8; 20], [u8; 20]), event in 0..5usize, complete: bool,
        numwant in proptest::option::of(0..100usize),
        offers in proptest::collection::vec((any::<[u8; 20]>(), description()), 0..8),
    ) {
        let message = ClientMessage::Announce(Announce {
            info_hash: InfoHash::new(ids.0), peer_id: PeerId::new(ids.1),
            event: Event::ALL[event], complete, numwant, offers_skipped: 0,
            offers: offers.iter()
                .map(|(id, offer)| Offer { offer_id: OfferId::new(*id), offer }).collect(),
        });
        let mut text = Vec::new();
        message.write_json(&mut text);
        let text = String::from_utf8(text).unwrap();
        prop_assert_eq!(
            describe_client(ClientMessage::decode(&text)), describe_client(Ok(message)));
    }

    #[test]
    fn answers_and_scrapes_round_trip(
        ids: ([u8; 20], [u8; 20], [u8; 20], [u8; 20]), answer in description(),
        hashes in proptest::collection::vec(any::<[u8; 20]>(), 1..5),
    ) {
        let answer = ClientMessage::Answer(Answer {
            info_hash: InfoHash::new(ids.0), peer_id: PeerId::new(ids.1),
            to_peer_id: PeerId::new(ids.2), offer_id: OfferId::new(ids.3), answer: &answer,
        });
        let info_hashes = hashes.into_iter().map(InfoHash::new).collect();
        for message in [answer, ClientMessage::Scrape(Scrape { info_hashes })] {
            let mut text = Vec::new();
            message.write_json(&mut text);
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(
                describe_client(ClientMessage::decode(&text)), describe_client(Ok(message)));
        }
    }

    #[test]
    fn server_messages_round_trip(
        ids: ([u8; 20], [u8; 20], [u8; 20]), numbers: (u32, u32, u32), raw in description(),
        reason: String, kind in 0..5u8, known: bool,
    ) {
        let (info_hash, peer_id) = (InfoHash::new(ids.0), PeerId::new(ids.1));
        let offer_id = OfferId::new(ids.2);
        let mut echo = Vec::new();
        info_hash.write_json(&mut echo);
        let echo = String::from_utf8(echo).unwrap();
        let entries = [ScrapeEntry {
            info_hash, complete: numbers.0, incomplete: numbers.1, downloaded: numbers.2,
        }];
        let message = match kind {
            0 => ServerMessage::Announced {
                info_hash, interval: numbers.0, complete: numbers.1, incomplete: numbers.2,
            },
            1 => ServerMessage::Offer { info_hash, peer_id, offer_id, offer: &raw },
            2 => ServerMessage::Answer { info_hash, peer_id, offer_id, answer: &raw },
            3 => ServerMessage::Scraped(entries[..].into()),
            _ => ServerMessage::Failure {
                action: known.then_some(Action::Announce), info_hash: Some(&echo),
                reason: reason.into(),
            },
        };
        let mut text = Vec::new();
        message.write_json(&mut text);
        let text = String::from_utf8(text).unwrap();
        let read = ServerMessage::decode(&text).unwrap();
        prop_assert_eq!(format!("{read:?}"), format!("{message:?}"));
    }

    #[test]
    fn any_text_is_decoded_without_panic(text: String) {
        let _ = ClientMessage::decode(&text);
        let _ = ServerMessage::decode(&text);
    }

    #[test]
    fn any_damage_to_a_message_is_decoded_without_panic(at in 0..400usize, byte: u8, cut: bool) {
        let mut bytes = announce(r#","event":"started","left":0,"numwant":5,"offers":[{"offer":
            {"type":"offer","sdp":"v=0\r\n"},"offer_id":"cccccccccccccccccccc"}]"#).into_bytes();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(text) = std::str::from_utf8(&bytes) {
            let _ = ClientMessage::decode(text);
            let _ = ServerMessage::decode(text);
        }
    }
}
