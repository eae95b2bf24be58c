#!/usr/bin/env bash
# Is the cost of an announce the same however many swarms the tracker keeps, and however large the
# swarm is? Prints CPU per announce as a ratio within one run. About three minutes.
#
# Settings, as environment variables: DURATION (10), ROUNDS (3).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
release=${CARGO_TARGET_DIR:-$root/target}/release
duration=${DURATION:-10} rounds=${ROUNDS:-3}
out=$(mktemp -d)
pid=
stop() {
  if [[ -n $pid ]]; then
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    pid=
  fi
}
trap 'stop; rm -rf "$out"' EXIT

(cd "$root" && cargo build --release -q -p tracker -p e2e --bin tracker --bin load)

# run NAME LOAD-OPTIONS...: a fresh tracker, one measured load.
run() {
  local name=$1
  shift
  "$release/tracker" --listen 127.0.0.1:0 --drain-timeout 0s >"$out/log" 2>&1 &
  pid=$!
  until url=$(grep -om1 'ws://127\.0\.0\.1:[0-9]*' "$out/log"); do sleep 0.1; done
  "$release/load" rate --url "$url" --pid $pid --duration "$duration" --warmup 3 --rate 400 \
    --source-addresses 20 --json "$out/$name.json" "$@" >&2
  stop
}

for ((round = 1; round <= rounds; round++)); do
  run "swarms-10-$round" --connections 1000 --swarms 10
  run "swarms-100000-$round" --connections 1000 --swarms 10 --background-swarms 100000
  run "peers-20-$round" --connections 5000 --swarms 250
  run "peers-5000-$round" --connections 5000 --swarms 1
done

node - "$out" "$rounds" <<'JS'
const [, , out, rounds] = process.argv
const fs = require('fs')
const cost = name => {
  const all = []
  for (let round = 1; round <= rounds; round++) {
    const json = JSON.parse(fs.readFileSync(`${out}/${name}-${round}.json`))
    all.push(json.windows[0].server_cpu_us_per_announce)
  }
  return all.sort((a, b) => a - b)[Math.floor(all.length / 2)]
}
console.log('| from | to | CPU µs per announce | ratio |\n| --- | --- | ---: | ---: |')
for (const [from, to, few, many] of [
  ['10 swarms', '100,010 swarms', 'swarms-10', 'swarms-100000'],
  ['20 peers in a swarm', '5,000 peers in a swarm', 'peers-20', 'peers-5000']
]) {
  const [a, b] = [cost(few), cost(many)]
  console.log(`| ${from} | ${to} | ${a.toFixed(0)} → ${b.toFixed(0)} | ${(b / a).toFixed(2)} |`)
}
JS
