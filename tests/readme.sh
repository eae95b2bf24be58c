#!/usr/bin/env bash
# Runs the README's first command as it stands, but on a free port, and asks what a person would.
set -euo pipefail
cd "$(dirname "$0")/.."

command=$(grep -m1 -o '^cargo run --release -p tracker' README.md)
output=$(mktemp)
# Built first, so that the wait below is for the server alone.
cargo build --release --locked -p tracker
$command -- --listen 127.0.0.1:0 >"$output" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; rm -f "$output"' EXIT

deadline=$((SECONDS + 60))
until url=$(grep -om1 'http://127\.0\.0\.1:[0-9]*/' "$output"); do
  if [ $SECONDS -ge $deadline ] || ! kill -0 "$pid" 2>/dev/null; then
    cat "$output"
    echo 'the tracker did not say where its page is' >&2
    exit 1
  fi
  sleep 0.1
done
grep -q 'ws://127\.0\.0\.1:[0-9]*' "$output"
curl -fsS "$url" | grep -q '<h1>Easypeers tracker</h1>'
curl -fsS "${url}stats.json" | grep -q '"swarms":0'
curl -fsS "${url}metrics" | grep -q '^easypeers_tracker_connections 0$'
curl -fsS "${url}readyz" >/dev/null
kill -TERM "$pid"
wait "$pid"
echo "ok: $command"
