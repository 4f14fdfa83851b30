//! Event Hubs, against its emulator, which runs in this process: every case of the suite, and Azure's clients for Python and
//! JavaScript.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod golden;
mod load;
mod others;
mod stores;

use std::{path::Path, process::Stdio, time::Duration};

use strait_emulators::Emulator as Clients;
use strait_eventhubs_emulator::{Config, Emulator, HubSettings};
use tokio::{process::Command, time::timeout};

mod files {
    strait_testkit::conformance!(integration_tests::eventhubs::EventHubsRig::FILES);
}

/// What leases, and the time to confirm a request, matter to most.
mod cases {
    use std::time::Duration;

    use integration_tests::eventhubs::EventHubsRig;
    use strait_testkit::{CASES, run};

    fn case(rig: EventHubsRig, name: &str) {
        run(&rig, *CASES.iter().find(|case| case.name() == name).expect("there is one"));
    }

    /// Leases in Azure's blobs.
    macro_rules! blobs {
        ($($case:ident),*) => {
            mod blobs {
                $(#[test]
                fn $case() {
                    super::case(super::EventHubsRig::BLOBS, stringify!($case));
                })*
            }
        };
    }

    blobs!(
        c46_groups_get_all_and_members_share,
        c50_goes_on_where_it_was,
        c54_a_partition_whose_reader_is_cut_off_is_lost,
        c78_a_planned_move_duplicates_nothing
    );

    /// Requests that wait for their confirmation; without a delay that is the whole suite, above.
    macro_rules! settled_late {
        ($($case:ident),*) => {
            mod after_3_ms {
                $(#[test]
                fn $case() {
                    super::case(super::EventHubsRig::settling_after(super::Duration::from_millis(3)), stringify!($case));
                })*
            }

            mod after_20_ms {
                $(#[test]
                fn $case() {
                    super::case(super::EventHubsRig::settling_after(super::Duration::from_millis(20)), stringify!($case));
                })*
            }
        };
    }

    settled_late!(
        c06_closing_a_sender_sends_or_reports_everything,
        c17_batches_stay_within_the_limits,
        c18_each_message_has_its_own_outcome,
        c28_everything_comes_once
    );
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
