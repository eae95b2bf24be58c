//! Trackers that fail, refuse or are reached in other ways, as the program `peer` shows them.

use std::net::{Ipv6Addr, TcpListener};

use e2e::{TempDir, TestServer};
use easypeers::InfoHash;
use serde_json::json;

use super::process::Process;

/// The program says why nothing happens and when it tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_tracker_is_told_in_words() {
    let mut server = TestServer::start().await;
    server.stop();
    server.stopped().await;
    let peer = Process::start(&server, "dead tracker", &[]);
    peer.note("* offline: no tracker reached: connection refused, retrying in ")
        .await;
}

/// Neither one that refuses nor one that says nothing holds the third up.
#[tokio::test(flavor = "multi_thread")]
async fn dead_trackers_do_not_delay_a_living_one() {
    let living = TestServer::start().await;
    let mut refusing = TestServer::start().await;
    refusing.stop();
    refusing.stopped().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = [
        silent.local_addr().unwrap(),
        refusing.address(),
        living.address(),
    ]
    .map(|address| format!("ws://{address}"));
    let [silent, refusing, living] = urls.each_ref();
    let arguments = [
        "three trackers",
        "--json",
        "--bind",
        "127.0.0.1",
        "--tracker",
        silent,
        "--tracker",
        refusing,
        "--tracker",
        living,
    ];
    let (alice, bob) = (Process::with(&arguments), Process::with(&arguments));
    let b = bob.address().await;
    alice.event(json!({"event": "connect", "peer": b})).await;
    alice
        .event(json!({"event": "state", "state": "joined"}))
        .await;
}

/// The tracker's words reach whoever looks at the peer.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_shown_with_its_reason() {
    let folder = TempDir::new();
    let path = folder.path("deny");
    let refused = InfoHash::of_topic("refused");
    std::fs::write(&path, format!("{refused} ask the owner\n")).unwrap();
    let server = TestServer::with(|settings| settings.deny_file = Some(path)).await;
    let peer = Process::start(&server, "refused", &[]);
    peer.note(&format!(
        "* connecting: ws://{} says: ask the owner",
        server.address()
    ))
    .await;
    let other = Process::start(&server, "allowed", &[]);
    other.note("nobody else is here yet").await;
}

/// Tracker and links over IPv6 alone.
#[tokio::test(flavor = "multi_thread")]
async fn ipv6_will_do() {
    let listen = std::net::SocketAddr::from((Ipv6Addr::LOCALHOST, 0)).into();
    let server = TestServer::with(|settings| settings.listen = vec![listen]).await;
    let tracker = format!("ws://{}", server.address());
    assert!(tracker.starts_with("ws://[::1]:"));
    let arguments = ["six", "--json", "--tracker", &tracker, "--bind", "::1"];
    let (alice, bob) = (Process::with(&arguments), Process::with(&arguments));
    let a = alice.address().await;
    bob.event(json!({"event": "connect", "peer": a})).await;
    alice.say("over six");
    bob.event(json!({"event": "message", "from": a, "data": "over six"}))
        .await;
}

/// One port, a range, and an announced address, all as a firewall needs them.
#[tokio::test(flavor = "multi_thread")]
async fn ports_and_a_public_address_are_kept_to() {
    let server = TestServer::start().await;
    let free = || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap().port()
    };
    let one = free().to_string();
    let first = free().min(u16::MAX - 31);
    let range = format!("{first}-{}", first + 31);
    // Nobody is there; checks that arrive from the address that was not told make the links.
    let ports = [
        "--json",
        "--udp-port",
        &one,
        "--public-address",
        "203.0.113.7",
    ];
    let alice = Process::start(&server, "ports", &ports);
    let bob = Process::start(&server, "ports", &["--json", "--udp-port", &range]);
    let carol = Process::start(&server, "ports", &["--json"]);
    let addresses = [
        alice.address().await,
        bob.address().await,
        carol.address().await,
    ];
    for (at, peer) in [&alice, &bob, &carol].into_iter().enumerate() {
        for (_, other) in addresses
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
        {
            peer.event(json!({"event": "connect", "peer": other})).await;
        }
    }
    let udp = |peer: &Process| udp_ports(peer.id());
    assert_eq!(udp(&alice), [one.parse::<u16>().unwrap()].into());
    assert!(
        udp(&bob)
            .iter()
            .all(|port| (first..first + 32).contains(port))
    );
    assert!(!udp(&bob).is_empty());
}

/// The local UDP ports of a process's sockets.
fn udp_ports(pid: u32) -> std::collections::BTreeSet<u16> {
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|to| {
            let to = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(to.to_owned())
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/udp")).unwrap();
    table
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| inodes.iter().any(|inode| *inode == fields[9]))
        .map(|fields| {
            let (_, port) = fields[1].split_once(':').unwrap();
            u16::from_str_radix(port, 16).unwrap()
        })
        .collect()
}
