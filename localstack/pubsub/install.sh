#!/usr/bin/env bash
# install.sh FOLDER: finds Google's Pub/Sub emulator, which no registry of packages that we know has. And installs Google's
# client for Python, for a test that reads what it writes.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
runs() { "$1" --version >/dev/null 2>&1; } # a shim of pyenv may exist and not run

python=""
for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13 \
  python3.11 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11*/bin/python3.11; do
  if runs "$candidate"; then python=$candidate && break; fi
done
jar=""
for candidate in "${STRAIT_PUBSUB_JAR:-}" \
  {/usr/lib,/usr/share,/opt,"$HOME"}/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar; do
  if [[ -f $candidate ]]; then jar=$candidate && break; fi
done
missing=()
[[ -n $jar ]] || missing+=("Google's Pub/Sub emulator: 'gcloud components install pubsub-emulator', or Google's Debian package
  google-cloud-cli-pubsub-emulator, or STRAIT_PUBSUB_JAR=/path/of/cloud-pubsub-emulator-0.8.20-all.jar")
[[ -n $python ]] || missing+=("Python 3.13 or 3.11 (Debian: python3 python3-venv)")
if [[ -n $python ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then missing+=("Python's venv (Debian: python3-venv)"); fi
java -version >/dev/null 2>&1 || missing+=("Java 11 or newer (Debian: default-jre-headless)")
if ((${#missing[@]})); then
  printf 'missing: %s\n' "${missing[@]}" >&2
  exit 1
fi
ln -s "$jar" "$folder/emulator.jar"

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps --disable-pip-version-check -r "$here/requirements.txt"
