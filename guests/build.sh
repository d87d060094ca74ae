#!/usr/bin/env bash
# Builds every guest into guests/dist/<name>.wasm; takes a second when nothing has changed.
#
#   guests/build.sh         the Rust guests; they need cargo and what wasm-rustc.sh brings
#   guests/build.sh --all   those in other languages, too (also with GUESTS_ALL=1); pip and npm bring
#                           what they need, up to 400 MB. One that cannot be built is named with the
#                           reason and left out; with GUESTS_ALL=required that is a failure.
set -euo pipefail
cd "$(dirname "$0")"
mkdir -p dist

# WASI 0.2: servers and whatever uses sockets. WASI 0.1: core modules, which keep their exit code.
COMPONENTS="hello-http echo-tcp kv-http fetch fetch-http slow-start"
MODULES="ticker crash hog spin toolbox"
# WASI 0.3, which nodes run behind a flag.
ASYNC="hello-p3"
OTHERS="hello-c hello-js hello-py"

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
cargo build --quiet --release --locked --target wasm32-wasip2 --package "$ASYNC"
for name in $COMPONENTS; do keep "target/wasm32-wasip2/release/$name.wasm" "dist/$name.wasm"; done
for name in $MODULES; do keep "target/wasm32-wasip1/release/$name.wasm" "dist/$name.wasm"; done
keep "target/wasm32-wasip2/release/${ASYNC//-/_}.wasm" "dist/$ASYNC.wasm"
unset RUSTC

[ "${1:-}" = --all ] || [ -n "${GUESTS_ALL:-}" ] || exit 0
for name in $OTHERS; do
  if why="$("./$name/build.sh" "$PWD/target/$name.wasm")"; then
    keep "target/$name.wasm" "dist/$name.wasm"
  elif [ "${GUESTS_ALL:-}" = required ]; then
    echo "guests: $name: $why" >&2
    exit 1
  else
    echo "guests: $name is left out: $why" >&2
  fi
done
