#!/usr/bin/env bash
# Builds every guest into guests/dist/<name>.wasm; takes a second when nothing has changed.
#
# The Rust guests need cargo and what wasm-rustc.sh brings. Guests in other languages are built
# when their tools are there, or named as left out; GUESTS_ALL=1 makes leaving one out a failure.
#   guests/build.sh            all of them
#   guests/build.sh --rust     the Rust guests alone
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p dist

# WASI 0.2: servers and whatever uses sockets. WASI 0.1: core modules, which keep their exit code.
COMPONENTS="hello-http echo-tcp kv-http fetch fetch-http slow-start"
MODULES="ticker crash hog spin"
OTHERS=""

# Keeps the file of before when its content is the same, so that nobody compiles it again.
keep() { # from to
  cmp -s "$1" "$2" || { cp "$1" "$2.part" && mv "$2.part" "$2" && echo "guests: $2"; }
}

# The guests' compiler must not become the host's, nor the host's settings the guests'.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
export CARGO_TARGET_DIR="$PWD/target"
RUSTC="$(./wasm-rustc.sh)"
export RUSTC

flags() { for name in $1; do printf -- '--bin %s ' "$name"; done; }
# shellcheck disable=SC2046 # the flags are words
cargo build --quiet --release --locked --target wasm32-wasip2 $(flags "$COMPONENTS")
# shellcheck disable=SC2046
cargo build --quiet --release --locked --target wasm32-wasip1 $(flags "$MODULES")
for name in $COMPONENTS; do keep "target/wasm32-wasip2/release/$name.wasm" "dist/$name.wasm"; done
for name in $MODULES; do keep "target/wasm32-wasip1/release/$name.wasm" "dist/$name.wasm"; done
unset RUSTC

[ "${1:-}" != --rust ] || exit 0
for name in $OTHERS; do
  if why="$("./$name/build.sh" "target/$name.wasm")"; then
    keep "target/$name.wasm" "dist/$name.wasm"
  elif [ "${GUESTS_ALL:-}" = 1 ]; then
    echo "guests: $name: $why" >&2
    exit 1
  else
    echo "guests: $name is left out: $why" >&2
  fi
done
