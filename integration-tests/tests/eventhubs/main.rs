//! Event Hubs, against its emulator, which runs in this process: every case of the suite, and Azure's clients for Python and
//! JavaScript.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod others;

use std::{path::Path, process::Stdio, time::Duration};

use strait_emulators::Emulator as Clients;
use strait_eventhubs_emulator::{Config, Emulator, HubSettings};
use tokio::{process::Command, time::timeout};

mod files {
    strait_testkit::conformance!(integration_tests::eventhubs::EventHubsRig);
}

/// How long a check may take: a client takes seconds to start, and much longer on a busy machine.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Runs a check of a script beside this file, against an emulator of its own.
async fn check(python: bool, check: &str) {
    let emulator = emulator().await;
    if check == "server_busy" {
        emulator.faults().busy(1.0);
    }
    run(python, check, &emulator).await;
    emulator.shutdown().await;
}

/// An emulator with the hub `orders` of four partitions and the group `billing`.
async fn emulator() -> Emulator {
    let hub = HubSettings { groups: vec!["billing".into()], ..HubSettings::new("orders", 4) };
    Emulator::start(Config::default().hub(hub)).await.unwrap()
}

/// Runs a check of a script beside this file.
async fn run(python: bool, check: &str, emulator: &Emulator) {
    let installed = strait_emulators::installed(Clients::EventHubs).unwrap();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/eventhubs");
    let mut command = if python {
        let mut command = Command::new(installed.join("venv/bin/python"));
        command.arg(scripts.join("client.py"));
        command
    } else {
        let mut command = Command::new("node");
        command.arg(scripts.join("client.mjs")).arg(installed);
        command
    };
    command.arg(emulator.connection_string("orders")).arg(check).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(TIMEOUT, command.output()).await.expect("it ends").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

macro_rules! checks {
    ($($name:ident),*) => {
        mod python {
            $(#[tokio::test]
            async fn $name() {
                super::check(true, stringify!($name)).await;
            })*
        }

        mod javascript {
            $(#[tokio::test]
            async fn $name() {
                super::check(false, stringify!($name)).await;
            })*
        }
    };
}

checks!(
    properties,
    keys_and_partitions,
    positions,
    latest,
    epochs,
    groups,
    wrong_key,
    oversize,
    server_busy,
    every_type,
    in_order
);
