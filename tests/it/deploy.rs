//! What deploy/ ships, with the programs it is for: Prometheus, nginx, Caddy, coturn, systemd, each
//! Debian's.
//!
//! Ignored unless asked for, since they need those packages: tests/run.sh installs them and runs
//! `cargo test -p e2e --test it -- --ignored deploy::`.

mod activation;
mod clock;
mod prometheus;
mod proxies;
mod turn;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use e2e::TempDir;
use rustix::process::{Pid, Signal, kill_process};

/// A file of deploy/.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `text` with other values; each of the old ones must be there.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    let mut text = text.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "no {old:?} in the shipped file");
        text = text.replace(old, new);
    }
    text
}

/// A port that was free a moment ago, for programs that cannot say which one they took.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A program that serves until it is dropped.
struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Its output goes to a file, shown when the test fails.
    fn start(files: &TempDir, mut command: Command) -> Self {
        let log = files.path("program.log");
        let output = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let name = command.get_program().to_owned();
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot run {name:?} ({error}): tests/run.sh installs Debian's package")
        });
        Self { child, log }
    }
}

impl Drop for Program {
    #[expect(clippy::print_stdout, reason = "shown with the failed test")]
    fn drop(&mut self) {
        // It may have children that only it can end.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}
