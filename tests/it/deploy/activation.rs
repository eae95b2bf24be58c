//! systemd's own way of handing a socket over. Needs Debian's `systemd`.

use std::process::Command;

use e2e::{Announce, Client, TempDir, hash, peer, within};
use tokio::net::UnixStream;

use super::Program;
use crate::binary::process::command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's systemd"]
async fn the_first_connection_starts_the_tracker() {
    let files = TempDir::new();
    let path = files.path("tracker.sock");
    let mut activate = Command::new("systemd-socket-activate");
    activate.arg("--listen").arg(&path);
    activate.arg(command(&[]).get_program());
    let _program = Program::start(&files, activate);
    e2e::until("systemd listens", || async { path.exists() }).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let upgrade = Client::upgrade(Box::new(stream), "/", &[]);
    let mut client = within("an upgrade", upgrade).await.unwrap();
    let counts = client.announce(&Announce::new(hash(1), peer(1))).await;
    assert_eq!(counts, (0, 1));
}
