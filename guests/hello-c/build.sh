#!/usr/bin/env bash
# build.sh <out.wasm>: makes a component of hello.c, with clang where it knows wasm32, else with the
# C compiler of zig, which pip brings into guests/target; rust's wasm-component-ld links it. Says
# why on stdout when it cannot.
set -euo pipefail
cd "$(dirname "$0")"
ZIG=0.17.1
OUT=$(realpath -m "$1")
VENV=$(realpath -m ../target/venv-zig-$ZIG)
[ ! "$OUT" -nt hello.c ] || [ ! "$OUT" -nt ../wit/http.wit ] || exit 0
LINKERS="$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin"
[ -x "$LINKERS/wasm-component-ld" ] || { echo "this Rust comes without wasm-component-ld"; exit 1; }
if clang --print-targets 2>/dev/null | grep -q wasm32; then
  CC="clang --target=wasm32"
else
  command -v python3 >/dev/null || { echo "neither clang for wasm32 nor python3 on this machine"; exit 1; }
  if [ ! -d "$VENV/lib" ]; then
    { python3 -m venv "$VENV" && "$VENV/bin/pip" install --quiet "ziglang==$ZIG"; } >&2 ||
      { rm -rf "$VENV"; echo "pip could not bring zig $ZIG"; exit 1; }
  fi
  CC="$VENV/bin/python -m ziglang cc -target wasm32-freestanding"
fi
# shellcheck disable=SC2086 # the compiler is words
$CC -c -Os -ffreestanding -nostdlib -Wall -Wextra hello.c -o "$OUT.o" >&2 ||
  { echo "hello.c does not compile"; exit 1; }
"$LINKERS/wasm-component-ld" --wasm-ld-path "$LINKERS/gcc-ld/wasm-ld" --no-entry --strip-all \
  --component-type ../wit/http.wit "$OUT.o" -o "$OUT.part" >&2 || { echo "hello.c does not fit http.wit"; exit 1; }
mv "$OUT.part" "$OUT"
