//! TERM and INT drain, a second one does not wait, HUP reads files again.

use e2e::{Announce, Received, TempDir, hash, peer};
use rustix::process::Signal;

use super::process::Tracker;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn term_and_int_drain_and_exit_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let tracker = Tracker::start(&[]);
        let mut client = tracker.client().await;
        client.announce(&Announce::new(hash(1), peer(1))).await;
        tracker.signal(signal);
        assert_eq!(client.closed().await, 1001);
        let (status, _, stderr) = tracker.end();
        assert_eq!(status, Some(0), "{stderr}");
        assert!(
            stderr.contains("draining") && stderr.contains("stopped"),
            "{stderr}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_exits_at_once() {
    let tracker = Tracker::start(&["--drain-timeout", "1h"]);
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(tracker.client().await);
    }
    tracker.signal(Signal::TERM);
    tracker.wait_for_log("draining");
    tracker.signal(Signal::INT);
    let (status, _, stderr) = tracker.end();
    // A drain that came to its end would exit with 0.
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains("second signal"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hup_reads_lists_again_and_survives_a_bad_one() {
    let files = TempDir::new();
    let deny = files.write("deny", "");
    let config = files.write("tracker.toml", "log-level = \"info\"\n");
    let arguments = [
        "--deny-file",
        deny.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ];
    let tracker = Tracker::start(&arguments);
    let mut client = tracker.client().await;
    client.announce(&Announce::new(hash(1), peer(1))).await;

    files.write("deny", format!("{} no longer\n", hash(1)));
    tracker.signal(Signal::HUP);
    tracker.wait_for_log("reloaded");
    client.send(Announce::new(hash(1), peer(1)).text()).await;
    assert_eq!(client.failure().await, "no longer");

    files.write("deny", "broken\n");
    tracker.signal(Signal::HUP);
    tracker.wait_for_log("reload failed");
    client.send(Announce::new(hash(1), peer(1)).text()).await;
    assert_eq!(client.failure().await, "no longer");

    files.write("deny", "");
    files.write("tracker.toml", "nonsense = 1\n");
    tracker.signal(Signal::HUP);
    tracker.wait_for_log("unknown key");

    files.write("tracker.toml", "log-level = \"debug\"\n");
    tracker.signal(Signal::HUP);
    e2e::until("the list is empty again", || async {
        let mut client = tracker.client().await;
        client.send(Announce::new(hash(1), peer(2)).text()).await;
        matches!(client.next().await, Received::Announced { .. })
    })
    .await;
    tracker.wait_for_log("DEBUG");
}
