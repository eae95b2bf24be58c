//! The program `peer` as processes: what scripts and people see of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use e2e::{TempDir, TestServer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::program::command;

/// A running peer; killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Drop for Process {
    #[expect(clippy::print_stdout, reason = "shown with the failed test")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("stdout: {:#?}\nstderr: {:#?}", self.lines(), self.notes());
        }
    }
}

fn collect(from: impl Read + Send + 'static, to: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let to = Arc::clone(to);
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            to.lock().unwrap().push(line.unwrap());
        }
    })
}

impl Process {
    /// On loopback, at this tracker.
    pub(crate) fn start(server: &TestServer, topic: &str, arguments: &[&str]) -> Self {
        let tracker = format!("ws://{}", server.address());
        let common = [topic, "--tracker", &tracker, "--bind", "127.0.0.1"];
        Self::with(&[&common[..], arguments].concat())
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::spawn(command("peer", arguments))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), &stdout),
            collect(child.stderr.take().unwrap(), &stderr),
        ];
        Self {
            stdin: child.stdin.take(),
            child,
            stdout,
            stderr,
            readers,
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.stdout.lock().unwrap().clone()
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Where its metrics are, without `http://` and `/metrics`.
    fn metrics(&self) -> String {
        let notes = self.notes();
        let url = notes.iter().find_map(|note| note.split_once("http://"));
        let address = url.unwrap().1.strip_suffix("/metrics");
        address.unwrap().to_owned()
    }

    pub(crate) fn say(&self, line: &str) {
        writeln!(self.stdin.as_ref().unwrap(), "{line}").unwrap();
    }

    /// Waits for an event that has these fields.
    pub(crate) async fn event(&self, wanted: Value) -> Value {
        let fits = |line: &String| {
            let event: Value = serde_json::from_str(line).unwrap();
            let mut fields = wanted.as_object().unwrap().iter();
            fields
                .all(|(name, value)| event.get(name) == Some(value))
                .then_some(event)
        };
        let mut found = None;
        e2e::until(&wanted.to_string(), || {
            found = self.lines().iter().find_map(fits);
            std::future::ready(found.is_some())
        })
        .await;
        found.unwrap()
    }

    pub(crate) async fn address(&self) -> String {
        let ready = self.event(serde_json::json!({"event": "ready"})).await;
        ready["address"].as_str().unwrap().to_owned()
    }

    pub(super) async fn line(&self, wanted: &str) {
        let has = || std::future::ready(self.lines().iter().any(|line| line == wanted));
        e2e::until(&format!("the line {wanted:?}"), has).await;
    }

    pub(super) async fn note(&self, part: &str) {
        let has = || std::future::ready(self.notes().iter().any(|line| line.contains(part)));
        e2e::until(&format!("{part:?} on standard error"), has).await;
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        e2e::until("the peer ends", || {
            status = self.child.try_wait().unwrap();
            std::future::ready(status.is_some())
        })
        .await;
        self.readers
            .drain(..)
            .for_each(|reader| reader.join().unwrap());
        status.unwrap()
    }

    /// Closes standard input and waits for the end.
    pub(super) async fn leave(&mut self) -> ExitStatus {
        self.stdin = None;
        self.ended().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_read_events_and_write_lines() {
    use serde_json::json;

    let server = TestServer::start().await;
    let mut alice = Process::start(&server, "scripts", &["--json"]);
    let mut bob = Process::start(&server, "scripts", &["--json", "--stay"]);
    let (a, b) = (alice.address().await, bob.address().await);
    alice.event(json!({"event": "connect", "peer": b})).await;
    alice
        .event(json!({"event": "state", "state": "joined", "links": 1}))
        .await;
    alice.say("hello, \u{1f30d} \"quoted\"");
    let message = json!({"event": "message", "from": a, "direct": false, "verified": true});
    let message = bob.event(message).await;
    assert_eq!(message["data"], "hello, \u{1f30d} \"quoted\"");
    let id = message["id"].as_str().unwrap();
    alice.event(json!({"event": "sent", "id": id})).await;

    alice.say(&format!("/msg {} for you", &b[..6]));
    let receipt = alice.event(json!({"event": "receipt", "to": b})).await;
    assert_eq!(
        (&receipt["result"], &receipt["hops"]),
        (&json!("delivered"), &json!(1))
    );
    assert!(receipt["rtt_ms"].as_f64().unwrap() > 0.0);
    bob.event(json!({"event": "message", "data": "for you", "direct": true}))
        .await;
    let nobody = "00".repeat(20);
    alice.say(&format!("/msg {nobody} anybody"));
    alice
        .event(json!({"event": "receipt", "to": nobody, "result": "unreachable"}))
        .await;
    alice.say("/nonsense");
    alice.event(json!({"event": "error"})).await;

    let first: Value = serde_json::from_str(&alice.lines()[0]).unwrap();
    assert_eq!(first["event"], "ready");
    // Something could not be sent, and whoever wrote the script should know.
    assert_eq!(alice.leave().await.code(), Some(1));
    bob.event(json!({"event": "disconnect", "peer": a})).await;
    bob.stdin = None;
    let mut carol = Process::start(&server, "scripts", &["--json"]);
    carol.event(json!({"event": "connect", "peer": b})).await;
    bob.signal(Signal::TERM);
    assert!(bob.ended().await.success());
    assert!(carol.leave().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn people_read_one_line_a_message() {
    let server = TestServer::start().await;
    let mut alice = Process::start(&server, "people", &[]);
    let mut bob = Process::start(&server, "people", &["--max-peers", "2"]);
    alice.note(" connected").await;
    bob.note(" connected").await;
    let from = |peer: &Process| {
        let notes = peer.notes();
        let (_, address) = notes[0].rsplit_once(" as ").unwrap();
        address[..8].to_owned()
    };
    let (a, b) = (from(&alice), from(&bob));
    alice.say("\ttabs and  spaces stay ");
    alice.say(&format!("/msg {b} psst"));
    alice.say("//not a command");
    alice.note(&format!("delivered to {b} over 1 link")).await;
    bob.line(&format!("{a}: /not a command")).await;
    bob.say("/quit");
    assert!(bob.ended().await.success());
    let lines = [
        format!("{a}: \ttabs and  spaces stay "),
        format!("{a} (direct): psst"),
        format!("{a}: /not a command"),
    ];
    let mut heard = bob.lines();
    // A sealed message and a broadcast need not keep their order.
    heard.sort();
    let mut lines = lines.to_vec();
    lines.sort();
    assert_eq!(heard, lines);
    alice.note(&format!("{b} disconnected")).await;
    alice.signal(Signal::INT);
    assert!(alice.ended().await.success());
    assert_eq!(alice.lines(), Vec::<String>::new());
}

/// A pipe that ends is no reason to lose what came through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_sent_to_its_end() {
    let server = TestServer::start().await;
    let bob = Process::start(&server, "pipe", &["--stay"]);
    bob.note("nobody else").await;
    let mut alice = Process::start(&server, "pipe", &[]);
    for number in 0..100 {
        alice.say(&format!("line {number}"));
    }
    assert!(alice.leave().await.success());
    e2e::until("all lines", || std::future::ready(bob.lines().len() == 100)).await;
    for (number, line) in bob.lines().iter().enumerate() {
        assert!(line.ends_with(&format!(": line {number}")), "{line}");
    }
}

/// No goodbye, no closed connection: only silence tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_peer_is_missed() {
    let server = TestServer::start().await;
    let alice = Process::start(&server, "killed", &["--json"]);
    let bob = Process::start(&server, "killed", &["--json"]);
    let b = bob.address().await;
    let up = serde_json::json!({"event": "connect", "peer": b});
    alice.event(up).await;
    bob.signal(Signal::KILL);
    alice
        .event(serde_json::json!({"event": "disconnect", "peer": b}))
        .await;
    let carol = Process::start(&server, "killed", &["--json"]);
    let c = carol.address().await;
    alice
        .event(serde_json::json!({"event": "connect", "peer": c}))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_processes_form_one_mesh() {
    let server = TestServer::start().await;
    let mut peers: Vec<Process> = Vec::new();
    for _ in 0..20 {
        peers.push(Process::start(
            &server,
            "twenty",
            &["--json", "--timeout", "15s"],
        ));
    }
    let mut addresses = Vec::new();
    for peer in &peers {
        addresses.push(peer.address().await);
    }
    // A broadcast that everybody heard shows that there is one mesh; what is sent before that may
    // be lost to those that came later.
    let mut round = 0;
    e2e::until("one mesh", || {
        round += 1;
        peers[0].say(&format!("round {round}"));
        let heard = |peer: &Process| peer.lines().iter().any(|line| line.contains("\"round "));
        let all = peers[1..].iter().all(heard);
        async move {
            // A pause between rounds, not a wait: an author may send 20 messages a second.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            all
        }
    })
    .await;
    for (number, peer) in peers.iter().enumerate() {
        peer.say(&format!("from {number}"));
    }
    for (to, peer) in peers.iter().enumerate() {
        for (number, from) in addresses
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != to)
        {
            let data = format!("from {number}");
            peer.event(serde_json::json!({"event": "message", "from": from, "data": data}))
                .await;
        }
    }
    for peer in &peers {
        let from = peer
            .lines()
            .iter()
            .filter(|line| line.contains("\"from "))
            .count();
        assert_eq!(from, 19, "each once");
    }
    for peer in &mut peers {
        assert!(peer.leave().await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_file_keeps_the_address() {
    let server = TestServer::start().await;
    let folder = TempDir::new();
    let path = folder.path("identity");
    let file = ["--json", "--identity", path.to_str().unwrap()];
    let mut first = Process::start(&server, "identity", &file);
    let address = first.address().await;
    assert!(first.leave().await.success());
    let mut second = Process::start(&server, "identity", &file);
    assert_eq!(second.address().await, address);
    assert!(second.leave().await.success());
    let other = ["--json", "--identity", "/dev/null"];
    let mut refused = Process::start(&server, "identity", &other);
    assert_eq!(refused.ended().await.code(), Some(1));
    assert!(
        refused.notes()[0].starts_with("error: identity file /dev/null"),
        "{:?}",
        refused.notes()
    );
}

async fn get(address: &str, path: &str) -> e2e::Response {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {address}");
    e2e::http::exchange(stream, &head).await.unwrap()
}

/// Who mistyped it learns why nobody is there, and so does a graph.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told() {
    let server = TestServer::start().await;
    let with = |password| ["--password", password, "--metrics-listen", "127.0.0.1:0"];
    let alice = Process::start(&server, "locked", &with("opensesame"));
    let bob = Process::start(&server, "locked", &with("opensesami"));
    for peer in [&alice, &bob] {
        let told = "one other peer is here, the last link was refused: topic proof does not fit: \
                    another topic or password";
        peer.note(&format!("* connecting: {told}")).await;
        let refused = "easypeers_peer_links_refused_total{reason=\"wrong_topic_key\"} ";
        let text = get(&peer.metrics(), "/metrics").await.body;
        let count = text.lines().find_map(|line| line.strip_prefix(refused));
        assert_ne!(count.unwrap(), "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_what_the_peer_does() {
    let server = TestServer::start().await;
    let listen = ["--metrics-listen", "127.0.0.1:0"];
    let alice = Process::start(&server, "metrics", &listen);
    let bob = Process::start(&server, "metrics", &[]);
    alice.note(" connected").await;
    bob.say("counted");
    let address = &*alice.metrics();
    e2e::until("the counts", || async {
        let text = get(address, "/metrics").await.body;
        [
            "links 1",
            "messages_total{direction=\"received\"} 1",
            "state{state=\"joined\"} 1",
        ]
        .iter()
        .all(|series| text.contains(&format!("easypeers_peer_{series}\n")))
    })
    .await;
    assert_eq!(get(address, "/readyz").await.status, 200);
    assert_eq!(get(address, "/healthz").await.status, 200);
}

#[test]
fn bad_flags_are_told_in_words() {
    let said = |arguments: &[&str]| {
        let output = command("peer", arguments).output().unwrap();
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (arguments, part) in [
        (&["--max-peers", "1"][..], "from 2 to 64"),
        (
            &["--tracker", "http://localhost:3000"],
            "expected ws://HOST:PORT",
        ),
    ] {
        let (code, said) = said(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(said.contains(part), "{said}");
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    for (arguments, start) in [
        (
            &["--bind", "203.0.113.7"][..],
            "error: cannot use the address 203.0.113.7: ",
        ),
        (
            &["--bind", "127.0.0.1", "--udp-port", &port],
            "error: no UDP port to use on 127.0.0.1: ",
        ),
        (
            &["--metrics-listen", &listen],
            &format!("error: --metrics-listen {listen}: "),
        ),
    ] {
        let (code, said) = said(arguments);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.starts_with(start) && said.lines().count() == 1,
            "{said}"
        );
    }
}
