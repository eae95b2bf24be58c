//! The workspace's programs as processes, built where this test was built.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Runs `name` with nothing of this process's environment, and without standard input.
pub(crate) fn command(name: &'static str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// The program, built once.
fn program(name: &'static str) -> PathBuf {
    static PROGRAMS: Mutex<Option<HashMap<&str, PathBuf>>> = Mutex::new(None);
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = programs.get_or_insert_default();
    programs.entry(name).or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let directory = test.parent().and_then(|deps| deps.parent()).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--package", name, "--bin", name]);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    build.arg("--target-dir").arg(directory.parent().unwrap());
    // What cargo says about this test would make build scripts of others run again.
    let own = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_CRATE_",
        "CARGO_BIN_",
    ];
    for (variable, _) in std::env::vars_os() {
        let variable_name = variable.to_string_lossy();
        if own.iter().any(|start| variable_name.starts_with(start)) {
            build.env_remove(&variable);
        }
    }
    if directory.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "{name} does not build");
    directory.join(name)
}
