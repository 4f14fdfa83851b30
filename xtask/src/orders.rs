use std::{env, fs, process::Command};

use crate::{
    build::{program, shared},
    step::Steps,
};

const EXAMPLE: &str = "crates/strait/examples/orders";

/// Runs the example in process and in several processes, and has an independent script check what it left.
pub(crate) fn check(steps: &mut Steps) -> Result<(), String> {
    let mut build = shared("build");
    build.args(["--example", "orders", "--bin", "log-server", "--bin", "strait-eventhubs-emulator"]);
    steps.run("build of the example", &mut build)?;
    for shape in ["log", "queue"] {
        in_process(steps, shape)?;
    }
    self_test(steps)?;
    in_several(steps)
}

/// Runs it on one shape of the memory backend.
fn in_process(steps: &mut Steps, shape: &str) -> Result<(), String> {
    let dump = env::temp_dir().join(format!("strait-orders-{shape}-{}", std::process::id()));
    let mut run = Command::new(program("examples/orders"));
    run.args(["--json", "--dump"]).arg(&dump).env("ORDERS_SHAPE", shape);
    let mut check = Command::new("python3");
    check.arg(format!("{EXAMPLE}/check.py")).arg(format!("{EXAMPLE}/data/orders-10000.csv")).arg(&dump);
    let outcome = steps
        .run(&format!("orders on a {shape}"), &mut run)
        .and_then(|()| steps.run(&format!("check of orders on a {shape}"), &mut check));
    let _ = fs::remove_dir_all(&dump); // it may not have come so far
    outcome
}

/// Shows that the script finds what is wrong.
fn self_test(steps: &mut Steps) -> Result<(), String> {
    let mut command = Command::new("python3");
    command.arg(format!("{EXAMPLE}/check.py")).arg("--self-test");
    steps.run("self-test of the checker", &mut command)
}

/// Runs it in several processes that share a log, of which one is killed, one frozen and one told to stop.
fn in_several(steps: &mut Steps) -> Result<(), String> {
    let mut run = Command::new("python3");
    run.arg(format!("{EXAMPLE}/processes.py")).arg(program("examples/orders")).arg(program("log-server"));
    steps.run("orders in several processes", run.arg(format!("{EXAMPLE}/data/orders-10000.csv")))
}

/// Runs 2,000 orders on a service that these variables find, with a process killed on the way. The example is built.
pub(crate) fn killed(
    steps: &mut Steps,
    service: &str,
    variables: impl Iterator<Item = (&'static str, String)>,
) -> Result<(), String> {
    steps.run(&format!("orders on {service}, a process killed"), killing(service).envs(variables))
}

/// The same on Event Hubs, by an emulator of its own.
pub(crate) fn killed_on_eventhubs(steps: &mut Steps) -> Result<(), String> {
    let mut run = killing("eventhubs.toml");
    run.arg(program("strait-eventhubs-emulator")).arg(format!("{EXAMPLE}/hubs.toml"));
    steps.run("orders on eventhubs.toml, a process killed", &mut run)
}

fn killing(service: &str) -> Command {
    let mut run = Command::new("python3");
    run.arg(format!("{EXAMPLE}/killed.py")).arg(program("examples/orders"));
    run.args([&format!("{EXAMPLE}/data/orders-10000.csv"), "2000", &format!("{EXAMPLE}/{service}")]);
    run
}
