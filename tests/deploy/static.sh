#!/usr/bin/env bash
# Builds the static binaries as the image's build does, from the files that it gets, and runs them in an
# empty root as nobody: page, tracker, health checks, two peers that talk, shutdown. Arguments go to cargo.
set -euo pipefail
cd "$(dirname "$0")/../.."

root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
bare=$(mktemp -d)
context=$PWD/target/static/context
log=$(mktemp -d)
touch "$log"/{tracker,one}{,.said}
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  "${root[@]}" rm -rf "$bare" "$log"
}
trap finish EXIT

# .dockerignore leaves out everything but what it names.
[ "$(grep -v '^#' .dockerignore | head -1)" = '*' ]
rm -rf "$context"
sed -n 's/^!//p' .dockerignore | while read -r path; do
  mkdir -p "$context/$(dirname "$path")"
  cp -rp "$path" "$context/$path"
done
export EASYPEERS_REVISION=0123456789ab CARGO_TARGET_DIR=$PWD/target/static
"$context/deploy/build-static.sh" "$bare" "$(dpkg --print-architecture)" "$@"

for binary in tracker peer; do
  # ldd's word for one that needs no library, with or without a fixed address.
  if ! ldd "$bare/$binary" 2>&1 | grep -q 'statically linked\|not a dynamic executable'; then
    echo "$binary is not static" >&2
    exit 1
  fi
done
ls -l "$bare"
# What every container engine puts there (OCI runtime specification, default devices), as far as it is
# needed: names of this host, and randomness, which static binaries cannot ask the C library for.
mkdir "$bare/etc" "$bare/dev"
printf '127.0.0.1 localhost\n' >"$bare/etc/hosts"
"${root[@]}" mknod -m 666 "$bare/dev/random" c 1 8
"${root[@]}" mknod -m 666 "$bare/dev/urandom" c 1 9
chmod -R go+rX "$bare"
# Not a function: behind one, $! is a shell.
in_bare=("${root[@]}" chroot --userspec=65534:65534 "$bare")

wait_for() {
  local deadline=$((SECONDS + 60))
  until grep -q "$1" "$2"; do
    if [ $SECONDS -ge $deadline ]; then
      tail -n 50 "$log"/*
      echo "waited in vain for: $1" >&2
      exit 1
    fi
    sleep 0.1
  done
}

"${in_bare[@]}" /tracker --version | grep 0123456789ab >/dev/null
"${in_bare[@]}" /tracker --listen 127.0.0.1:0 >"$log/tracker" 2>"$log/tracker.said" &
tracker=$!
pids+=("$tracker")
wait_for '^websocket' "$log/tracker"
address=$(sed -n 's|^websocket  ws://||p' "$log/tracker")
curl -fsS "http://$address/" | grep '<title>' >/dev/null
curl -fsS "http://$address/metrics" | grep '^easypeers_tracker_connections 0$' >/dev/null
"${in_bare[@]}" /tracker healthcheck --listen "$address"
# Under sudo the process is sudo's child.
[ "$(id -u)" -ne 0 ] || grep -q '^Uid:[[:space:]]*65534' "/proc/$tracker/status"

# By name: a static binary has to resolve it.
peer=(/peer static --tracker "ws://localhost:${address##*:}" --bind 127.0.0.1)
"${in_bare[@]}" "${peer[@]}" --stay --metrics-listen 127.0.0.1:0 </dev/null >"$log/one" 2>"$log/one.said" &
pids+=("$!")
wait_for 'metrics at' "$log/one.said"
metrics=$(sed -n 's|.*http://\(.*\)/metrics.*|\1|p' "$log/one.said")
"${in_bare[@]}" /peer --healthcheck --metrics-listen "$metrics"
echo 'from one root to another' | "${in_bare[@]}" "${peer[@]}" >"$log/two" 2>&1
wait_for 'from one root to another' "$log/one"

kill -TERM "$tracker"
wait "$tracker"
wait_for 'stopped' "$log/tracker.said"
echo 'ok: static binaries'
