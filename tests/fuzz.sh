#!/bin/sh
# Runs every fuzz target for some seconds: tests/fuzz.sh [seconds]
# Needs a C++ compiler; installs cargo-fuzz if it is missing. Findings: tests/fuzz/artifacts.
set -eu

seconds=${1:-30}
cd "$(dirname "$0")/fuzz"

# The sanitizer flags are unstable; this lets the stable compiler take them.
export RUSTC_BOOTSTRAP=1

cargo fuzz --version >/dev/null 2>&1 || cargo install cargo-fuzz --locked

for target in fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    echo "== $target"
    cargo fuzz run --fuzz-dir . "$target" -- \
        -max_total_time="$seconds" -max_len=8192 -print_final_stats=1
done
