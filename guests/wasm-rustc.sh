#!/usr/bin/env bash
# Finds a compiler for the guests and prints its path, for use as RUSTC with
# --target wasm32-wasip1 and --target wasm32-wasip2. Never use it for the host's own crates.
#
#   GUEST_TOOLCHAIN=auto     rustup's compiler, its Wasm targets added when missing; where rustup
#                            cannot, as `debian` (the default)
#   GUEST_TOOLCHAIN=debian   Debian's compiler and a standard library built from Debian's sources,
#                            kept in GUEST_SYSROOT (~/.cache/guest-sysroot): needs Debian's
#                            packages and crates.io, and nothing else. CI uses this one.
#
# The linkers, rust-lld and wasm-component-ld, are those of the installed Rust in both cases.
set -euo pipefail

SYSROOT=${GUEST_SYSROOT:-$HOME/.cache/guest-sysroot}
TARGETS=${GUEST_TARGETS:-wasm32-wasip1 wasm32-wasip2}

installed() {
  local libraries
  libraries="$(rustc --print sysroot)/lib/rustlib"
  for target in $TARGETS; do [ -d "$libraries/$target/lib" ] || return 1; done
}

if [ "${GUEST_TOOLCHAIN:-auto}" = auto ]; then
  # shellcheck disable=SC2086 # the targets are words
  installed || { command -v rustup >/dev/null && rustup target add $TARGETS >&2; } || true
  if installed; then command -v rustc; exit 0; fi
  echo "guests: rustup has no Wasm targets here; trying Debian's packages" >&2
fi

# DEB_ROOT names a folder that the packages were unpacked into; without it they are installed.
DEB=${DEB_ROOT:-}
if [ -z "$DEB" ] && ! { [ -x /usr/bin/rustc ] && [ -d /usr/lib/wasm32-wasi ]; }; then
  if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "guests: a Wasm toolchain is missing: run 'rustup target add $TARGETS', or run this as root on Debian" >&2
    exit 1
  fi
  echo "guests: installing rustc-web, rust-web-src and wasi-libc (once)" >&2
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends rustc-web rust-web-src wasi-libc; } >&2
fi
COMPILER="$DEB/usr/bin/rustc"
[ -z "$DEB" ] || export LD_LIBRARY_PATH="$DEB/usr/lib/x86_64-linux-gnu"
HOST=$(rustc -vV | sed -n 's/^host: //p')

# Built once for each compiler and list of targets.
STAMP="$("$COMPILER" -vV | sed -n 's/^commit-hash: //p') $TARGETS"
if [ "$(cat "$SYSROOT/stamp" 2>/dev/null)" = "$STAMP" ]; then
  echo "$SYSROOT/bin/rustc"
  exit 0
fi
echo "guests: building the Wasm standard library (once, about a minute)" >&2
rm -rf "$SYSROOT"
mkdir -p "$SYSROOT/bin" "$SYSROOT/lib/rustlib/$HOST" "$SYSROOT/seed/src"
ln -s "$(rustc --print sysroot)/lib/rustlib/$HOST/bin" "$SYSROOT/lib/rustlib/$HOST/bin"
# Procedural macros are built with the same RUSTC, for the host.
ln -s "$DEB/usr/lib/rustlib/$HOST/lib" "$SYSROOT/lib/rustlib/$HOST/lib"

# An empty crate whose only purpose is that cargo builds std for it.
cat > "$SYSROOT/seed/Cargo.toml" <<'TOML'
[package]
name = "seed"
version = "0.0.0"
edition = "2021"
[workspace]
[profile.release]
codegen-units = 1
TOML
echo '#![no_std]' > "$SYSROOT/seed/src/lib.rs"
for target in $TARGETS; do
  ( cd "$SYSROOT/seed"
    RUSTC="$COMPILER" RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$SYSROOT/seed/target" \
      cargo build -q --release -Zbuild-std=std,panic_abort -Zbuild-std-features= --target "$target" >&2 )
  libraries="$SYSROOT/lib/rustlib/$target/lib"
  mkdir -p "$libraries/self-contained"
  cp "$SYSROOT/seed/target/$target/release/deps/"*.rlib "$libraries/"
  rm -f "$libraries"/libseed*
  cp "$DEB"/usr/lib/wasm32-wasi/crt1*.o "$DEB"/usr/lib/wasm32-wasi/lib*.a "$libraries/self-contained/"
done
rm -rf "$SYSROOT/seed"

printf '#!/bin/sh\n%sexec %s --sysroot %s "$@"\n' \
  "${DEB:+LD_LIBRARY_PATH=$LD_LIBRARY_PATH }" "$COMPILER" "$SYSROOT" > "$SYSROOT/bin/rustc"
chmod +x "$SYSROOT/bin/rustc"

# An entry point of our own. With Debian's, of 2022, it is the linker that runs the constructors,
# in a wrapper around every export: cabi_realloc then calls the host while the host is lowering a
# call, and a wasip2 guest with a preopened directory traps with "cannot leave component instance".
cat > "$SYSROOT/crt1.rs" <<'RS'
#![no_std]
extern "C" {
    fn __wasm_call_ctors();
    fn __main_void() -> i32;
    fn __wasm_call_dtors();
    fn __wasi_proc_exit(code: i32) -> !;
}
#[no_mangle]
pub extern "C" fn _start() {
    unsafe {
        __wasm_call_ctors();
        let code = __main_void();
        __wasm_call_dtors();
        if code != 0 {
            __wasi_proc_exit(code)
        }
    }
}
RS
for target in $TARGETS; do
  case $target in *wasi*)
    "$SYSROOT/bin/rustc" --edition 2021 --target "$target" --crate-type lib --emit obj -O -Cpanic=abort \
      -Ccodegen-units=1 -o "$SYSROOT/lib/rustlib/$target/lib/self-contained/crt1-command.o" "$SYSROOT/crt1.rs" ;;
  esac
done
echo "$STAMP" > "$SYSROOT/stamp"
echo "$SYSROOT/bin/rustc"
