#!/usr/bin/env bash
# This repository's tracker alone: what an announce, a relayed offer and an answer cost, how much a
# closed loop reaches, and the memory of idle connections; over ws and over wss. About four minutes.
#
# Settings, as environment variables: DURATION (15), IDLE connections (10000).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
release=${CARGO_TARGET_DIR:-$root/target}/release
duration=${DURATION:-15} idle=${IDLE:-10000}
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
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
  -keyout "$out/key.pem" -out "$out/cert.pem" -subj /CN=localhost 2>/dev/null

for scheme in ws wss; do
  tls=()
  [[ $scheme == ws ]] || tls=(--tls-cert "$out/cert.pem" --tls-key "$out/key.pem")
  for mode in cost max idle; do
    options=(--duration "$duration")
    case $mode in
      cost) options+=(--rate 500) ;;
      # One connection announces far oftener here than any client does.
      max) tls+=(--max-messages-per-second 100000) ;;
      idle) options=(--duration 1 --connections "$idle") ;;
    esac
    "$release/tracker" --listen 127.0.0.1:0 --drain-timeout 0s "${tls[@]}" >"$out/log" 2>&1 &
    pid=$!
    until url=$(grep -om1 "$scheme://127\.0\.0\.1:[0-9]*" "$out/log"); do sleep 0.1; done
    printf '\n== %s over %s\n' "$mode" "$scheme"
    "$release/load" "$mode" --url "$url" --pid $pid --insecure --source-addresses 20 "${options[@]}"
    stop
  done
done
