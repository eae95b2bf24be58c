//! What goes wrong while it serves: it is told to stop, killed, out of descriptors, out of disk,
//! talked to by nobody. Whoever is connected must not notice more than has to be.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use e2e::{Announce, Client, Received, answer, hash, offer_id, peer, sdp, until};
use easypeers::{Easypeers, Options};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::process::{Tracker, command};

/// Offer and answer between two clients of one swarm.
struct Pair {
    number: u32,
    offerer: Client,
    answerer: Client,
}

impl Pair {
    /// The answerer holds the offer and has not answered.
    async fn open(tracker: &Tracker, number: u32) -> Self {
        let (mut offerer, mut answerer) = (tracker.client().await, tracker.client().await);
        answerer
            .announce(&Announce::new(hash(number), peer(2)))
            .await;
        offerer
            .announce(&Announce::new(hash(number), peer(1)).offers(1))
            .await;
        match answerer.next().await {
            Received::Offer { .. } => {}
            other => panic!("{other:?}"),
        }
        Self {
            number,
            offerer,
            answerer,
        }
    }

    async fn answer(&mut self) {
        let description = sdp("answer", self.number);
        let (swarm, offer) = (hash(self.number), offer_id(0));
        let text = answer(swarm, peer(2), peer(1), offer, &description);
        self.answerer.send(text).await;
    }

    /// What the offerer gets must be the answer, before anything else.
    async fn answered(&mut self) {
        match self.offerer.next().await {
            Received::Answer { answer, .. } => assert_eq!(answer, sdp("answer", self.number)),
            other => panic!("pair {}: {other:?}", self.number),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn term_under_load_loses_no_answer_in_flight() {
    let tracker = Tracker::start(&["--drain-timeout", "120s"]);
    let mut pairs = Vec::new();
    for number in 0..12 {
        pairs.push(Pair::open(&tracker, number).await);
    }
    // Others go on announcing.
    let mut busy = tracker.client().await;
    let load = tokio::spawn(async move {
        let announce = Announce::new(hash(1000), peer(9)).offers(5).text();
        while busy
            .try_send(tokio_tungstenite::tungstenite::Message::text(&*announce))
            .await
        {
            tokio::task::yield_now().await;
        }
    });
    tracker.signal(Signal::TERM);
    until("it drains", || async {
        tracker.get("/readyz").await.status == 503
    })
    .await;
    for pair in &mut pairs {
        pair.answer().await;
    }
    for pair in &mut pairs {
        pair.answered().await;
    }
    assert_eq!(
        tracker
            .metric("answers_relayed_total{scope=\"local\"}")
            .await,
        12.0
    );
    for pair in pairs {
        let (mut offerer, mut answerer) = (pair.offerer, pair.answerer);
        assert_eq!(offerer.closed().await, 1001);
        assert_eq!(answerer.closed().await, 1001);
    }
    let (status, _, stderr) = tracker.end();
    assert_eq!(status, Some(0), "{stderr}");
    load.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_are_not_relayed_once_it_drains() {
    let tracker = Tracker::start(&["--drain-timeout", "120s"]);
    // Its unanswered offer keeps the drain at its first step.
    let mut pair = Pair::open(&tracker, 1).await;
    tracker.signal(Signal::TERM);
    until("it drains", || async {
        tracker.get("/readyz").await.status == 503
    })
    .await;
    let announce = Announce::new(hash(1), peer(1)).offers(1);
    pair.offerer.announce(&announce).await;
    let dropped = "offers_dropped_total{reason=\"draining\"}";
    assert_eq!(tracker.metric(dropped).await, 1.0);
    pair.answer().await;
    pair.answered().await;
    assert_eq!(pair.answerer.closed().await, 1001);
}

async fn in_swarm(tracker: &Tracker, peers: usize) -> bool {
    let stats = tracker.get("/stats.json").await.body;
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    stats["peers"] == peers && stats["swarms"] == 1
}

/// Peers come back by themselves to a tracker that was killed, and the next one finds them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_tracker_has_its_swarms_again_after_the_restart() {
    const PEERS: usize = 5;
    let tracker = Tracker::start(&[]);
    let address = tracker.address();
    let join = || async {
        let mut options = Options::default();
        options.trackers = vec![format!("ws://{address}").parse().unwrap()];
        options.bind = vec![[127, 0, 0, 1].into()];
        Easypeers::join("killed", options).await.unwrap()
    };
    let mut peers = Vec::new();
    for _ in 0..PEERS {
        peers.push(join().await);
    }
    until("all are in the swarm", || in_swarm(&tracker, PEERS)).await;
    let linked = || async { peers.iter().all(|peer| peer.wire_count() > 0) };
    until("all have links", linked).await;
    tracker.kill();

    let address = address.to_string();
    let tracker = Tracker::spawn(command(&["--listen", &address]));
    until("all are back", || in_swarm(&tracker, PEERS)).await;
    let late = join().await;
    until("who comes later meets them", || async {
        late.wire_count() > 0
    })
    .await;
    until("all are in the swarm", || in_swarm(&tracker, PEERS + 1)).await;
}

/// `/dev/full` is a disk without room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_costs_log_lines_and_nothing_else() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--log-level", "debug"];
    let tracker = Tracker::spawn_with_log(command(&arguments), full.into());
    let mut pair = Pair::open(&tracker, 1).await;
    pair.answer().await;
    pair.answered().await;
    let lost = tracker.metric("log_lines_lost_total").await;
    // It said that it serves, and that two clients came.
    assert!(lost >= 3.0, "{lost}");
    tracker.signal(Signal::TERM);
    let (status, _, _) = tracker.end();
    assert_eq!(status, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_it_serves_whom_it_has_and_recovers() {
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 300 && exec \"$0\" \"$@\""]);
    let program = command(&["--listen", "127.0.0.1:0", "--header-timeout", "2s"]);
    limited.arg(program.get_program()).args(program.get_args());
    limited.env_clear().stdin(Stdio::null());
    let tracker = Tracker::spawn(limited);
    let mut pair = Pair::open(&tracker, 1).await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(tracker.address()).await.unwrap());
    }
    tracker.wait_for_log("cannot accept connections");
    pair.answer().await;
    pair.answered().await;
    // Who says nothing goes after the header timeout.
    assert!(tracker.metric("accept_errors_total").await > 0.0);
    Pair::open(&tracker, 2).await.answer().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_half_open_connections_keep_nobody_out() {
    const SOCKETS: usize = 1000;
    let tracker = Tracker::start(&["--header-timeout", "5s"]);
    let address = tracker.address();
    let mut half_open = Vec::new();
    for number in 0..SOCKETS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Some say nothing, some half of a request.
        if number % 2 == 0 {
            let half = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: webso";
            stream.write_all(half).await.unwrap();
        }
        half_open.push(stream);
    }
    let mut pair = Pair::open(&tracker, 1).await;
    pair.answer().await;
    pair.answered().await;
    until("all of them are gone", || async {
        tracker.metric("http_timeouts_total").await >= SOCKETS as f64
    })
    .await;
    assert_eq!(tracker.metric("connections").await, 2.0);
    pair.offerer.fence().await;
}
