//! Whole runs: they are repeatable, keep the rules, and the files of all scenarios can be read.

use std::time::Duration;

use easypeers_core::signal::{AttemptId, Input, Output, Settings, Signal};
use easypeers_core::tracker::TrackerId;
use easypeers_proto::PeerId;

use crate::{Report, Scenario, run};

fn scenario(text: &str) -> Scenario {
    toml::from_str(text).unwrap()
}

pub(crate) fn simulate(text: &str, peers: usize, seed: u64) -> Report {
    println!("seed {seed}");
    run(&scenario(text), peers, seed, &mut |_| {}, None)
}

/// Two attempts. Only a signalling core makes them.
pub(crate) fn attempts() -> [AttemptId; 2] {
    let me = PeerId::new([1; 20]);
    let mut signal = Signal::new(Settings { me, seed: 1 });
    let due = Input::Due {
        tracker: TrackerId::new(0),
        offers_to_publish: 2,
        open_links: 0,
    };
    signal.handle(Duration::ZERO, due, |_| false);
    let attempts = std::iter::from_fn(|| signal.poll_output()).filter_map(|output| match output {
        Output::MakeOffer { attempt } => Some(attempt),
        _ => None,
    });
    attempts.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let text = include_str!("../scenarios/kill-50.toml");
    let [first, again, other] = [1, 1, 2].map(|seed| simulate(text, 60, seed));
    assert_eq!(first.digest, again.digest);
    assert_eq!(first.measures, again.measures);
    assert_ne!(first.digest, other.digest);
}

#[test]
fn a_missed_bar_is_reported() {
    let text = include_str!("../scenarios/join-storm.toml");
    assert!(text.contains("at_most = [15, 20, 30]"));
    let hard = text.replace("at_most = [15, 20, 30]", "at_most = [0.001]");
    let report = simulate(&hard, 40, 1);
    assert!(!report.kept());
    let easy = text.replace("at_most = [15, 20, 30]", "at_most = [50]");
    let report = simulate(&easy, 40, 1);
    let figure = &report.figures[0];
    assert!(figure.kept, "{report}");
}

#[test]
fn a_neighbor_that_dies_silently_is_suspected_and_replaced() {
    let text = "
        title = \"\"
        run_s = 40
        [[step]]
        do.kill = { share = 0.3 }
        [[step]]
        label = \"healed\"
        do.await = { whole = true, mean_degree = 5 }
    ";
    let report = simulate(text, 60, 3);
    assert!(report.measures.contains_key("healed.s"), "{report}");
    // The connections of dead neighbors are suspected after 2.7 s and not before.
    assert!(report.measures["healed.s"] > 2.7);
}

/// A debug build checks every rule at each step.
#[test]
fn the_rules_hold_in_every_scenario() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        println!("{}", file.display());
        for seed in [5, 6] {
            simulate(&std::fs::read_to_string(&file).unwrap(), 40, seed);
        }
    }
}
