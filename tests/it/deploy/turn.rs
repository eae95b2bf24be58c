//! Two peers that may use nothing but the TURN server that the tracker names, and still talk.
//! Needs Debian's `coturn`.

use std::path::Path;
use std::process::Command;

use e2e::{TempDir, TestServer, until};
use serde_json::json;

use super::{Program, free_port};
use crate::mesh::process::Process;

const SECRET: &str = "a secret of the test";

fn coturn(files: &TempDir, port: u16) -> Program {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/coturn/turnserver.conf");
    let mut command = Command::new("turnserver");
    command
        .arg("-c")
        .arg(config)
        .arg(format!("--static-auth-secret={SECRET}"))
        .arg(format!("--listening-port={port}"))
        .arg(format!("--pidfile={}", files.path("pid").display()))
        .arg(format!("--userdb={}", files.path("db").display()))
        .args(["--realm=localhost", "--verbose"])
        // On loopback only, and what the shipped file forbids with reason is all there is here.
        .args(["--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1"])
        .args(["--allow-loopback-peers", "--allowed-peer-ip=127.0.0.1"]);
    Program::start(files, command)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Debian's coturn"]
async fn peers_that_may_only_use_relays_talk() {
    let files = TempDir::new();
    let port = free_port();
    let coturn = coturn(&files, port);
    let secret = files.write("secret", SECRET);
    let server = TestServer::with(|settings| {
        settings.ice_server = vec![format!("turn:127.0.0.1:{port}")];
        settings.turn_secret_file = Some(secret);
    })
    .await;
    let alice = Process::start(&server, "relayed", &["--relay-only", "--json"]);
    let bob = Process::start(&server, "relayed", &["--relay-only", "--json"]);
    let (a, b) = (alice.address().await, bob.address().await);
    alice.event(json!({"event": "connect", "peer": b})).await;
    bob.event(json!({"event": "connect", "peer": a})).await;
    alice.say("through the relay");
    bob.event(json!({"event": "message", "from": a, "data": "through the relay"}))
        .await;
    assert!(server.metric("ice_requests_total{result=\"served\"}").await >= 2.0);
    // The relay itself saw both, with credentials that the tracker made.
    until("coturn has two relays", || async {
        let log = std::fs::read_to_string(&coturn.log).unwrap();
        let relays = log.matches("ALLOCATE processed, success").count();
        relays >= 2 && log.contains(":easypeers>")
    })
    .await;
}
