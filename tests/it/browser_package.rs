//! The generated browser peer that is committed: made from these sources, and small.

use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

#[test]
fn the_browser_peer_was_built_from_these_sources() {
    let check = Command::new("bash")
        .args(["tests/wasm.sh", "check"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stdout);
    let why = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}{why}");
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().len()
}

#[test]
fn the_page_and_its_peer_are_small() {
    let web = Path::new(ROOT).join("tracker/web");
    let package = web.join("pkg");
    let wasm = size(&package.join("easypeers.wasm"));
    // docs/measurements/browser.md says what it is made of.
    assert!(wasm <= 600 << 10, "{wasm} bytes of WebAssembly");
    let files: Vec<_> = std::fs::read_dir(&web)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    assert!(files.len() <= 6, "one purpose a file: {files:?}");
    let page: u64 = files.iter().map(|path| size(path)).sum();
    let page = page + size(&package.join("easypeers.mjs"));
    assert!(page <= 150 << 10, "{page} bytes beside the WebAssembly");
}
