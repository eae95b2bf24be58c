#!/usr/bin/env bash
# What several nodes cost: the same load on a tracker alone, and on one, two and three nodes over a
# Redis. CPU per announce in trackers and Redis, what an offer to another node takes longer, bytes on
# the bus. Needs Debian's redis-server, and node. About three minutes.
#
# Settings, as environment variables: DURATION (15), ROUNDS (1), RATE (300), CONNECTIONS (900),
# SWARMS (30), OFFERS (5).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
release=${CARGO_TARGET_DIR:-$root/target}/release
duration=${DURATION:-15} rounds=${ROUNDS:-1} rate=${RATE:-300}
connections=${CONNECTIONS:-900} swarms=${SWARMS:-30} offers=${OFFERS:-5}
out=$(mktemp -d)
pids=()
stop() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  pids=()
}
trap 'stop; rm -rf "$out"' EXIT

(cd "$root" && cargo build --release -q -p tracker -p e2e --bin tracker --bin load)

redis() { redis-cli -s "$out/redis.sock" "$@"; }
redis_cpu() { redis info cpu | tr -d '\r' | awk -F: '/^used_cpu_(sys|user):/ { s += $2 } END { print s }'; }
# sum SERIES URL...: over all trackers, by the beginning of the series' name.
sum() {
  local series=$1
  shift
  for url in "$@"; do curl -fsS "http${url#ws}/metrics"; done |
    awk -v s="easypeers_tracker_$series" 'index($1, s) == 1 { n += $2 } END { printf "%d\n", n }'
}

# run NAME NODES TRACKER-OPTIONS...
run() {
  local name=$1 nodes=$2 node url urls=() load=()
  shift 2
  redis-server --port 0 --unixsocket "$out/redis.sock" --save '' --appendonly no --dir "$out" >/dev/null &
  pids+=($!)
  until redis ping >/dev/null 2>&1; do sleep 0.1; done
  for ((node = 0; node < nodes; node++)); do
    "$release/tracker" --listen 127.0.0.1:0 --drain-timeout 0s "$@" >"$out/log$node" 2>&1 &
    pids+=($!)
    load+=(--pid $!)
  done
  for ((node = 0; node < nodes; node++)); do
    until url=$(grep -om1 'ws://127\.0\.0\.1:[0-9]*' "$out/log$node"); do sleep 0.1; done
    urls+=("$url")
    load+=(--url "$url")
  done
  local before
  before=$(redis_cpu)
  "$release/load" rate "${load[@]}" --connections "$connections" --swarms "$swarms" --rate "$rate" \
    --offers "$offers" --duration "$duration" --warmup 3 --source-addresses 20 --settle 12 \
    --json "$out/$name.json" >&2
  printf '{"redis_cpu": %s, "announces": %s, "bus_bytes": %s, "frames": %s, "reads": %s, "writes": %s}\n' \
    "$(awk -v a="$(redis_cpu)" -v b="$before" 'BEGIN { print a - b }')" \
    "$(sum announces_total "${urls[@]}")" "$(sum cluster_sent_bytes_total "${urls[@]}")" \
    "$(sum cluster_frames_sent_total "${urls[@]}")" "$(sum cluster_reads_total "${urls[@]}")" \
    "$(sum cluster_writes_total "${urls[@]}")" >"$out/$name.more"
  stop
}

for ((round = 1; round <= rounds; round++)); do
  run "alone-$round" 1
  for nodes in 1 2 3; do
    run "$nodes-$round" "$nodes" --cluster-url "unix://$out/redis.sock"
  done
done

node - "$out" "$rounds" <<'JS'
const [, , out, rounds] = process.argv
const fs = require('fs')
const median = all => all.sort((a, b) => a - b)[Math.floor(all.length / 2)]
const over = (name, value) => {
  const all = []
  for (let round = 1; round <= rounds; round++) {
    const { windows: [window] } = JSON.parse(fs.readFileSync(`${out}/${name}-${round}.json`))
    const more = JSON.parse(fs.readFileSync(`${out}/${name}-${round}.more`))
    all.push(value(window, more) ?? NaN)
  }
  return median(all)
}
const show = (number, digits) => (Number.isNaN(number) ? '-' : number.toFixed(digits))
console.log(`| nodes | tracker, µs CPU per announce | Redis, µs CPU per announce | offers between nodes | offer here p50 / p99 ms | between nodes p50 / p99 ms | bus bytes per announce | reads, writes per announce |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |`)
for (const name of ['alone', '1', '2', '3']) {
  const get = (digits, value) => show(over(name, value), digits)
  console.log('| ' + [
    name,
    get(0, w => w.server_cpu_us_per_announce),
    get(1, (w, m) => m.redis_cpu * 1e6 / m.announces),
    get(0, w => 100 * w.crossed.offers / w.offers) + ' %',
    get(2, w => w.latency_ms.here_offer?.p50) + ' / ' + get(2, w => w.latency_ms.here_offer?.p99),
    get(2, w => w.latency_ms.crossed_offer?.p50) + ' / ' + get(2, w => w.latency_ms.crossed_offer?.p99),
    get(0, (w, m) => m.bus_bytes / m.announces),
    get(3, (w, m) => m.reads / m.announces) + ', ' + get(3, (w, m) => m.writes / m.announces),
  ].join(' | ') + ' |')
}
JS
