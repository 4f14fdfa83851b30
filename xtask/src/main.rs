//! The commands of a developer. `cargo xtask test` runs everything that the gate runs, in its order.

mod emulators;
mod faults;
mod layers;
mod orders;
mod step;

use std::{env, process::ExitCode};

use step::{Steps, cargo};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test(true),
        ["test", "--quick"] => test(false),
        ["emulators", "install", ref names @ ..] => emulators::install(names),
        ["emulators", "start", ref names @ ..] => emulators::start(names),
        _ => Err("usage: cargo xtask test [--quick] | emulators install|start [NAME..]".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("xtask: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Formats, lints, documents and tests. `all` also runs what takes long: the example with its checker, and the
/// tests against emulators.
fn test(all: bool) -> Result<(), String> {
    let mut steps = Steps::default();
    steps.run("format", &mut cargo(["fmt", "--all", "--check"]))?;
    steps.run("clippy", &mut cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    steps.run("docs", cargo(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    layers::check(&mut steps)?;
    steps.run("tests", &mut cargo(["test", "--workspace"]))?;
    faults::prove(&mut steps)?;
    if all {
        faults::simulate(&mut steps)?;
        for shape in ["log", "queue"] {
            orders::check(&mut steps, shape)?;
        }
        orders::self_test(&mut steps)?;
        orders::processes(&mut steps)?;
        emulators::test(&mut steps)?;
    }
    Ok(())
}
