//! Seeded chaos on every shape of the memory backend. `STRAIT_SEEDS=N` runs so many, `STRAIT_SEED=N` begins there.

#![allow(clippy::print_stdout, reason = "says what went wrong how often")]

use std::{collections::BTreeMap, env, thread};

use integration_tests::{
    memory::{LogRig, QueueRig},
    shared::SharedRig,
};
use strait_testkit::{Rig, Site, chaos};

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

/// Says how to see it again, if the run fails.
struct Replay<'a> {
    test: &'a str,
    seed: u64,
}

impl Drop for Replay<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let Self { test, seed } = self;
            println!("replay: STRAIT_SEED={seed} STRAIT_SEEDS=1 cargo test -p integration-tests --test chaos {test}");
        }
    }
}

/// Runs the seeds, and shows that all that may go wrong there did.
fn run(test: &str, rig: &dyn Rig, sites: &[Site]) {
    let (first, count) = (number("STRAIT_SEED", 0), number("STRAIT_SEEDS", 40));
    let mut fired: chaos::Fired = BTreeMap::new();
    let (mut stored, mut duplicates, mut lost_claims, mut unknown) = (0, 0, 0, 0);
    for seed in first..first + count {
        let _replay = Replay { test, seed };
        let (report, here) = chaos::run(rig, seed);
        assert!(report.is_valid(), "{report:#?}");
        for (site, times) in here {
            *fired.entry(site).or_default() += times;
        }
        stored += report.stored;
        duplicates += report.duplicates;
        lost_claims += report.lost_claims;
        unknown += report.unknown;
    }
    println!(
        "{test}: {count} seeds, {stored} stored, {unknown} unknown, {duplicates} duplicates, {lost_claims} lost claims"
    );
    println!("{fired:?}");
    if count >= 40 {
        let at =
            |site: Site| fired.iter().filter(|((other, _), _)| *other == site).map(|(_, times)| times).sum::<usize>();
        for site in sites {
            assert!(at(*site) >= 10, "{site:?} hardly ever went wrong: {fired:?}");
        }
        assert!(stored > 3000 && duplicates > 0 && lost_claims > 0 && unknown > 0);
    }
}

#[test]
fn log() {
    run("log", &LogRig, &[Site::Send, Site::Receive, Site::Settle, Site::Open, Site::Read, Site::Own, Site::Commit]);
}

/// The same with a coordinator, whose rows fail too.
#[test]
fn shared() {
    let sites = [Site::Send, Site::Receive, Site::Settle, Site::Open, Site::Read, Site::Own, Site::Commit];
    run("shared", &SharedRig::FAULTY, &sites);
}

#[test]
fn queue() {
    let sites = [Site::Send, Site::Receive, Site::Settle, Site::Delete, Site::Extend, Site::Release];
    run("queue", &QueueRig::ORDERED, &sites);
}

#[test]
fn unordered() {
    let sites = [Site::Send, Site::Receive, Site::Settle, Site::Delete, Site::Extend, Site::Release];
    run("unordered", &QueueRig::UNORDERED, &sites);
}
