//! Puts the compiler's version and, in a git checkout, the commit into the binary.

use std::process::Command;

fn main() {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = output(&rustc, &["--version"]).unwrap_or_else(|| "unknown".to_owned());
    let revision = std::env::var("EASYPEERS_REVISION").ok();
    let revision = revision.or_else(|| output("git", &["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=TRACKER_RUSTC={rustc}");
    println!(
        "cargo::rustc-env=TRACKER_REVISION={}",
        revision.as_deref().unwrap_or("unknown")
    );
    println!("cargo::rerun-if-env-changed=EASYPEERS_REVISION");
    if std::path::Path::new("../.git/HEAD").exists() {
        println!("cargo::rerun-if-changed=../.git/HEAD");
        println!("cargo::rerun-if-changed=../.git/refs/heads");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
