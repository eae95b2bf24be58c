use super::attempts::OPENING_TIMEOUT;
use super::offers::POOL;
use super::*;

const ME: PeerId = PeerId::new([0; 20]);
const TRACKER: TrackerId = TrackerId::new(0);

const fn s(seconds: u64) -> Now {
    Duration::from_secs(seconds)
}

const fn peer(number: u8) -> PeerId {
    PeerId::new([number; 20])
}

fn signal() -> Signal {
    Signal::new(Settings { me: ME, seed: 1 })
}

impl Signal {
    fn give(&mut self, now: Now, input: Input) -> Vec<Output> {
        self.handle(now, input, |_| false);
        std::iter::from_fn(|| self.poll_output()).collect()
    }

    /// Announces, making the offers that it asks for.
    fn due(&mut self, now: Now, want: usize) -> Vec<OfferId> {
        let mut out = self.give(
            now,
            Input::Due {
                tracker: TRACKER,
                offers_to_publish: want,
                open_links: 0,
            },
        );
        while let [Output::MakeOffer { .. }, ..] = out.as_slice() {
            let Output::MakeOffer { attempt } = out.remove(0) else {
                unreachable!()
            };
            let sdp = "offer".into();
            out.extend(self.give(now, Input::OfferMade { attempt, sdp }));
        }
        match out.as_slice() {
            [Output::Announce { offers, .. }] => offers.iter().map(|(id, _)| *id).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn offer(&mut self, now: Now, from: PeerId, number: u8) -> Vec<Output> {
        self.give(
            now,
            Input::Offer {
                via: Via::Tracker(TRACKER),
                peer: from,
                offer_id: OfferId::new([number; 20]),
                sdp: "theirs".to_owned(),
                acceptable_links: 6,
            },
        )
    }

    fn answer(&mut self, now: Now, from: PeerId, offer_id: OfferId) -> Vec<Output> {
        self.give(
            now,
            Input::Answer {
                peer: from,
                offer_id,
                sdp: "answer".to_owned(),
            },
        )
    }
}

fn answering(out: &[Output]) -> AttemptId {
    match out {
        [Output::MakeAnswer { attempt, .. }] => *attempt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn offers_are_reused_until_they_are_too_old() {
    let mut signal = signal();
    let first = signal.due(s(0), 6);
    assert_eq!(first.len(), 3);
    assert_eq!(signal.due(s(30), 6), first, "the same ones");
    assert_eq!(signal.due(s(30), 2), first, "there is no harm in too many");
    let later = signal.due(s(45), 6);
    assert_eq!(later.len(), 3);
    assert!(later.iter().all(|id| !first.contains(id)), "near their end");
    let [Output::Accept { peer: by, .. }] = &signal.answer(s(49), peer(1), first[0])[..] else {
        panic!("still good for an answer");
    };
    assert_eq!(*by, peer(1));
    let out = signal.give(s(51), Input::Timeout);
    assert!(
        matches!(out[..], [Output::Drop { .. }, Output::Drop { .. }]),
        "{out:?}"
    );
    assert!(signal.answer(s(51), peer(2), first[1]).is_empty());
}

#[test]
fn offers_of_other_servers_are_made_anew() {
    let mut signal = signal();
    let first = signal.due(s(0), 6);
    let out = signal.give(s(1), Input::ServersChanged);
    assert!(
        out.len() == first.len() && out.iter().all(|out| matches!(out, Output::Drop { .. })),
        "{out:?}"
    );
    assert!(signal.answer(s(2), peer(1), first[0]).is_empty());
    let later = signal.due(s(3), 6);
    assert!(later.iter().all(|id| !first.contains(id)));
}

#[test]
fn an_offer_that_was_not_taken_may_be_the_next_time() {
    let mut signal = signal();
    let attempt = answering(&signal.offer(s(0), peer(1), 1));
    signal.give(s(0), Input::AnswerFailed { attempt });
    assert!(signal.offer(s(1), peer(1), 2).is_empty(), "just failed");
    answering(&signal.offer(s(6), peer(1), 2));
    assert!(signal.offer(s(7), peer(1), 2).is_empty(), "answered once");
}

#[test]
fn the_first_answer_takes_the_offer() {
    let mut signal = signal();
    let offers = signal.due(s(0), 6);
    assert_eq!(signal.answer(s(1), peer(1), offers[0]).len(), 1);
    assert!(signal.answer(s(1), peer(2), offers[0]).is_empty());
    assert!(signal.answer(s(1), ME, offers[1]).is_empty());
    assert_eq!(
        signal.due(s(15), 1),
        offers[1..],
        "the others are still there"
    );
}

#[test]
fn a_full_peer_announces_without_making_offers() {
    let mut signal = signal();
    assert!(signal.due(s(0), 0).is_empty());
    assert_eq!(signal.due(s(0), 1).len(), 1);
}

#[test]
fn an_announce_does_not_wait_for_a_slow_offer() {
    let mut signal = signal();
    let due = Input::Due {
        tracker: TRACKER,
        offers_to_publish: 1,
        open_links: 0,
    };
    let out = signal.give(s(0), due);
    let [Output::MakeOffer { attempt }] = out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(signal.poll_timeout(), Some(s(3)));
    let out = signal.give(s(3), Input::Timeout);
    assert!(
        matches!(&out[..], [Output::Announce { offers, .. }] if offers.is_empty()),
        "{out:?}"
    );
    let out = signal.give(s(20), Input::Timeout);
    assert_eq!(out, [Output::Drop { attempt }]);
    let sdp = "late".into();
    let out = signal.give(s(21), Input::OfferMade { attempt, sdp });
    assert_eq!(out, [Output::Drop { attempt }]);
}

#[test]
fn one_attempt_a_peer_and_four_answers_a_minute() {
    let mut signal = signal();
    let attempt = answering(&signal.offer(s(0), peer(1), 1));
    assert!(
        signal.offer(s(0), peer(1), 2).is_empty(),
        "one is under way"
    );
    let sdp = "ours".to_owned();
    let out = signal.give(s(1), Input::AnswerMade { attempt, sdp });
    assert!(matches!(out[..], [Output::SendAnswer { .. }]));
    assert!(signal.offer(s(1), peer(1), 1).is_empty(), "known");
    for (at, offer) in [(2, 3), (3, 4), (4, 5)] {
        let peer = peer(1);
        signal.give(s(at), Input::AttemptOpened { attempt, peer });
        let attempt = answering(&signal.offer(s(at), peer, offer));
        signal.give(s(at), Input::AttemptOpened { attempt, peer });
    }
    assert!(
        signal.offer(s(59), peer(1), 6).is_empty(),
        "four in this minute"
    );
    answering(&signal.offer(s(60), peer(1), 7));
}

#[test]
fn a_peer_that_failed_is_answered_later_each_time() {
    let mut signal = signal();
    let mut offer = 1;
    let mut try_at = |at, answers: bool| {
        offer += 1;
        let out = signal.offer(s(at), peer(1), offer);
        assert_eq!(!out.is_empty(), answers, "at {at} s");
        if answers {
            let attempt = answering(&out);
            signal.give(s(at), Input::AttemptFailed { attempt });
        }
    };
    for (at, answers) in [
        (0, true),
        (4, false),
        (5, true),
        (19, false),
        (20, true),
        (79, false),
        (80, true),
    ] {
        try_at(at, answers);
    }
}

#[test]
fn answers_are_bounded() {
    let mut signal = signal();
    let taken = (1..=20)
        .filter(|n| !signal.offer(s(0), peer(*n), *n).is_empty())
        .count();
    assert_eq!(taken, 6, "as many as links are wanted");
    for attempt in signal.attempts.overdue(Now::MAX) {
        signal.give(s(1), Input::AnswerFailed { attempt });
    }
    let taken = (21..=40)
        .filter(|n| !signal.offer(s(2), peer(*n), *n).is_empty())
        .count();
    assert_eq!(taken, 4, "ten in a minute");
    assert!(signal.offer(s(3), ME, 50).is_empty());
}

#[test]
fn neighbours_are_not_answered() {
    let mut signal = signal();
    let input = |offer: u8| Input::Offer {
        via: Via::Tracker(TRACKER),
        peer: peer(1),
        offer_id: OfferId::new([offer; 20]),
        sdp: String::new(),
        acceptable_links: 6,
    };
    signal.handle(s(0), input(1), |_| true);
    assert_eq!(signal.poll_output(), None);
    signal.handle(s(0), input(2), |_| false);
    assert!(signal.poll_output().is_some());
}

/// Inputs in any order keep the attempts bounded, and every attempt ends.
#[test]
fn random_inputs_keep_the_bounds() {
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut signal = Signal::new(Settings { me: ME, seed });
        let mut now = Now::ZERO;
        let mut known: Vec<AttemptId> = Vec::new();
        let mut offers: Vec<OfferId> = Vec::new();
        for _ in 0..2_000 {
            now += Duration::from_millis(rng.random_range(0..2_000));
            let any = |rng: &mut StdRng, known: &[AttemptId]| {
                known
                    .get(rng.random_range(0..known.len().max(1)))
                    .copied()
                    .unwrap_or(AttemptId(9))
            };
            let by = peer(rng.random_range(0..12));
            let want = rng.random_range(0..7);
            let attempt = any(&mut rng, &known);
            let input = match rng.random_range(0..9) {
                0 => Input::Due {
                    tracker: TrackerId::new(rng.random_range(0..3)),
                    offers_to_publish: want,
                    open_links: 0,
                },
                1 => Input::OfferMade {
                    attempt,
                    sdp: "sdp".into(),
                },
                2 => Input::OfferFailed { attempt },
                3 => Input::Offer {
                    via: Via::Tracker(TRACKER),
                    peer: by,
                    offer_id: OfferId::new(rng.random()),
                    sdp: String::new(),
                    acceptable_links: want,
                },
                4 => Input::AnswerMade {
                    attempt,
                    sdp: String::new(),
                },
                5 => Input::Answer {
                    peer: by,
                    offer_id: offers.last().copied().unwrap_or(OfferId::new([0; 20])),
                    sdp: String::new(),
                },
                6 => Input::AttemptOpened { attempt, peer: by },
                7 => Input::AttemptFailed { attempt },
                _ => Input::Timeout,
            };
            for output in signal.give(now, input) {
                match output {
                    Output::MakeOffer { attempt } | Output::MakeAnswer { attempt, .. } => {
                        known.push(attempt);
                    }
                    Output::Announce { offers: sent, .. } => {
                        assert!(sent.len() <= 2 * POOL, "seed {seed}");
                        offers.extend(sent.into_iter().map(|(id, _)| id));
                    }
                    _ => {}
                }
            }
            assert!(signal.attempts.len() <= 6 + 2 * POOL, "seed {seed}");
            let due = signal.poll_timeout();
            assert!(due.is_none_or(|due| due > now), "seed {seed}");
        }
        signal.give(now + OPENING_TIMEOUT, Input::Timeout);
        assert_eq!(signal.poll_timeout(), None, "seed {seed}");
    }
}
