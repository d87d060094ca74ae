#!/usr/bin/env bash
# build.sh <out.wasm>: makes a component of app.py with componentize-py, which pip brings into
# guests/target. Says why on stdout when it cannot.
set -euo pipefail
cd "$(dirname "$0")"
VERSION=0.25.1
OUT=$(realpath -m "$1")
VENV=$(realpath -m ../target/venv-$VERSION)
[ ! "$OUT" -nt app.py ] || [ ! "$OUT" -nt ../wit/http.wit ] || exit 0
command -v python3 >/dev/null || { echo "no python3 on this machine"; exit 1; }
if [ ! -x "$VENV/bin/componentize-py" ]; then
  { python3 -m venv "$VENV" && "$VENV/bin/pip" install --quiet "componentize-py==$VERSION"; } >&2 ||
    { rm -rf "$VENV"; echo "pip could not bring componentize-py $VERSION"; exit 1; }
fi
"$VENV/bin/componentize-py" --quiet -d ../wit/http.wit -w http componentize app -o "$OUT.part" >&2 ||
  { echo "componentize-py failed"; exit 1; }
mv "$OUT.part" "$OUT"
