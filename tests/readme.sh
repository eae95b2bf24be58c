#!/usr/bin/env bash
# Runs the README's first commands as they stand, but on a free port: the tracker, asked what a person
# would ask, and two peers that talk through it.
set -euo pipefail
cd "$(dirname "$0")/.."

command=$(grep -m1 -o '^cargo run --release -p tracker' README.md)
peer=$(grep -m1 -o '^cargo run --release -p peer' README.md)
folder=$(mktemp -d)
output=$folder/tracker
# Built first, so that the waits below are for the programs alone; one by one, as the commands will: cargo
# chooses the features of what both need by the packages that it is asked for.
cargo build --release --locked -p tracker
cargo build --release --locked -p peer
: >"$output"
$command -- --listen 127.0.0.1:0 >"$output" 2>&1 &
pid=$!
trap 'kill "$pid" 2>/dev/null || true; rm -rf "$folder"' EXIT

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
# Not grep -q: it ends at its first line, and curl fails when nobody takes the rest.
curl -fsS "$url" | grep '<h1>Easypeers</h1>' >/dev/null
curl -fsS "${url}stats.json" | grep '"swarms":0' >/dev/null
curl -fsS "${url}metrics" | grep '^easypeers_tracker_connections 0$' >/dev/null
curl -fsS "${url}readyz" >/dev/null

# A peer that stays until it is told to leave, and one whose input is a pipe.
peers() { $peer -- "$@" --tracker "${url/http/ws}"; }
mkfifo "$folder/keyboard"
peers <"$folder/keyboard" >"$folder/heard" 2>"$folder/said" &
listener=$!
exec 3>"$folder/keyboard"
echo 'hello from the README' | peers 2>>"$folder/said"
deadline=$((SECONDS + 60))
until grep -qx '[0-9a-f]*: hello from the README' "$folder/heard"; do
  if [ $SECONDS -ge $deadline ] || ! kill -0 "$listener" 2>/dev/null; then
    cat "$folder/said"
    echo 'the peers did not talk' >&2
    exit 1
  fi
  sleep 0.1
done
exec 3>&-
wait "$listener"
echo "ok: $peer"

kill -TERM "$pid"
wait "$pid"
echo "ok: $command"
