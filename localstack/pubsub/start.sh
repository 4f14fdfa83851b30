#!/usr/bin/env bash
# start.sh INSTALLED FOLDER PORT: Google's Pub/Sub emulator.
set -euo pipefail
installed=$1 port=$3
exec java -Xmx4g -jar "$installed/emulator.jar" --host=127.0.0.1 --port="$port"
