#!/usr/bin/env bash
# Every test, on a Debian with Rust and Node: formatting, lints, unit, property and integration
# tests, the README's commands, peers and real clients in real browsers. Installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s\n' "$*"; }

install_missing() {
  local packages=()
  [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || packages+=(chromium)
  [ -x "${FIREFOX:-/usr/bin/firefox-esr}" ] || packages+=(firefox-esr)
  command -v npm >/dev/null || packages+=(nodejs npm)
  command -v cc >/dev/null || packages+=(gcc libc6-dev)
  command -v curl >/dev/null || packages+=(curl)
  [ ${#packages[@]} -eq 0 ] && return
  step "installing ${packages[*]}"
  local root=()
  [ "$(id -u)" -eq 0 ] || root=(sudo)
  "${root[@]}" apt-get update -q
  DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -q "${packages[@]}"
}

install_missing

step 'formatting'
cargo fmt --all --check

step 'lints'
cargo clippy --workspace --all-targets --locked -- -D warnings

step 'unit, property and integration tests'
cargo test --workspace --locked

step 'peers and real clients in Chromium and Firefox'
cargo build --locked -p tracker -p peer
(cd tests/browser && npm ci --no-audit --no-fund && npm test)

step "the README's first commands"
bash tests/readme.sh

step 'all tests passed'
