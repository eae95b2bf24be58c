//! The system's clock is set while the tracker serves. Needs Debian's `faketime`.

use std::fs;

use e2e::{Announce, TempDir, hash, peer, until};

use crate::binary::process::{Tracker, command};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's faketime"]
async fn a_clock_that_jumps_is_counted_and_harms_nobody() {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    assert!(fs::exists(library).unwrap(), "Debian's faketime is missing");
    let files = TempDir::new();
    let offset = files.write("offset", "+0");
    let mut command = command(&["--listen", "127.0.0.1:0", "--ping-interval", "1s"]);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", offset)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    let tracker = Tracker::spawn(command);
    let (mut one, mut two) = (tracker.client().await, tracker.client().await);
    one.announce(&Announce::new(hash(1), peer(1))).await;
    assert_eq!(tracker.metric("clock_jumps_total").await, 0.0);
    for (jumps, offset) in [(1.0, "+400d"), (2.0, "-400d"), (3.0, "+0")] {
        files.write("offset", offset);
        until("the jump is counted", || async {
            tracker.metric("clock_jumps_total").await == jumps
        })
        .await;
        // Nobody has expired, and nobody waits for a time that will not come.
        let counts = two.announce(&Announce::new(hash(1), peer(2))).await;
        assert_eq!(counts, (0, 2));
        one.fence().await;
    }
    assert_eq!(tracker.metric("peers_expired_total").await, 0.0);
}
