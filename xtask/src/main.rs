//! The commands of a developer. `cargo xtask test` runs everything that the gate runs, in its order.

mod build;
mod emulators;
mod faults;
mod layers;
mod orders;
mod step;

use std::{env, process::ExitCode};

use build::{cargo, shared, with_emulators};
use step::Steps;

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

/// Runs the gate, and prints what each step took, also when one fails.
fn test(all: bool) -> Result<(), String> {
    let mut steps = Steps::default();
    let outcome = gate(&mut steps, all);
    eprintln!("{steps}");
    outcome
}

/// Formats, lints, documents and tests. `all` also runs what takes long: more seeds, the example with its checker, and the
/// tests against emulators.
fn gate(steps: &mut Steps, all: bool) -> Result<(), String> {
    steps.run("format", &mut cargo(["fmt", "--all", "--check"]))?;
    let mut clippy = with_emulators("clippy");
    steps.run("clippy", clippy.args(["--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Naming the examples takes in the dependencies of tests: then those of all are what clippy has checked.
    let mut docs = with_emulators("doc");
    docs.args(["--workspace", "--no-deps", "--quiet", "--lib", "--bins", "--examples"]);
    steps.run("docs", docs.env("RUSTDOCFLAGS", "-D warnings"))?;
    layers::check(steps)?;
    steps.run("the facade alone", &mut cargo(["check", "--package", "strait"]))?;
    steps.run("tests", &mut shared("test"))?;
    faults::prove(steps)?;
    if all {
        faults::simulate(steps)?;
        faults::end(steps)?;
        orders::check(steps)?;
        emulators::test(steps)?;
    }
    Ok(())
}
