#!/usr/bin/env bash
# install.sh FOLDER: finds Google's Pub/Sub emulator. No registry of packages that we know has it.
set -euo pipefail
folder=$1
jar=""
for candidate in "${STRAIT_PUBSUB_JAR:-}" \
  {/usr/lib,/usr/share,/opt,"$HOME"}/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar; do
  if [[ -f $candidate ]]; then jar=$candidate && break; fi
done
missing=()
[[ -n $jar ]] || missing+=("Google's Pub/Sub emulator: 'gcloud components install pubsub-emulator', or Google's Debian package
  google-cloud-cli-pubsub-emulator, or STRAIT_PUBSUB_JAR=/path/of/cloud-pubsub-emulator-0.8.20-all.jar")
java -version >/dev/null 2>&1 || missing+=("Java 11 or newer (Debian: default-jre-headless)")
if ((${#missing[@]})); then
  printf 'missing: %s\n' "${missing[@]}" >&2
  exit 1
fi
ln -s "$jar" "$folder/emulator.jar"
