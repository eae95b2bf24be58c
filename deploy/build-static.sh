#!/bin/sh
# Builds tracker and peer as static binaries into a folder: build-static.sh OUTPUT [amd64|arm64]
# [cargo options]. Static against glibc, so that the host's own toolchain does it; name resolution
# works without files beside the binary since glibc 2.34; randomness needs /dev/random and
# /dev/urandom.
set -eu
cd "$(dirname "$0")/.."

output=$1
shift
arch=${1:-$(dpkg --print-architecture)}
[ $# -eq 0 ] || shift
case $arch in
  amd64) target=x86_64-unknown-linux-gnu triple=x86_64-linux-gnu variable=X86_64_UNKNOWN_LINUX_GNU ;;
  arm64) target=aarch64-unknown-linux-gnu triple=aarch64-linux-gnu variable=AARCH64_UNKNOWN_LINUX_GNU ;;
  *)
    echo "no such architecture: $arch" >&2
    exit 2
    ;;
esac

# A C compiler for the target: the host's own, or Debian's cross compiler.
if ! cc -dumpmachine | grep -q "^${triple%%-*}"; then
  export "CARGO_TARGET_${variable}_LINKER=$triple-gcc"
  export "CC_$(echo "$target" | tr - _)=$triple-gcc"
fi

export RUSTFLAGS='-C target-feature=+crt-static'
cargo build --release --locked --target "$target" --package tracker --package peer "$@"

mkdir -p "$output"
for binary in tracker peer; do
  # Symbols stay, for backtraces; what debuggers read is four fifths of the file.
  "$triple-strip" --strip-debug -o "$output/$binary" "${CARGO_TARGET_DIR:-target}/$target/release/$binary"
done
