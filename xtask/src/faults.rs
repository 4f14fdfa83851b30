use std::{env, path::PathBuf, process::Command};

use crate::step::{Steps, cargo};

/// How many seeds the gate simulates. `cargo test` alone does fewer.
const SEEDS: &str = "2000";

/// Simulates coordination, through more seeds than `cargo test` does.
pub(crate) fn simulate(steps: &mut Steps) -> Result<(), String> {
    let mut simulation = cargo(["test", "--package", "strait-kit", "--test", "simulation"]);
    steps.run("simulation of coordination", simulation.env("STRAIT_SEEDS", SEEDS))
}

/// Shows that each conformance case fails on the fault that it names, and that the simulation finds each planted defect.
/// Faults are there only in a build of their own.
pub(crate) fn prove(steps: &mut Steps) -> Result<(), String> {
    let mut proof = planted(["run", "--quiet", "--package", "integration-tests", "--bin", "proof"]);
    steps.run("proof that each case can fail", &mut proof)?;
    let mut defects =
        planted(["test", "--package", "strait-kit", "--test", "simulation", "--", "planted", "--nocapture"]);
    steps.run("proof that the simulation finds defects", &mut defects)
}

/// Cargo, for a build in which faults are planted.
fn planted<const N: usize>(arguments: [&str; N]) -> Command {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut command = cargo(arguments);
    command.env("CARGO_TARGET_DIR", target.join("faults")).env("RUSTFLAGS", format!("{flags} --cfg strait_faults"));
    command
}
