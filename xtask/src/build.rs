//! How the steps call cargo, so that what they share is compiled once.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// The features that every step builds with. Cargo compiles a dependency with the features that all selected packages ask
/// for together: another selection, or other features, is another build of tokio and of all that stands on it.
const SHARED: [&str; 2] = [
    "--features",
    "integration-tests/services,strait-testkit/served,strait/eventhubs-entra,strait/kinesis,strait/pubsub,strait/sqs",
];

/// The cargo that runs this, with these arguments.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// `cargo COMMAND`, over what all steps build.
pub(crate) fn shared(command: &str) -> Command {
    cargo([command].into_iter().chain(SHARED))
}

/// `cargo COMMAND`, over what all steps build and the tests that need emulators.
pub(crate) fn with_emulators(command: &str) -> Command {
    let mut cargo = shared(command);
    cargo.args(["--features", "integration-tests/emulators"]);
    cargo
}

/// `cargo COMMAND`, over what all steps build, with the crates of this workspace compiled again with planted faults.
pub(crate) fn planted(command: &str) -> Command {
    let mut cargo = shared(command);
    cargo.env("RUSTC_WORKSPACE_WRAPPER", Path::new(env!("CARGO_MANIFEST_DIR")).join("planted.sh"));
    cargo
}

/// A program that such a build has made, by its path below the folder of the profile.
pub(crate) fn program(path: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("debug").join(path)
}
