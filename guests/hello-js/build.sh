#!/usr/bin/env bash
# build.sh <out.wasm>: makes a component of app.js with componentize-js, which npm brings into
# guests/target. Says why on stdout when it cannot.
set -euo pipefail
cd "$(dirname "$0")"
VERSION=0.23.0
OUT=$(realpath -m "$1")
MODULES=$(realpath -m ../target/npm-$VERSION)
[ ! "$OUT" -nt app.js ] || [ ! "$OUT" -nt build.mjs ] || [ ! "$OUT" -nt ../wit/http.wit ] || exit 0
command -v node >/dev/null && command -v npm >/dev/null || { echo "no node and npm on this machine"; exit 1; }
if [ ! -d "$MODULES/node_modules/@bytecodealliance/componentize-js" ]; then
  npm install --silent --no-audit --no-fund --prefix "$MODULES" "@bytecodealliance/componentize-js@$VERSION" >&2 ||
    { rm -rf "$MODULES"; echo "npm could not bring componentize-js $VERSION"; exit 1; }
fi
# Modules are looked for from where the importing file lies.
cp build.mjs app.js "$MODULES/"
node "$MODULES/build.mjs" "$PWD/../wit/http.wit" "$OUT.part" >&2 || { echo "componentize-js failed"; exit 1; }
mv "$OUT.part" "$OUT"
