#!/usr/bin/env bash
# Every test, on a Debian with Rust and Node: formatting, lints, unit, property and integration
# tests, the README's commands, peers and real clients in real browsers. Installs what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

# Optimised as a whole, what is released behaves the same, some minutes later.
export CARGO_PROFILE_RELEASE_LTO=off

step() { printf '\n== %s (after %s s)\n' "$*" "$SECONDS"; }

install_missing() {
  local packages=()
  [ -x "${CHROMIUM:-/usr/bin/chromium}" ] || packages+=(chromium)
  [ -x "${FIREFOX:-/usr/bin/firefox-esr}" ] || packages+=(firefox-esr)
  command -v npm >/dev/null || packages+=(nodejs npm)
  command -v cc >/dev/null || packages+=(gcc libc6-dev)
  command -v curl >/dev/null || packages+=(curl)
  command -v openssl >/dev/null || packages+=(openssl)
  # What deploy/ is for.
  command -v caddy >/dev/null || packages+=(caddy)
  command -v certutil >/dev/null || packages+=(libnss3-tools)
  command -v faketime >/dev/null || packages+=(faketime)
  command -v promtool >/dev/null || packages+=(prometheus)
  command -v redis-server >/dev/null || packages+=(redis-server)
  command -v shellcheck >/dev/null || packages+=(shellcheck)
  command -v systemd-analyze >/dev/null || packages+=(systemd)
  command -v turnserver >/dev/null || packages+=(coturn)
  [ -x /usr/sbin/nginx ] || packages+=(nginx-light)
  python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
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
# As the library is without the feature `compat`, which other packages turn on.
cargo clippy -p easypeers --all-targets --locked -- -D warnings

step 'the libraries: what they depend on, and their packages'
bash tests/crates.sh

step 'unit, property and integration tests'
cargo test --workspace --locked
# As the libraries are without the feature `compat`.
cargo test --locked -p easypeers-proto -p easypeers-core -p easypeers

step 'meshes in virtual time: nothing worse than the baseline'
cargo run --release --locked -p simulate -- \
  --peers 1000 --seed 1 --scenario all --baseline peer/simulate/baseline.json

step 'deploy/: its files, then what they are for'
bash tests/deploy/files.sh
cargo test --locked -p e2e --test it -- --ignored deploy::
bash tests/deploy/static.sh

step 'peers and real clients in Chromium and Firefox'
cargo build --locked -p tracker -p peer
(cd tests/browser && npm ci --no-audit --no-fund && npm test)

step "the README's first commands"
bash tests/readme.sh

step 'all tests passed'
