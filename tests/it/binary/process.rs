//! Runs the program with nothing of this process's environment.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use e2e::{Client, Response, within};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

pub(crate) fn command(arguments: &[&str]) -> Command {
    crate::program::command("tracker", arguments)
}

/// Runs a command that ends by itself; standard output and error as text.
pub(crate) fn run(mut command: Command) -> (ExitStatus, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status, text(stdout), text(stderr))
}

/// A running tracker; killed when dropped.
pub(crate) struct Tracker {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Drop for Tracker {
    #[expect(clippy::print_stdout, reason = "shown with the failed test")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            println!("stdout:\n{}stderr:\n{}", self.stdout(), self.stderr());
        }
    }
}

impl Tracker {
    /// On a free port of loopback.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let listen = ["--listen", "127.0.0.1:0"];
        Self::spawn(command(&[&listen[..], arguments].concat()))
    }

    pub(crate) fn spawn(command: Command) -> Self {
        Self::spawn_with_log(command, Stdio::piped())
    }

    /// With a standard error that nobody reads, unless it is a pipe.
    pub(crate) fn spawn_with_log(mut command: Command, log: Stdio) -> Self {
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let mut readers = vec![collect(child.stdout.take().unwrap(), &stdout)];
        let log = child.stderr.take();
        readers.extend(log.map(|log| collect(log, &stderr)));
        Self {
            child,
            stdout,
            stderr,
            readers,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until standard error has `text`.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait(text, || self.stderr().contains(text).then_some(()));
    }

    /// Waits until standard output has `text`.
    pub(crate) fn wait_for_output(&self, text: &str) {
        wait(text, || self.stdout().contains(text).then_some(()));
    }

    /// Waits until it says where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        wait("the WebSocket's URL", || {
            let text = self.stdout();
            let url = text
                .lines()
                .find_map(|line| line.strip_prefix("websocket  ws"));
            let address = url.and_then(|url| url.split_once("://"));
            address.map(|(_, address)| address.parse().unwrap())
        })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// A new WebSocket, without TLS.
    pub(crate) async fn client(&self) -> Client {
        let stream = e2e::tls::connect(self.address(), None).await.unwrap();
        within("an upgrade", Client::upgrade(stream, "/", &[]))
            .await
            .unwrap()
    }

    /// GET, without TLS.
    pub(crate) async fn get(&self, path: &str) -> Response {
        let stream = e2e::tls::connect(self.address(), None).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close");
        within("an HTTP answer", e2e::http::exchange(stream, &head))
            .await
            .unwrap()
    }

    /// A value from `/metrics`; the name goes without `easypeers_tracker_`.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").await.body;
        let start = format!("easypeers_tracker_{series} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|value| value.parse().ok()).unwrap()
    }

    /// Waits until the end of the process, killed without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end: the exit status, all of standard output and all of standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String, String) {
        let status = wait("the process's end", || self.child.try_wait().unwrap());
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status.code(), self.stdout(), self.stderr())
    }
}

fn collect(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    let into = Arc::clone(into);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let mut text = into.lock().unwrap();
            text.push_str(&line.unwrap());
            text.push('\n');
        }
    })
}

/// Asks until there is an answer.
pub(super) fn wait<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(
            start.elapsed() < e2e::wait::DEADLINE,
            "waited in vain for {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
