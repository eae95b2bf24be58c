//! What a supervisor such as systemd is told, and the sockets it hands over.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};

use e2e::TempDir;
use rustix::process::Signal;

use super::process::{Tracker, command};

/// `NOTIFY_SOCKET`.
struct Supervisor {
    files: TempDir,
    socket: UnixDatagram,
}

impl Supervisor {
    fn new() -> Self {
        let files = TempDir::new();
        let socket = UnixDatagram::bind(files.path("notify")).unwrap();
        socket.set_read_timeout(Some(e2e::wait::DEADLINE)).unwrap();
        Self { files, socket }
    }

    fn watch(&self, mut command: Command, watchdog_us: &str) -> Command {
        command
            .env("NOTIFY_SOCKET", self.files.path("notify"))
            .env("WATCHDOG_USEC", watchdog_us);
        command
    }

    /// Waits for a message that has this line.
    fn hears(&self, line: &str) {
        let mut buffer = [0; 256];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap();
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            if text.lines().any(|said| said == line) {
                return;
            }
            assert!(text.starts_with("WATCHDOG=1"), "{text} before {line}");
        }
    }
}

#[test]
fn the_tracker_says_ready_reloading_and_stopping_and_feeds_the_watchdog() {
    let supervisor = Supervisor::new();
    let arguments = ["--listen", "127.0.0.1:0", "--ping-interval", "300ms"];
    let tracker = Tracker::spawn(supervisor.watch(command(&arguments), "300000"));
    supervisor.hears("READY=1");
    for _ in 0..5 {
        supervisor.hears("WATCHDOG=1");
    }
    tracker.signal(Signal::HUP);
    supervisor.hears("RELOADING=1");
    supervisor.hears("READY=1");
    tracker.signal(Signal::TERM);
    supervisor.hears("STOPPING=1");
    assert_eq!(tracker.end().0, Some(0));
}

#[test]
fn the_peer_says_ready_and_stopping_and_feeds_the_watchdog() {
    let supervisor = Supervisor::new();
    let arguments = ["topic", "--tracker", "ws://127.0.0.1:9", "--stay"];
    let peer = crate::program::command("peer", &arguments);
    let peer = Tracker::spawn(supervisor.watch(peer, "300000"));
    supervisor.hears("READY=1");
    for _ in 0..5 {
        supervisor.hears("WATCHDOG=1");
    }
    peer.signal(Signal::TERM);
    supervisor.hears("STOPPING=1");
    assert_eq!(peer.end().0, Some(0));
}

/// A shell hands its standard input on as the first inherited socket.
fn activated(listener: impl Into<Stdio>) -> Tracker {
    let program = command(&["--listen", "127.0.0.1:1"]);
    let script = "exec 3<&0 </dev/null && LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(program.get_program());
    shell.args(program.get_args()).env_clear().stdin(listener);
    Tracker::spawn(shell)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inherited_socket_replaces_listen() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tracker = activated(std::os::fd::OwnedFd::from(listener));
    assert_eq!(tracker.address(), address);
    tracker.client().await.fence().await;
    tracker.signal(Signal::TERM);
    assert_eq!(tracker.end().0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_of_an_inherited_unix_socket_stays() {
    let files = TempDir::new();
    let path = files.path("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let tracker = activated(std::os::fd::OwnedFd::from(listener));
    tracker.wait_for_log("serving");
    tracker.wait_for_output(&format!("unix:{}", path.display()));
    tracker.signal(Signal::TERM);
    assert_eq!(tracker.end().0, Some(0));
    assert!(path.exists());
}
