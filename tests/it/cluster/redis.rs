//! A Redis of one test, and what else its tests have in common.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use e2e::{Announce, Client, Received, TempDir, answer, offer_id, peer, sdp};
use easypeers_proto::InfoHash;
use rustix::process::{Pid, Signal, kill_process};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::binary::process::Tracker;

/// A `redis-server` that keeps nothing on disk; killed when dropped.
pub(crate) struct Redis {
    files: TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Redis {
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut redis = Self::stopped(options);
        redis.restart();
        redis
    }

    /// Not yet running.
    pub(crate) fn stopped(options: &[&str]) -> Self {
        Self {
            files: TempDir::new(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            child: None,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.files.path("redis.sock")
    }

    pub(crate) fn url(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Starts it, empty, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let socket = self.socket();
        let child = Command::new("redis-server")
            .args([
                "--port",
                "0",
                "--save",
                "",
                "--appendonly",
                "no",
                "--unixsocket",
            ])
            .arg(&socket)
            .arg("--dir")
            .arg(socket.parent().unwrap())
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn();
        self.child = Some(child.expect("Debian's redis-server"));
        let start = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(
                start.elapsed() < e2e::wait::DEADLINE,
                "redis-server does not listen"
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// One command; the answer as it is on the wire.
    pub(crate) fn ask<W: AsRef<[u8]>>(&self, words: &[W]) -> String {
        let mut socket = UnixStream::connect(self.socket()).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            let word = word.as_ref();
            command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            command.extend_from_slice(word);
            command.extend_from_slice(b"\r\n");
        }
        // Behind it, so that its answer shows the end of the first.
        command.extend_from_slice(b"*2\r\n$4\r\nECHO\r\n$9\r\n--done---\r\n");
        socket.write_all(&command).unwrap();
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = socket.read(&mut buffer).unwrap();
            assert!(count > 0, "redis-server hangs up");
            answer.extend_from_slice(&buffer[..count]);
            if let Some(rest) = answer.strip_suffix(b"$9\r\n--done---\r\n") {
                return String::from_utf8_lossy(rest).into_owned();
            }
        }
    }

    /// A tracker that is a node.
    pub(crate) fn node(&self, arguments: &[&str]) -> Tracker {
        node_at(&self.url(), arguments)
    }
}

pub(crate) fn node_at(url: &str, arguments: &[&str]) -> Tracker {
    let cluster = ["--cluster-url", url, "--log-level", "debug"];
    Tracker::start(&[&cluster[..], arguments].concat())
}

/// The directory's key of a swarm.
pub(crate) fn swarm_key(swarm: InfoHash) -> Vec<u8> {
    [b"ep:s:", &swarm.as_bytes()[..]].concat()
}

/// Waits until a series has the value.
pub(crate) async fn metric_becomes(tracker: &Tracker, series: &str, value: f64) {
    let what = format!("{series} is {value}");
    e2e::until(&what, || async { tracker.metric(series).await == value }).await;
}

/// Waits until nodes know each other.
pub(crate) async fn are_together(trackers: &[&Tracker]) {
    for tracker in trackers {
        metric_becomes(tracker, "cluster_nodes", trackers.len() as f64).await;
    }
}

/// The next message, if one comes within a time in which it comes when all is well.
async fn soon(client: &mut Client) -> Option<Received> {
    timeout(Duration::from_millis(700), client.next())
        .await
        .ok()
}

/// Has peer 1 announce an offer, and peer 2 answer it, until that works: how often it had to try. Both
/// must be in the swarm, and nobody else.
pub(crate) async fn meet(swarm: InfoHash, offerer: &mut Client, answerer: &mut Client) -> u32 {
    let start = Instant::now();
    for attempt in 1.. {
        assert!(
            start.elapsed() < e2e::wait::DEADLINE,
            "the peers do not meet"
        );
        let id = offer_id(attempt);
        let announce = Announce::new(swarm, peer(1)).offer(id, &sdp("offer", attempt));
        offerer.send(announce.text()).await;
        while let Some(received) = soon(answerer).await {
            match received {
                Received::Offer {
                    offer_id,
                    peer_id,
                    offer,
                    ..
                } if offer_id == id => {
                    assert_eq!((peer_id, offer), (peer(1), sdp("offer", attempt)));
                    let text = answer(swarm, peer(2), peer(1), id, &sdp("answer", attempt));
                    answerer.send(text).await;
                    break;
                }
                Received::Offer { .. } | Received::Announced { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        while let Some(received) = soon(offerer).await {
            match received {
                Received::Answer {
                    offer_id,
                    peer_id,
                    answer,
                    ..
                } if offer_id == id => {
                    assert_eq!((peer_id, answer), (peer(2), sdp("answer", attempt)));
                    return attempt;
                }
                Received::Answer { .. } | Received::Announced { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    unreachable!()
}

/// A client in a swarm.
pub(crate) async fn joined(tracker: &Tracker, swarm: InfoHash, number: u32) -> Client {
    let mut client = tracker.client().await;
    client.announce(&Announce::new(swarm, peer(number))).await;
    client
}

/// Two peers of one node who do not stop exchanging offers and answers, each of which must arrive.
pub(crate) struct Local {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU32>,
    running: JoinHandle<()>,
}

impl Local {
    pub(crate) async fn start(tracker: &Tracker, swarm: InfoHash) -> Self {
        let mut offerer = joined(tracker, swarm, 1).await;
        let mut answerer = joined(tracker, swarm, 2).await;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let rounds = Arc::<AtomicU32>::default();
        let done = Arc::clone(&rounds);
        let running = tokio::spawn(async move {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            let mut round = 0;
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                round += 1;
                let id = offer_id(round);
                let announce = Announce::new(swarm, peer(1)).offer(id, &sdp("offer", round));
                assert_eq!(offerer.announce(&announce).await, (0, 2));
                match answerer.next().await {
                    Received::Offer { offer_id, .. } => assert_eq!(offer_id, id),
                    other => panic!("round {round}: {other:?}"),
                }
                let text = answer(swarm, peer(2), peer(1), id, &sdp("answer", round));
                answerer.send(text).await;
                match offerer.next().await {
                    Received::Answer { offer_id, .. } => assert_eq!(offer_id, id),
                    other => panic!("round {round}: {other:?}"),
                }
                done.store(round, Ordering::Relaxed);
            }
        });
        Self {
            stop,
            rounds,
            running,
        }
    }

    /// Ends after some more rounds. That it went on all the time is shown by its having lost nothing.
    pub(crate) async fn end(self) {
        let before = self.rounds.load(Ordering::Relaxed);
        let rounds = &self.rounds;
        e2e::until("the local load goes on", || async {
            self.running.is_finished() || rounds.load(Ordering::Relaxed) > before + 10
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        let ended = e2e::within("the local load's end", self.running).await;
        ended.unwrap();
    }
}
