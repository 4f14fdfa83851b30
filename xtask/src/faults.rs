use crate::{
    build::{planted, shared},
    step::Steps,
};

/// How many seeds the gate simulates, and ends processes in. `cargo test` alone does fewer.
const SEEDS: &str = "2000";

/// Simulates coordination, through more seeds than `cargo test` does.
pub(crate) fn simulate(steps: &mut Steps) -> Result<(), String> {
    let mut simulation = shared("test");
    steps.run("simulation of coordination", simulation.args(["--test", "simulation"]).env("STRAIT_SEEDS", SEEDS))
}

/// Ends processes with full buffers, in as many seeds on each shape of the memory backend.
pub(crate) fn end(steps: &mut Steps) -> Result<(), String> {
    let mut chaos = shared("test");
    steps.run("chaos of ends", chaos.args(["--test", "chaos", "ends_"]).env("STRAIT_SEEDS", SEEDS))
}

/// Shows that each conformance case fails on the fault that it names, and that the simulation finds each planted defect.
/// Faults are there only in a build of their own.
pub(crate) fn prove(steps: &mut Steps) -> Result<(), String> {
    let tests = ["--test", "proof", "--test", "simulation"];
    steps.run("build with planted faults", planted("test").args(tests).arg("--no-run"))?;
    for (name, test) in
        [("each case can fail, and chaos finds faults", "proof"), ("the simulation finds defects", "simulation")]
    {
        let mut proof = planted("test");
        // In a build without faults these tests are ignored: then they are to fail, and not to be left out.
        proof.args(["--test", test, "--", "planted", "--include-ignored", "--nocapture"]);
        steps.run(&format!("proof that {name}"), &mut proof)?;
    }
    Ok(())
}
