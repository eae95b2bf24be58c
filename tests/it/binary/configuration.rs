//! Command line, environment, config file; what goes to which stream; exit statuses.

use std::net::TcpListener;

use e2e::TempDir;
use rustix::process::Signal;

use super::process::{Tracker, command, run, wait};

#[test]
fn it_prints_both_urls_and_logs_to_stderr_without_colors() {
    for no_color in [false, true] {
        let mut command = command(&["--listen", "127.0.0.1:0"]);
        if no_color {
            command.env("NO_COLOR", "1");
        }
        let tracker = Tracker::spawn(command);
        let address = tracker.address();
        tracker.wait_for_log("serving");
        tracker.signal(Signal::TERM);
        let (_, stdout, stderr) = tracker.end();
        let expected = format!("page       http://{address}/\nwebsocket  ws://{address}\n");
        assert_eq!(stdout, expected);
        assert!(
            stderr.contains("INFO") && stderr.contains("stopped"),
            "{stderr}"
        );
        assert!(!stderr.contains('\u{1b}'), "{stderr}");
    }
}

#[test]
fn json_logs_are_one_object_a_line_and_have_the_addresses() {
    let tracker = Tracker::start(&["--log-format", "json"]);
    tracker.wait_for_log("\"serving\"");
    tracker.signal(Signal::TERM);
    let (status, stdout, stderr) = tracker.end();
    assert_eq!((status, &*stdout), (Some(0), ""));
    let lines: Vec<serde_json::Value> = stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let listening = lines
        .iter()
        .find(|line| line["message"] == "listening")
        .unwrap();
    assert!(
        listening["websocket"]
            .as_str()
            .unwrap()
            .starts_with("ws://127.0.0.1:")
    );
}

#[test]
fn every_address_is_served() {
    let tracker = Tracker::start(&["--listen", "127.0.0.1:0"]);
    wait("two URLs", || {
        let urls = tracker.stdout().matches("websocket").count();
        (urls == 2).then_some(())
    });
}

#[test]
fn a_taken_port_is_an_error_that_names_the_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, stdout, stderr) = run(command(&["--listen", &address]));
    assert_eq!(status.code(), Some(1));
    assert_eq!(stdout, "");
    let expected = format!("error: cannot listen on {address}");
    assert!(
        stderr.contains(&expected) && stderr.contains("--listen"),
        "{stderr}"
    );
}

#[test]
fn mistakes_on_the_command_line_are_named() {
    let cases: [(&[&str], &str); 8] = [
        (&["--lisen", "x"], "--listen"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--announce-interval", "5d"], "--announce-interval"),
        (&["--max-offers", "101"], "--max-offers"),
        (&["--max-message-size", "1"], "--max-message-size"),
        (&["--trusted-proxy", "x/99"], "--trusted-proxy"),
        (&["--log-format", "xml"], "--log-format"),
        (&["serv"], "serve"),
    ];
    for (arguments, named) in cases {
        let (status, stdout, stderr) = run(command(arguments));
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        assert_eq!(stdout, "", "{arguments:?}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
    let more: [(&[&str], &str); 4] = [
        (&["--tls-cert", "x.pem"], "--tls-key"),
        (&["--config", "missing.toml"], "missing.toml"),
        (&["--log-level", "=="], "--log-level"),
        (
            &["--listen", "127.0.0.1:0", "--deny-file", "missing.txt"],
            "missing.txt",
        ),
    ];
    for (arguments, named) in more {
        let (status, _, stderr) = run(command(arguments));
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        assert!(stderr.contains(named), "{arguments:?}: {stderr}");
    }
}

#[test]
fn check_config_tells_every_value_and_its_source() {
    let files = TempDir::new();
    let text = "max-offers = 7\nmax-swarms = 70\nping-interval = \"7s\"\n";
    let config = files.write("tracker.toml", text);
    let config = config.to_str().unwrap();
    let flags = ["check-config", "--config", config, "--max-swarms", "90"];
    let mut command = command(&flags);
    command
        .env("EASYPEERS_PING_INTERVAL", "9s")
        .env("EASYPEERS_MAX_SWARMS", "80");
    let (status, stdout, stderr) = run(command);
    assert_eq!(status.code(), Some(0), "{stderr}");
    let file = format!("file {config}");
    for (name, value, source) in [
        ("max-swarms", "90", "flag --max-swarms"),
        ("ping-interval", "9s", "environment EASYPEERS_PING_INTERVAL"),
        ("max-offers", "7", &*file),
        ("drain-timeout", "10s", "default"),
        ("tls-cert", "(none)", "default"),
    ] {
        let line = stdout
            .lines()
            .find(|line| line.split(' ').next() == Some(name))
            .unwrap();
        assert!(line.contains(value) && line.ends_with(source), "{line}");
    }
    assert!(stdout.ends_with("ok\n"), "{stdout}");
}

#[test]
fn check_config_finds_what_would_not_work() {
    let files = TempDir::new();
    let deny = files.write("deny", "xyz\n");
    let config = files.write("tracker.toml", "max-ofers = 7\n");
    let cases: [(&[&str], &str); 2] = [
        (
            &["check-config", "--deny-file", deny.to_str().unwrap()],
            "deny:1:",
        ),
        (
            &["check-config", "--config", config.to_str().unwrap()],
            "max-ofers",
        ),
    ];
    for (arguments, named) in cases {
        let (status, _, stderr) = run(command(arguments));
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        assert!(stderr.contains(named), "{stderr}");
    }
}

#[test]
fn environment_and_config_file_set_what_flags_set() {
    let files = TempDir::new();
    let config = files.write("tracker.toml", "listen = [\"127.0.0.1:0\"]\n");
    for (name, value) in [
        ("EASYPEERS_LISTEN", "127.0.0.1:0"),
        ("EASYPEERS_CONFIG", config.to_str().unwrap()),
    ] {
        let mut command = command(&[]);
        command.env(name, value);
        let tracker = Tracker::spawn(command);
        assert!(tracker.address().ip().is_loopback(), "{name}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let (status, stdout, stderr) = run(command(&["--version"]));
    assert_eq!((status.code(), &*stderr), (Some(0), ""));
    let rest = stdout
        .strip_prefix(&format!("tracker {} (", tracker::VERSION))
        .unwrap();
    let (revision, rustc) = rest.split_once(", ").unwrap();
    let is_hex = revision.len() == 12 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hex || revision == "unknown", "{stdout}");
    assert!(rustc.starts_with("rustc "), "{stdout}");

    let (status, stdout, stderr) = run(command(&["--help"]));
    assert_eq!((status.code(), &*stderr), (Some(0), ""));
    for part in [
        "--listen",
        "EASYPEERS_LISTEN",
        "check-config",
        "healthcheck",
        "HUP",
    ] {
        assert!(stdout.contains(part), "{part}");
    }
}

#[test]
fn the_healthcheck_exits_by_what_it_found() {
    let tracker = Tracker::start(&[]);
    let address = tracker.address().to_string();
    let any = format!("0.0.0.0:{}", tracker.address().port());
    for address in [&address, &any] {
        let (status, stdout, stderr) = run(command(&["healthcheck", "--listen", address]));
        assert_eq!(
            (status.code(), &*stdout, &*stderr),
            (Some(0), "healthy\n", "")
        );
    }
    tracker.signal(Signal::TERM);
    tracker.end();
    let (status, stdout, stderr) = run(command(&["healthcheck", "--listen", &address]));
    assert_eq!((status.code(), &*stdout), (Some(1), ""));
    assert!(
        stderr.contains("unhealthy") && stderr.contains(&address),
        "{stderr}"
    );
}
