#!/usr/bin/env bash
# install.sh FOLDER: Azurite, by its lock file.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
missing=()
node --version >/dev/null 2>&1 || missing+=("Node 18 or newer (Debian: nodejs)")
npm --version >/dev/null 2>&1 || missing+=("npm (Debian: npm)")
if ((${#missing[@]})); then
  printf 'missing: %s\n' "${missing[@]}" >&2
  exit 1
fi
cp "$here/package.json" "$here/package-lock.json" "$folder"
cd "$folder"
npm ci --silent --ignore-scripts --no-audit --no-fund
