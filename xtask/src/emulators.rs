//! The clouds' emulators: installed, started, tested against.

use std::{
    io::{Write as _, stdout},
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use strait_emulators::{Emulator, Running};

use crate::{build::with_emulators, orders, step::Steps};

/// Installs those that are named, or all.
pub(crate) fn install(names: &[&str]) -> Result<(), String> {
    for emulator in named(names)? {
        eprintln!("{}: {}", emulator.name(), strait_emulators::install(emulator)?.display());
    }
    Ok(())
}

/// Starts those that are named, or all, prints the variables by which clients find them, and stops them at SIGINT or
/// SIGTERM. Fails when one ends by itself.
pub(crate) fn start(names: &[&str]) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|error| error.to_string())?;
    let emulators = named(names)?;
    for &emulator in &emulators {
        strait_emulators::install(emulator)?;
    }
    let mut running = Vec::new();
    for emulator in emulators {
        if signals.pending().next().is_some() {
            return Ok(()); // those that run are stopped as they are dropped
        }
        running.push(strait_emulators::start(emulator)?);
    }
    let mut out = stdout().lock();
    for (name, value) in running.iter().flat_map(variables) {
        writeln!(out, "export {name}='{value}'").map_err(|error| error.to_string())?;
    }
    out.flush().map_err(|error| error.to_string())?;
    eprintln!("running; Ctrl-C stops them");
    // Nothing else is to be done meanwhile, so that one look after the other at each is as good as waiting for all.
    loop {
        for emulator in &running {
            if let Some(reason) = emulator.ended(Duration::from_millis(100)) {
                return Err(reason);
            }
            if signals.pending().next().is_some() {
                return Ok(());
            }
        }
    }
}

/// Runs the tests that need emulators, against emulators that are started once for all of them.
pub(crate) fn test(steps: &mut Steps) -> Result<(), String> {
    steps.check("installation of the emulators", || install(&[]))?;
    let mut running = Vec::new();
    steps.check("start of the emulators", || {
        // Event Hubs' is a library: each of its tests has its own.
        for emulator in Emulator::ALL.into_iter().filter(|emulator| *emulator != Emulator::EventHubs) {
            running.push(strait_emulators::start(emulator)?);
        }
        Ok(())
    })?;
    // They wait for leases to end, on the clock on the wall: as many at once as their emulator bears take as long as the
    // longest.
    for (name, threads) in
        [("leases", "8"), ("kinesis", "8"), ("pubsub", "64"), ("sqs", "24"), ("emulators", "8"), ("eventhubs", "16")]
    {
        let mut tests = with_emulators("test");
        tests.args(["--test", name]).env("RUST_TEST_THREADS", threads);
        steps.run(&format!("tests against emulators: {name}"), tests.envs(running.iter().flat_map(variables)))?;
    }
    ["sqs.toml", "kinesis.toml", "pubsub.toml"]
        .into_iter()
        .try_for_each(|service| orders::killed(steps, service, running.iter().flat_map(variables)))?;
    orders::killed_on_eventhubs(steps)
}

fn variables(running: &Running) -> Vec<(&'static str, String)> {
    running.emulator().variables(running.port())
}

fn named(names: &[&str]) -> Result<Vec<Emulator>, String> {
    if names.is_empty() {
        return Ok(Emulator::ALL.to_vec());
    }
    let find = |name: &&str| {
        let found = Emulator::ALL.into_iter().find(|emulator| emulator.name() == *name);
        found.ok_or_else(|| format!("{name} is no emulator; there are localstack, azurite, pubsub and eventhubs"))
    };
    names.iter().map(find).collect()
}
