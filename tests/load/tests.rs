//! Plays a tracker that does wrong, to see that the checks notice.

use clap::Parser;

use crate::{args::Args, frame, ids::Id, scan, state::State, stats::Fault};

/// Three peers in one swarm, all joined; the load is one answered offer an announce.
fn state(options: &[&str]) -> State {
    let args = ["load", "--connections", "4", "--swarms", "1"];
    let args = Args::parse_from(args.iter().chain(options));
    let mut state = State::new(&args, 1);
    for connection in 0..3 {
        state.push_announce(&mut Vec::new(), connection, 1);
        respond(&mut state, connection);
    }
    state.load.offers = 1;
    state.load.answers = true;
    state.load.measuring = true;
    state
}

fn respond(state: &mut State, connection: u32) {
    let hash = id(state.ids.encode(Id::swarm(0)));
    let text = format!(r#"{{"complete":1,"incomplete":2,"info_hash":"{hash}"}}"#);
    state.receive(connection, text.as_bytes(), 2, &mut Vec::new());
}

fn id(bytes: [u8; 20]) -> String {
    let mut out = Vec::new();
    scan::push_id(&mut out, &bytes);
    String::from_utf8(out).unwrap()
}

fn text(out: &[u8]) -> String {
    String::from_utf8(frame::unmask(out)).unwrap()
}

/// What a tracker relays of an announce with one offer.
fn offer(state: &mut State, from: u32) -> String {
    let mut out = Vec::new();
    state.push_announce(&mut out, from, 10);
    respond(state, from);
    let (ids, offer) = text(&out)
        .split_once(r#","offers":[{"#)
        .map(|(ids, offer)| {
            let ids = ids[ids.find(r#""action""#).unwrap()..].to_owned();
            (ids, offer.strip_suffix("}]}").unwrap().to_owned())
        })
        .unwrap();
    format!("{{{ids},{offer}}}")
}

/// What a receiver answers, as a tracker relays it.
fn answer(state: &mut State, to: u32, offer: &str) -> String {
    let mut out = Vec::new();
    state.receive(to, offer.as_bytes(), 20, &mut out);
    text(&out)
}

fn faults(state: &State) -> Vec<Fault> {
    state.faults.0.keys().copied().collect()
}

#[test]
fn a_right_tracker_is_clean_whatever_the_ids() {
    for share in ["0", "0.5", "1"] {
        let mut state = state(&["--binary-ids", share]);
        for round in 0..20 {
            let from = round % 3;
            let offer = offer(&mut state, from);
            let answer = answer(&mut state, (from + 1) % 3, &offer);
            state.receive(from, answer.as_bytes(), 30, &mut Vec::new());
        }
        assert_eq!(faults(&state), []);
        assert_eq!((state.stats.offers, state.stats.answers), (20, 20));
        assert_eq!(state.outstanding, 0);
        state.give_up(u64::MAX);
        assert_eq!(state.stats.lost(), 0);
    }
}

#[test]
fn misrouted_offers_are_noticed() {
    let mut state = state(&[]);
    let own = offer(&mut state, 0);
    answer_none(&mut state, 0, &own, Fault::BackToSender);
    let other_hash = id(state.ids.encode(Id::swarm(1)));
    let hash = id(state.ids.encode(Id::swarm(0)));
    answer_none(
        &mut state,
        1,
        &own.replace(&hash, &other_hash),
        Fault::WrongSwarm,
    );
    let peers = [0, 2].map(|peer| id(state.ids.encode(Id::peer(peer))));
    answer_none(
        &mut state,
        1,
        &own.replace(&peers[0], &peers[1]),
        Fault::WrongPeerId,
    );
    assert_eq!(state.stats.offers, 0);
    answer(&mut state, 1, &own);
    answer_none(&mut state, 2, &own, Fault::DuplicateOffer);
}

fn answer_none(state: &mut State, to: u32, offer: &str, fault: Fault) {
    let mut out = Vec::new();
    state.receive(to, offer.as_bytes(), 20, &mut out);
    assert!(out.is_empty(), "answered: {fault:?}");
    assert_eq!(faults(state), [fault]);
    state.faults = Default::default();
}

#[test]
fn changed_descriptions_are_noticed() {
    let mut state = state(&[]);
    let sent = offer(&mut state, 0);
    let answer = answer(&mut state, 1, &sent.replace("a=mid:0", "a=mid:1"));
    assert_eq!(faults(&state), [Fault::DamagedOffer]);
    let changed = answer.replace("a=mid:0", "a=mid:1");
    state.receive(0, changed.as_bytes(), 30, &mut Vec::new());
    assert_eq!(faults(&state), [Fault::DamagedOffer, Fault::DamagedAnswer]);
}

#[test]
fn misrouted_answers_are_noticed() {
    let mut state = state(&[]);
    let sent = offer(&mut state, 0);
    let answer = answer(&mut state, 1, &sent);
    answer_none(&mut state, 2, &answer, Fault::MisdeliveredAnswer);
    let peers = [1, 2].map(|peer| id(state.ids.encode(Id::peer(peer))));
    let by_other = answer.replace(
        &format!(r#""peer_id":"{}""#, peers[0]),
        &format!(r#""peer_id":"{}""#, peers[1]),
    );
    answer_none(&mut state, 0, &by_other, Fault::WrongAnswerer);
    state.receive(0, answer.as_bytes(), 30, &mut Vec::new());
    answer_none(&mut state, 0, &answer, Fault::DuplicateAnswer);
}

#[test]
fn what_never_comes_is_lost() {
    let mut state = state(&[]);
    offer(&mut state, 0);
    let sent = offer(&mut state, 1);
    let answered = answer(&mut state, 2, &sent);
    state.push_announce(&mut Vec::new(), 2, 10);
    assert_eq!(state.outstanding, 3);
    state.give_up(5);
    assert_eq!((state.outstanding, state.stats.lost()), (3, 0));
    state.give_up(u64::MAX);
    assert_eq!(state.outstanding, 0);
    let stats = &state.stats;
    assert_eq!(
        (stats.lost_responses, stats.lost_offers, stats.lost_answers),
        (1, 2, 1)
    );
    answer_none(&mut state, 1, &answered, Fault::LateAnswer);
    answer_none(&mut state, 0, &sent, Fault::LateOffer);
    assert_eq!(state.stats.answers, 0);
}

#[test]
fn failures_and_nonsense_are_counted() {
    let mut state = state(&[]);
    let failure = br#"{"action":"announce","failure reason":"no"}"#;
    state.receive(0, failure, 5, &mut Vec::new());
    state.receive(0, failure, 5, &mut Vec::new());
    assert_eq!(state.failures.0["no"].0, 2);
    answer_none(&mut state, 0, "null", Fault::NotJson);
    answer_none(&mut state, 0, "{}", Fault::UnknownMessage);
    answer_none(
        &mut state,
        0,
        r#"{"offer":{},"offer_id":"x"}"#,
        Fault::ForeignOfferId,
    );
}
