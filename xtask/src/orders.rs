use std::{env, fs, path::PathBuf, process::Command};

use crate::step::{Steps, cargo};

const EXAMPLE: &str = "crates/strait/examples/orders";

/// Runs the example on one shape of the memory backend, and has an independent script check what it left.
pub(crate) fn check(steps: &mut Steps, shape: &str) -> Result<(), String> {
    let dump = env::temp_dir().join(format!("strait-orders-{shape}-{}", std::process::id()));
    let mut run = cargo(["run", "--release", "--package", "strait", "--example", "orders", "--", "--json", "--dump"]);
    run.arg(&dump).env("ORDERS_SHAPE", shape);
    let mut check = Command::new("python3");
    check.arg(format!("{EXAMPLE}/check.py")).arg(format!("{EXAMPLE}/data/orders-10000.csv")).arg(&dump);
    let outcome = steps
        .run(&format!("orders on a {shape}"), &mut run)
        .and_then(|()| steps.run(&format!("check of orders on a {shape}"), &mut check));
    let _ = fs::remove_dir_all(&dump); // it may not have come so far
    outcome
}

/// Runs the example in several processes that share a log, of which one is killed, one frozen and one told to stop.
pub(crate) fn processes(steps: &mut Steps) -> Result<(), String> {
    let mut server = cargo(["build", "--release", "--package", "strait-testkit", "--features", "served"]);
    steps.run("build of the log server", server.args(["--bin", "log-server"]))?;
    let release = target().join("release");
    let mut run = Command::new("python3");
    run.arg(format!("{EXAMPLE}/processes.py")).arg(release.join("examples/orders")).arg(release.join("log-server"));
    steps.run("orders in several processes", run.arg(format!("{EXAMPLE}/data/orders-10000.csv")))
}

/// Runs 2,000 orders on a service that these variables find, with a process killed on the way. The example is built.
pub(crate) fn killed(
    steps: &mut Steps,
    service: &str,
    variables: impl Iterator<Item = (&'static str, String)>,
) -> Result<(), String> {
    let mut run = Command::new("python3");
    run.arg(format!("{EXAMPLE}/killed.py")).arg(target().join("debug/examples/orders"));
    run.args([&format!("{EXAMPLE}/data/orders-10000.csv"), "2000", &format!("{EXAMPLE}/{service}")]);
    steps.run(&format!("orders on {service}, a process killed"), run.envs(variables))
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Shows that the script finds what is wrong.
pub(crate) fn self_test(steps: &mut Steps) -> Result<(), String> {
    let mut command = Command::new("python3");
    command.arg(format!("{EXAMPLE}/check.py")).arg("--self-test");
    steps.run("self-test of the checker", &mut command)
}
