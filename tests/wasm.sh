#!/usr/bin/env bash
# Builds the browser peer, `easypeers` for WebAssembly, into tracker/web/pkg/. Run it after changes to
# peer/easypeers, peer/core, shared or peer/js and commit the result; `bash tests/wasm.sh check` tells whether that is due, and a
# cargo test runs it.
#
# The standard library's source is that of rustup (`rustup component add rust-src`) where it can be had, else
# that of Debian's rustc-web.
set -euo pipefail
cd "$(dirname "$0")/.."

target=wasm32-unknown-unknown
package=tracker/web/pkg
tools=target/wasm-tools
esbuild=0.28.2
binaryen=132.0.0

# What the package is made of: everything but tests and what is native only.
sources() {
  find peer/{core,easypeers}/{src,Cargo.toml} shared/{src,Cargo.toml} peer/js -type f \
    ! -path '*/tests/*' ! -name tests.rs ! -path '*/native/*' ! -name native.rs -print0 |
    LC_ALL=C sort -z | xargs -0 sha256sum
}

if [ "${1:-}" = check ]; then
  if ! diff <(sources) "$package/sources.sha256"; then
    echo "$package was built from other sources: run bash tests/wasm.sh and commit what it makes" >&2
    exit 1
  fi
  exit 0
fi

root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

version=$(sed -n 's/^wasm-bindgen = "=\(.*\)" #.*/\1/p' Cargo.toml)
if ! "$tools/bin/wasm-bindgen" --version 2>/dev/null | grep -qx "wasm-bindgen $version"; then
  cargo install wasm-bindgen-cli --version "$version" --root "$tools"
fi
npm install --prefix "$tools" --no-save --no-audit --no-fund --loglevel=error \
  "esbuild@$esbuild" "binaryen@$binaryen"

# The standard library is built along, small rather than fast: a panic is a trap without words, which saves a fifth
# of the size; nothing is formatted for debugging, no place in a source is named. SHA-2 is a loop.
RUSTFLAGS='-Z unstable-options -C panic=immediate-abort -Z fmt-debug=none -Z location-detail=none'
RUSTFLAGS+=' --cfg sha2_backend_soft="compact"'
export RUSTFLAGS RUSTC_BOOTSTRAP=1
sysroot=$(rustc --print sysroot)
if command -v rustup >/dev/null && rustup component add rust-src 2>/dev/null; then
  linker=
else
  if ! dpkg -s rust-web-src >/dev/null 2>&1; then
    root apt-get update -q
    DEBIAN_FRONTEND=noninteractive root apt-get install -y -q rustc-web rust-web-src
  fi
  linker=$(find "$sysroot" -name rust-lld | head -n 1)
  export RUSTC=/usr/bin/rustc
fi
CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=${linker:-rust-lld} \
  cargo rustc --locked -p easypeers --features compat --lib --crate-type cdylib --profile wasm --target "$target" \
  -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size

made=$tools/made
rm -rf "$made"
"$tools/bin/wasm-bindgen" --target web --no-typescript --out-dir "$made" --out-name wasm \
  "target/$target/wasm/easypeers.wasm"
mkdir -p "$package"
"$tools/node_modules/.bin/wasm-opt" -Oz --enable-bulk-memory --enable-nontrapping-float-to-int \
  --enable-sign-ext --enable-mutable-globals --enable-reference-types --enable-multivalue \
  -o "$package/easypeers.wasm" "$made/wasm_bg.wasm"
bundle() { # FILE SOURCE OPTION...
  "$tools/node_modules/.bin/esbuild" "peer/js/$2" --bundle --minify --charset=utf8 --target=es2022 \
    --alias:easypeers-wasm="./$made/wasm.js" --log-level=warning --outfile="$package/$1" "${@:3}"
}
bundle easypeers.mjs module.js --format=esm
# Given its bytes, it needs no address of its own.
bundle easypeers.js script.js --format=iife --define:import.meta.url=undefined
cp peer/js/easypeers.d.ts peer/js/package.json peer/js/README.md LICENSE "$package/"
sources >"$package/sources.sha256"
wc -c "$package"/easypeers.*
