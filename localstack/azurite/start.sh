#!/usr/bin/env bash
# start.sh INSTALLED FOLDER PORT: Azurite's blobs, in memory.
set -euo pipefail
installed=$1 port=$3
exec node "$installed/node_modules/azurite/dist/src/blob/main.js" --silent --inMemoryPersistence \
  --blobHost 127.0.0.1 --blobPort "$port" --skipApiVersionCheck --disableTelemetry --loose
