#!/usr/bin/env bash
# Runs the same load against this repository's tracker, npm's bittorrent-tracker and aquatic_ws,
# and prints a Markdown table. Takes about four minutes once everything is built.
#
# Settings, as environment variables:
#   TRACKERS    which ones, in this order (default: all three, see below)
#   ROUNDS      interleaved rounds, the table shows medians (3; 0: memory only)
#   DURATION    measured seconds of a run (10)      WARMUP  seconds before them (3)
#   IDLE        connections of the memory run (10000; 0: none)
#   OUT         folder for the JSON results (a temporary one)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
tools=$here/.tools
release=${CARGO_TARGET_DIR:-$root/target}/release
trackers=${TRACKERS:-bittorrent-tracker aquatic_ws easypeers}
rounds=${ROUNDS:-3} duration=${DURATION:-10} warmup=${WARMUP:-3} idle=${IDLE:-10000}
out=${OUT:-$(mktemp -d)}
# Several client addresses: limits for each address should not be what is measured.
addresses=20

pid=
stop() {
  if [[ -n $pid ]]; then
    kill "$pid" 2>/dev/null || true
    for _ in {1..30}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
  fi
}
trap stop EXIT
trap 'exit 130' INT TERM

say() { printf '%s\n' "$*" >&2; }

install_bittorrent-tracker() {
  [[ -d $tools/node_modules/bittorrent-tracker ]] && return
  # Without scripts: a dependency of its client builds WebRTC, which the server does not load.
  npm install --prefix "$tools" --ignore-scripts --no-fund --no-audit bittorrent-tracker@11 >&2
}

install_aquatic_ws() {
  [[ -x $tools/bin/aquatic_ws ]] && return
  # Without its metrics, whose pinned crate current compilers refuse.
  CARGO_TARGET_DIR=$tools/target cargo install aquatic_ws --version 0.9.0 --locked \
    --no-default-features --features mimalloc --root "$tools" >&2
}

install_easypeers() {
  (cd "$root" && cargo build --release -p tracker >&2)
}

free_port() {
  node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => {
    console.log(s.address().port); s.close() })'
}

# Each sets `command`, and `url` when the tracker does not print it.
command_bittorrent-tracker() {
  command=(node "$here/bittorrent-tracker.mjs")
}

command_aquatic_ws() {
  local port
  port=$(free_port)
  url=ws://127.0.0.1:$port
  # One worker of each kind, as it recommends for a machine with few cores.
  sed "s/^address = .*/address = \"127.0.0.1:$port\"/" >"$out/aquatic.toml" \
    <("$tools/bin/aquatic_ws" --print-config)
  command=("$tools/bin/aquatic_ws" --config-file "$out/aquatic.toml")
}

command_easypeers() {
  command=("$release/tracker" --listen 127.0.0.1:0)
}

# Starts a tracker: sets `pid` and `url`.
start() {
  local name=$1 log=$out/$1.log
  url=
  "command_$name"
  local announced=$url
  # The child opens its log later: an old one would be read meanwhile.
  : >"$log"
  # Not in a subshell: the process is a child of this one, and its number is known.
  "${command[@]}" >"$log" 2>&1 &
  pid=$!
  for _ in {1..100}; do
    if ! kill -0 "$pid" 2>/dev/null; then
      break
    elif [[ -n $announced ]]; then
      (exec 3<>"/dev/tcp/127.0.0.1/${announced##*:}") 2>/dev/null && return
    else
      url=$(grep -aom1 'ws://127\.0\.0\.1:[0-9]*' "$log") && return
    fi
    sleep 0.1
  done
  say "$name did not start:"
  tail -n 5 "$log" >&2
  stop
  return 1
}

# Runs a load against a tracker that is started for it alone.
measure() {
  local name=$1 file=$2
  shift 2
  start "$name" || return 1
  # What was lost or wrong is in the table; 2 means that there are no results.
  "$release/load" "$@" --url "$url" --pid "$pid" --source-addresses "$addresses" \
    --json "$out/$name.$file.json" >"$out/$name.$file.txt" || [[ $? -eq 1 ]] || {
    stop
    return 1
  }
  stop
}

ulimit -n "$(ulimit -Hn)"
mkdir -p "$tools" "$out"
[[ -f $tools/package.json ]] || echo '{"private":true}' >"$tools/package.json"
(cd "$root" && cargo build --release -p e2e --bin load >&2)

working=()
for name in $trackers; do
  if "install_$name" && start "$name"; then
    stop
    working+=("$name")
  else
    say "skipped: $name"
  fi
done

for ((round = 1; round <= rounds; round++)); do
  for name in "${working[@]}"; do
    say "round $round of $rounds: $name"
    measure "$name" "rate.$round" rate --connections 1000 --swarms 50 --rate 500 --offers 10 \
      --sdp-bytes 900 --duration "$duration" --warmup "$warmup" --seed "$round" ||
      say "no result: $name"
  done
done

if ((idle > 0)); then
  for name in "${working[@]}"; do
    say "$idle idle connections: $name"
    measure "$name" idle idle --connections "$idle" --duration 1 || say "no result: $name"
  done
fi

node "$here/table.mjs" "$out" "${working[@]}"
say "details: $out"
