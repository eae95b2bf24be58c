//! A mesh of many native peers in one process, over real WebRTC: half of them are killed, then the
//! tracker, then more of them, then the tracker is back. `E2E_MESH_PEERS` sets how many there are:
//!
//! ```sh
//! E2E_MESH_PEERS=200 cargo test --release -p e2e --test it mesh::heal -- --nocapture
//! ```

#![expect(clippy::print_stdout, reason = "the figures are what it is run for")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use e2e::TestServer;
use easypeers::{Easypeers, Event, Options, PeerId};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::options;

/// Peers unless the environment says otherwise.
const PEERS: usize = 24;

/// More than enough for everything that is waited for, on a machine that does other things as well.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who got which message, and how often.
type Heard = Arc<Mutex<BTreeMap<String, BTreeMap<PeerId, usize>>>>;

/// Peers that live and die together: their tasks run in a runtime of their own, and when that is shut
/// down their sockets are closed without a word, as those of a killed process.
struct Group {
    runtime: Option<Runtime>,
    peers: Vec<Easypeers>,
}

impl Group {
    async fn join(count: usize, options: &Options, heard: &Heard) -> Self {
        let runtime = Runtime::new().unwrap();
        let mut peers = Vec::new();
        for _ in 0..count {
            let options = options.clone();
            let peer = runtime.spawn(Easypeers::join("heal", options)).await;
            let peer = peer.unwrap().unwrap();
            let (mut events, address, heard) = (peer.events(), peer.address(), Arc::clone(heard));
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    if let Event::Message(message) = event {
                        let text = message.data.as_text().unwrap_or_default().to_owned();
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        *heard.entry(text).or_default().entry(address).or_default() += 1;
                    }
                }
            });
            peers.push(peer);
        }
        Self {
            runtime: Some(runtime),
            peers,
        }
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.peers.clear();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds; how long that took.
async fn until(what: &str, holds: impl Fn() -> bool) -> f64 {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    start.elapsed().as_secs_f64()
}

/// Whether the links of these peers make one mesh, and nobody counts one that is gone.
fn is_whole(peers: &[&Easypeers]) -> bool {
    let links: BTreeMap<PeerId, Vec<PeerId>> = peers
        .iter()
        .map(|peer| {
            let links = peer.peers().iter().map(|link| link.address).collect();
            (peer.address(), links)
        })
        .collect();
    let alive = |peer: &PeerId| links.contains_key(peer);
    let Some(first) = links.keys().next() else {
        return true;
    };
    let (mut reached, mut next) = (BTreeSet::from([*first]), vec![*first]);
    while let Some(peer) = next.pop() {
        for other in links.get(&peer).into_iter().flatten() {
            if alive(other) && reached.insert(*other) {
                next.push(*other);
            }
        }
    }
    reached.len() == links.len() && links.values().flatten().all(alive)
}

/// Whether all are in one mesh, with as many links as they want. One may be missed by those who find
/// nobody that misses one too.
fn linked(peers: &[&Easypeers]) -> bool {
    let wanted = peers[0].max_peers().min(peers.len() - 1);
    let links: usize = peers.iter().map(|peer| peer.wire_count()).sum();
    is_whole(peers) && links + peers.len() >= wanted * peers.len()
}

fn describe(stage: &str, seconds: f64, peers: &[&Easypeers]) {
    let degrees: Vec<usize> = peers.iter().map(|peer| peer.wire_count()).collect();
    let stats: Vec<_> = peers.iter().map(|peer| peer.stats()).collect();
    let created: u64 = stats.iter().map(|stats| stats.connections_created).sum();
    let opened: u64 = stats.iter().map(|stats| stats.links_opened).sum();
    println!(
        "{stage}: {seconds:.1} s, {} peers, links {} to {}, {:.2} on average, {:.2} connections made a link",
        peers.len(),
        degrees.iter().min().unwrap_or(&0),
        degrees.iter().max().unwrap_or(&0),
        degrees.iter().sum::<usize>() as f64 / peers.len() as f64,
        created as f64 / opened.max(1) as f64,
    );
}

/// Some of the peers say something; everybody else hears it exactly once.
async fn everybody_hears(stage: &str, peers: &[&Easypeers], heard: &Heard) {
    let mut texts = Vec::new();
    for peer in peers.iter().step_by(peers.len().div_ceil(5)) {
        let text = format!("{stage} from {}", peer.address());
        peer.send(text.as_str()).await.unwrap();
        texts.push(text);
    }
    let complete = |text: &String| {
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let all = heard.get(text);
        let count = peers
            .iter()
            .filter(|peer| all.is_some_and(|all| all.contains_key(&peer.address())));
        count.count() + 1 == peers.len()
    };
    let took = until("everybody has heard", || texts.iter().all(complete)).await;
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let most = texts
        .iter()
        .filter_map(|text| heard.get(text)?.values().max().copied());
    assert_eq!(most.max(), Some(1), "nobody hears anything twice");
    println!(
        "{stage}: {} messages, all delivered in {took:.2} s",
        texts.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_heals_with_and_without_a_tracker() {
    let count = std::env::var("E2E_MESH_PEERS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(PEERS);
    let mut server = TestServer::start().await;
    let address = server.address();
    let options = options(&server);
    let heard = Heard::default();

    let start = Instant::now();
    let mut first = Group::join(count / 2, &options, &heard).await;
    let mut second = Group::join(count / 8, &options, &heard).await;
    let last = Group::join(count - count / 2 - count / 8, &options, &heard).await;
    let all = |groups: &[&Group]| -> Vec<Easypeers> {
        groups
            .iter()
            .flat_map(|group| group.peers.clone())
            .collect()
    };

    let peers = all(&[&first, &second, &last]);
    let peers: Vec<&Easypeers> = peers.iter().collect();
    let settled = || is_whole(&peers) && peers.iter().all(|peer| peer.wire_count() >= 2);
    until("all have joined", settled).await;
    describe("joined", start.elapsed().as_secs_f64(), &peers);
    everybody_hears("joined", &peers, &heard).await;

    first.kill();
    let peers = all(&[&second, &last]);
    let peers: Vec<&Easypeers> = peers.iter().collect();
    let took = until("the mesh is whole after half were killed", || {
        is_whole(&peers)
    })
    .await;
    describe("half killed", took, &peers);
    everybody_hears("half killed", &peers, &heard).await;

    // Without a tracker nobody finds those that have lost every neighbour: the mesh is to be as dense as
    // it was.
    let took = until("links are made again", || linked(&peers)).await;
    describe("half killed, healed", took, &peers);
    server.stop();
    server.stopped().await;
    second.kill();
    let peers = all(&[&last]);
    let peers: Vec<&Easypeers> = peers.iter().collect();
    let took = until("the mesh is whole without a tracker", || is_whole(&peers)).await;
    describe("more killed without a tracker", took, &peers);
    everybody_hears("more killed without a tracker", &peers, &heard).await;

    let _again = TestServer::with(|settings| settings.listen = vec![address.into()]).await;
    let took = until("all links are made again", || linked(&peers)).await;
    describe("tracker back", took, &peers);
    everybody_hears("tracker back", &peers, &heard).await;
    let newcomer = Group::join(1, &options, &heard).await;
    let joined = || newcomer.peers[0].wire_count() >= 2;
    let took = until("a newcomer has two links", joined).await;
    describe("newcomer", took, &[&newcomer.peers[0]]);
}
