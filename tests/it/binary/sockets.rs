//! Unix sockets instead of ports.

use std::path::Path;

use e2e::{Announce, Client, TempDir, hash, peer, within};
use rustix::process::Signal;
use tokio::net::UnixStream;

use super::process::{Tracker, command, run};

async fn client(path: &Path) -> Client {
    let stream = UnixStream::connect(path).await.unwrap();
    let upgrade = Client::upgrade(Box::new(stream), "/", &[]);
    within("an upgrade", upgrade).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_serves_what_a_port_serves() {
    let files = TempDir::new();
    let path = files.path("tracker.sock");
    let listen = format!("unix:{}", path.display());
    let arguments = ["--listen", &listen, "--listen", "127.0.0.1:0"];
    let tracker = Tracker::spawn(command(&arguments));
    let mut over_tcp = tracker.client().await;
    let mut over_path = client(&path).await;
    over_tcp.announce(&Announce::new(hash(1), peer(1))).await;
    let counts = over_path.announce(&Announce::new(hash(1), peer(2))).await;
    assert_eq!(counts, (0, 2));
    let (status, stdout, stderr) = run(command(&["healthcheck", "--listen", &listen]));
    assert_eq!(
        (status.code(), &*stdout),
        (Some(0), "healthy\n"),
        "{stderr}"
    );

    // Another one leaves it alone.
    let (status, _, stderr) = run(command(&["--listen", &listen]));
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains(&format!("cannot listen on {listen}")),
        "{stderr}"
    );
    over_path.fence().await;

    tracker.signal(Signal::TERM);
    assert_eq!(over_path.closed().await, 1001);
    assert_eq!(tracker.end().0, Some(0));
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_that_a_killed_tracker_left_is_replaced() {
    let files = TempDir::new();
    let path = files.path("tracker.sock");
    let listen = format!("unix:{}", path.display());
    let first = Tracker::spawn(command(&["--listen", &listen]));
    first.wait_for_log("serving");
    first.kill();
    assert!(path.exists());
    let second = Tracker::spawn(command(&["--listen", &listen]));
    second.wait_for_log("serving");
    client(&path).await.fence().await;
}

#[test]
fn check_config_looks_for_the_folder_of_a_unix_socket() {
    let listen = ["check-config", "--listen", "unix:/nowhere/tracker.sock"];
    let (status, _, stderr) = run(command(&listen));
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("unix:/nowhere/tracker.sock"), "{stderr}");
}

#[test]
fn check_config_makes_no_authority() {
    let files = TempDir::new();
    let file = files.path("lan.pem");
    let authority = ["check-config", "--tls-self-signed", file.to_str().unwrap()];
    let (status, _, stderr) = run(command(&authority));
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(!file.exists());
}
