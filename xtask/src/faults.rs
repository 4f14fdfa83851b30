use std::{env, path::PathBuf};

use crate::step::{Steps, cargo};

/// Shows that each conformance case fails on the fault that it names. Faults are there only in a build of their own.
pub(crate) fn prove(steps: &mut Steps) -> Result<(), String> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    let mut proof = cargo(["run", "--quiet", "--package", "integration-tests", "--bin", "proof"]);
    proof.env("CARGO_TARGET_DIR", target.join("faults")).env("RUSTFLAGS", format!("{flags} --cfg strait_faults"));
    steps.run("proof that each case can fail", &mut proof)
}
