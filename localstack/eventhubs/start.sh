#!/usr/bin/env bash
# start.sh INSTALLED FOLDER PORT: this project's emulator of Event Hubs, with the hubs of the example. Built, if it is
# not yet.
set -euo pipefail
port=$3
cd "$(dirname "$0")/../.."
cargo build --quiet --package strait-eventhubs-emulator
exec "${CARGO_TARGET_DIR:-target}/debug/strait-eventhubs-emulator" --listen "127.0.0.1:$port" \
  --config crates/strait/examples/orders/hubs.toml
