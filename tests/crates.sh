#!/usr/bin/env bash
# The libraries as users of crates.io would get them: what each may depend on, and whether its package
# builds by itself.
set -euo pipefail
cd "$(dirname "$0")/.."

# Fails if a crate of the list is among the dependencies of a library, whatever its features.
without() { # LIBRARY FEATURES CRATE...
  local library=$1 features=$2 tree found=0
  shift 2
  tree=$(cargo tree --locked --edges normal --prefix none --format '{p}' --features "$features" -p "$library")
  for crate in "$@"; do
    if grep -q "^$crate v" <<<"$tree"; then
      echo "$library depends on $crate" >&2
      found=1
    fi
  done
  return "$found"
}

# Pure: time, randomness and bytes are inputs.
pure=(async-io getrandom mio rustix socket2 tokio web-time webrtc)
without easypeers-proto peer,compat "${pure[@]}"
without easypeers-core compat "${pure[@]}"
# A library, without a program.
without easypeers compat axum clap prometheus rustyline
# Without compatibility with Easypeers 1 there is none of its arithmetic.
without easypeers-proto peer num-bigint num-integer

cargo package --locked --allow-dirty -p easypeers-proto -p easypeers-core -p easypeers
