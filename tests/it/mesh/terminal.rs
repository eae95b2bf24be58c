//! The program `peer` as people use it: on a terminal, beside others.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex};

use e2e::TestServer;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

use super::process::Process;
use super::{Peer, options};
use crate::program::command;

/// A peer whose input and output are a terminal.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
}

impl Drop for Terminal {
    #[expect(clippy::print_stdout, reason = "shown with the failed test")]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("terminal: {:?}", self.shown());
        }
    }
}

impl Terminal {
    fn start(server: &TestServer, topic: &str) -> Self {
        let pty = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&pty).unwrap();
        unlockpt(&pty).unwrap();
        let size = Winsize {
            ws_row: 24,
            ws_col: 200,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&pty, size).unwrap();
        let name = ptsname(&pty, Vec::new()).unwrap();
        let side = || -> OwnedFd {
            let mut open = File::options();
            let side = open.read(true).write(true).open(name.to_str().unwrap());
            side.unwrap().into()
        };
        let tracker = format!("ws://{}", server.address());
        let arguments = [topic, "--tracker", &tracker, "--bind", "127.0.0.1"];
        let keyboard = File::from(pty);
        assert!(is_plain(&keyboard));
        let child = command("peer", &arguments)
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .unwrap();
        let mut output = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let to = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error, too, once the program has closed its side.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]);
                to.lock().unwrap().push_str(&text);
            }
        });
        Self {
            child,
            keyboard,
            screen,
        }
    }

    fn shown(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    async fn shows(&self, part: &str) {
        let shows = || std::future::ready(self.shown().contains(part));
        e2e::until(&format!("{part:?} on the terminal"), shows).await;
    }

    fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn is_plain(&self) -> bool {
        is_plain(&self.keyboard)
    }

    async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        e2e::until("the peer ends", || {
            status = self.child.try_wait().unwrap();
            std::future::ready(status.is_some())
        })
        .await;
        status.unwrap()
    }
}

/// Whether a terminal collects lines and echoes, as a shell wants it.
fn is_plain(terminal: &File) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    modes.contains(LocalModes::ICANON | LocalModes::ECHO)
}

/// What is typed half survives what arrives meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_survives_incoming_messages() {
    let server = TestServer::start().await;
    let mut alice = Terminal::start(&server, "terminal");
    alice.shows("> ").await;
    let bob = Process::start(&server, "terminal", &[]);
    bob.note(" connected").await;
    alice.shows(" connected").await;
    let unedited = || std::future::ready(!alice.is_plain());
    e2e::until("the editor has the terminal", unedited).await;
    alice.keys("half a li");
    alice.shows("half a li").await;
    // Sequences that would clear the screen or fake a line are shown, not obeyed.
    bob.say("hello\u{1b}[2J\u{7}");
    alice.shows(": hello\\u{1b}[2J\\u{7}").await;
    let drawn_again = || {
        let shown = alice.shown();
        let (_, after) = shown.rsplit_once(": hello").unwrap();
        std::future::ready(after.contains("> half a li"))
    };
    e2e::until("the prompt and what was typed", drawn_again).await;
    alice.keys("ne\r");
    let whole = || {
        std::future::ready(
            bob.lines()
                .iter()
                .any(|line| line.ends_with(": half a line")),
        )
    };
    e2e::until("the whole line at the other end", whole).await;
    alice.keys("/peers\r");
    alice.shows("  up ").await;
    alice.keys("\u{3}");
    assert!(alice.ended().await.success());
    assert!(alice.is_plain(), "the terminal is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_input_on_a_terminal_leaves() {
    let server = TestServer::start().await;
    let mut alice = Terminal::start(&server, "end");
    alice.shows("> ").await;
    let unedited = || std::future::ready(!alice.is_plain());
    e2e::until("the editor has the terminal", unedited).await;
    alice.keys("\u{4}");
    assert!(alice.ended().await.success());
    assert!(alice.is_plain());
}

/// Three processes and an application of the library: commands, and texts of every kind.
#[tokio::test(flavor = "multi_thread")]
async fn three_processes_and_their_commands() {
    let server = TestServer::start().await;
    let plain = Process::start(&server, "three", &[]);
    let script = Process::start(&server, "three", &["--json"]);
    let mut third = Process::start(&server, "three", &["--json", "--max-peers", "9"]);
    let (s, t) = (script.address().await, third.address().await);
    script.event(json!({"event": "connect", "peer": t})).await;
    plain.note(&format!("* {} connected", &s[..8])).await;
    plain.note(&format!("* {} connected", &t[..8])).await;
    // One end of a link may know of it before the other.
    for end in [&script, &third] {
        end.event(json!({"event": "state", "links": 2})).await;
    }

    third.say("/peers");
    let peers = third.event(json!({"event": "peers"})).await;
    let peers = peers["peers"].as_array().unwrap();
    assert_eq!(peers.len(), 2);
    assert!(peers.iter().any(|peer| peer["peer"] == *s));
    third.say("/info");
    let info = third.event(json!({"event": "info", "address": t})).await;
    assert_eq!(
        (&info["topic"], &info["max_peers"]),
        (&json!("three"), &json!(9))
    );
    plain.say("/info");
    plain.note("  links     2 of 6").await;
    plain.say("/help");
    plain.note("/msg ADDRESS text").await;
    plain.say("/nothing");
    plain.note("! unknown command /nothing").await;

    let mut speaker = Peer::join("three", options(&server)).await;
    speaker.links(3).await;
    let text = "two\nlines, a \\n that is none,\ttab, \u{1b}[1mbold, caf\u{e9}";
    speaker.handle.send(text).await.unwrap();
    let from = speaker.address().to_string();
    let message = json!({"event": "message", "from": from, "data": text});
    script.event(message).await;
    // One line a message: but for line breaks, as it is.
    let line = format!("{}: {}", &from[..8], text.replace('\n', "\\n"));
    plain.line(&line).await;
    speaker.handle.send(vec![0, 255]).await.unwrap();
    script
        .event(json!({"event": "message", "data": "00ff", "encoding": "hex"}))
        .await;
    plain.line(&format!("{}: <2 bytes>", &from[..8])).await;
    third.say("/quit");
    assert!(third.ended().await.success());
    plain.note(&format!("* {} disconnected", &t[..8])).await;
}
