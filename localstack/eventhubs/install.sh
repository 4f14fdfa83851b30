#!/usr/bin/env bash
# install.sh FOLDER: Azure's clients of Event Hubs for Python and JavaScript. The emulator itself is of this project.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
runs() { "$1" --version >/dev/null 2>&1; } # a shim of pyenv may exist and not run

python=""
for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13 \
  python3.11 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11*/bin/python3.11; do
  if runs "$candidate"; then python=$candidate && break; fi
done
missing=()
[[ -n $python ]] || missing+=("Python 3.13 or 3.11 (Debian: python3 python3-venv)")
if [[ -n $python ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then missing+=("Python's venv (Debian: python3-venv)"); fi
node --version >/dev/null 2>&1 || missing+=("Node 20 or newer (Debian: nodejs)")
npm --version >/dev/null 2>&1 || missing+=("npm (Debian: npm)")
if ((${#missing[@]})); then
  printf 'missing: %s\n' "${missing[@]}" >&2
  exit 1
fi

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps --disable-pip-version-check -r "$here/requirements.txt"

cp "$here/package.json" "$here/package-lock.json" "$folder"
cd "$folder"
npm ci --silent --ignore-scripts --no-audit --no-fund
