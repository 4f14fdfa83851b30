#!/bin/sh
# The compiler, for a build in which faults are planted. Cargo calls it for the crates of this workspace only
# (RUSTC_WORKSPACE_WRAPPER), so that their dependencies are those of every other build.
exec "$@" --cfg strait_faults
