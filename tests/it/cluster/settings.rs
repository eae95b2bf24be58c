//! `--cluster-url`: what is accepted, checked and shown.

use std::process::Command;

use e2e::TempDir;

use super::redis::Redis;
use crate::binary::process::{command, run};

fn checked(arguments: &[&str]) -> (Option<i32>, String, String) {
    let own = ["check-config", "--listen", "127.0.0.1:0"];
    let (status, stdout, stderr) = run(command(&[&own[..], arguments].concat()));
    (status.code(), stdout, stderr)
}

#[test]
fn check_config_connects() {
    let mut redis = Redis::start(&["--requirepass", "geheim"]);
    let socket = redis.socket();
    let url = |password: &str| format!("unix://{}?pass={password}", socket.display());
    let (status, stdout, stderr) = checked(&["--cluster-url", &url("geheim")]);
    assert_eq!((status, &*stderr), (Some(0), ""));
    assert!(stdout.ends_with("ok\n"), "{stdout}");
    assert!(
        stdout.contains("?***") && !stdout.contains("geheim"),
        "{stdout}"
    );
    // It would start, and try again; that is worth a word, or an error where it must not.
    let (status, _, stderr) = checked(&["--cluster-url", &url("falsch")]);
    assert_eq!(status, Some(0));
    assert!(
        stderr.contains("cluster") && !stderr.contains("falsch"),
        "{stderr}"
    );
    redis.kill();
    let (status, _, stderr) = checked(&["--cluster-url", &url("geheim"), "--cluster-required"]);
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains("cluster") && !stderr.contains("geheim"),
        "{stderr}"
    );
}

#[test]
fn a_bad_url_is_refused_without_being_shown() {
    for bad in [
        "http://u:geheim@host",
        "redis://u:geheim@host/x",
        "redis+cluster://:geheim@host",
        "geheim",
    ] {
        for mut command in [
            command(&["--cluster-url", bad]),
            command(&["check-config", "--cluster-url", bad]),
            environment(bad),
        ] {
            command.arg("--listen=127.0.0.1:0");
            let (status, stdout, stderr) = run(command);
            assert!(!status.success());
            assert!(stderr.contains("--cluster-url"), "{stderr}");
            assert!(!format!("{stdout}{stderr}").contains("geheim"), "{stderr}");
        }
    }
    let (status, _, stderr) = checked(&["--cluster-required"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("--cluster-url"), "{stderr}");
}

fn environment(url: &str) -> Command {
    let mut command = command(&[]);
    command.env("EASYPEERS_CLUSTER_URL", url);
    command
}

#[test]
fn help_shows_no_password() {
    let files = TempDir::new();
    let file = files.write("t.toml", "cluster-url = \"redis://:geheim@host\"\n");
    let mut from_file = command(&["--config", file.to_str().unwrap(), "--help"]);
    from_file.env("EASYPEERS_CLUSTER_URL", "redis://:geheim@other");
    let (status, stdout, _) = run(from_file);
    assert!(status.success());
    assert!(
        stdout.contains("--cluster-url") && !stdout.contains("geheim"),
        "{stdout}"
    );
}
