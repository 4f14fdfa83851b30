#!/usr/bin/env bash
# install.sh FOLDER: LocalStack with what it would download by itself: Kinesis and DynamoDB.
set -euo pipefail
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
missing=()
runs() { "$1" --version >/dev/null 2>&1; } # a shim of pyenv may exist and not run

python="" requirements=""
for candidate in python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13; do
  if runs "$candidate"; then python=$candidate requirements=requirements-2026.3.0-py313.txt && break; fi
done
if [[ -z $python ]]; then
  for candidate in python3.11 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.11*/bin/python3.11; do
    if runs "$candidate"; then python=$candidate requirements=requirements-4.9.2-py311.txt && break; fi
  done
fi
[[ -n $python ]] || missing+=("Python 3.13 or 3.11 (Debian: python3 python3-venv)")
if [[ -n $python ]] && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then missing+=("Python's venv (Debian: python3-venv)"); fi
runs java || java -version >/dev/null 2>&1 || missing+=("Java 8 or newer (Debian: default-jre-headless)")
runs node || missing+=("Node 18 or newer (Debian: nodejs)")
runs npm || missing+=("npm (Debian: npm)")
if ((${#missing[@]})); then
  printf 'missing: %s\n' "${missing[@]}" >&2
  exit 1
fi

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-deps --disable-pip-version-check -r "$here/$requirements"

lib=$folder/lib
mkdir -p "$lib/kinesis-local/0.6.2" "$lib/java/21/bin" "$lib/dynamodb-local"
npm install --silent --no-audit --no-fund --prefix "$lib/kinesis-local/0.6.2" kinesis-local@0.6.2

# Amazon's DynamoDBLocal comes inside this package; nothing else of it is wanted.
simulator=amplify-dynamodb-simulator@2.9.30
integrity=xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==
mkdir "$folder/unpack"
cd "$folder/unpack"
archive=$(npm pack --silent "$simulator")
"$folder/venv/bin/python" - "$archive" "$integrity" <<'PYTHON'
import base64, hashlib, sys
with open(sys.argv[1], "rb") as archive:
    if base64.b64encode(hashlib.sha512(archive.read()).digest()).decode() != sys.argv[2]:
        sys.exit("the DynamoDB simulator is not what was pinned")
PYTHON
tar xzf "$archive"
mv package/emulator "$lib/dynamodb-local/2"
cd "$folder"
rm -rf unpack

# LocalStack adds an agent to Java that we do not have, nor need.
cat >"$lib/java/21/bin/java" <<JAVA
#!/usr/bin/env bash
arguments=()
for argument in "\$@"; do case \$argument in -javaagent:*) ;; *) arguments+=("\$argument") ;; esac; done
exec "$(command -v java)" "\${arguments[@]}"
JAVA
chmod +x "$lib/java/21/bin/java"
