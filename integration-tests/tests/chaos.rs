//! Seeded chaos on every shape of the memory backend. `STRAIT_SEEDS=N` runs so many, `STRAIT_SEED=N` begins there.

#![allow(clippy::print_stdout, reason = "says what went wrong how often")]

use std::{collections::BTreeMap, env, thread};

use integration_tests::{
    memory::{LogRig, QueueRig},
    shared::SharedRig,
};
use strait_testkit::{
    Report, Rig, Site,
    chaos::{self, Fired},
};

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

/// What the reports of many seeds add up to.
#[derive(Debug, Default)]
struct Sum {
    stored: usize,
    unknown: usize,
    duplicates: usize,
    lost_claims: usize,
    closes: usize,
    full: usize,
    forced: usize,
    kills: usize,
    replayed_after_crashes: usize,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.stored += report.stored;
        self.unknown += report.unknown;
        self.duplicates += report.duplicates;
        self.lost_claims += report.lost_claims;
        self.closes += report.closes;
        self.full += report.full;
        self.forced += report.forced;
        self.kills += report.kills;
        self.replayed_after_crashes += report.replayed_after_crashes;
    }
}

/// Runs the seeds, and shows that all that may go wrong there did, if there are enough of them.
fn run(
    test: &str,
    chaos: fn(&dyn Rig, u64) -> (Report, Fired),
    rig: &dyn Rig,
    sites: &[Site],
    show: impl FnOnce(&Sum),
) {
    const ENOUGH: u64 = 40;
    let (first, count) = (number("STRAIT_SEED", 0), number("STRAIT_SEEDS", ENOUGH));
    let (mut fired, mut sum) = (Fired::new(), Sum::default());
    for seed in first..first + count {
        let _replay = Replay { test, seed };
        let (report, here) = chaos(rig, seed);
        assert!(report.is_valid(), "{report:#?}");
        for (site, times) in here {
            *fired.entry(site).or_default() += times;
        }
        sum.add(&report);
    }
    println!("{test}: {count} seeds, {sum:?}\n{fired:?}");
    if count >= ENOUGH {
        let mut times: BTreeMap<Site, usize> = sites.iter().map(|site| (*site, 0)).collect();
        for ((site, _), here) in &fired {
            times.entry(*site).and_modify(|times| *times += here);
        }
        for (site, times) in times {
            assert!(times >= 10, "{site:?} hardly ever went wrong: {fired:?}");
        }
        show(&sum);
    }
}

const LOG: [Site; 7] = [Site::Receive, Site::Settle, Site::Open, Site::Read, Site::Own, Site::Commit, Site::HandOver];
const QUEUE: [Site; 4] = [Site::Receive, Site::Settle, Site::Delete, Site::Release];

fn storm(test: &str, rig: &dyn Rig, sites: &[Site]) {
    run(test, chaos::storm, rig, &[sites, &[Site::Send]].concat(), |sum| {
        assert!(sum.stored > 3000 && sum.duplicates > 0 && sum.lost_claims > 0 && sum.unknown > 0, "{sum:?}");
    });
}

fn ends(test: &str, rig: &dyn Rig, sites: &[Site]) {
    run(test, chaos::ends, rig, sites, |sum| {
        let Sum { closes, full, forced, kills, replayed_after_crashes, .. } = sum;
        assert!(closes - forced > 100 && *full > 10 && *forced > 0, "{sum:?}");
        assert!(*kills > 0 && *replayed_after_crashes > 0, "{sum:?}");
    });
}

#[test]
fn storm_on_log() {
    storm("storm_on_log", &LogRig, &LOG);
}

/// The same with a coordinator, whose rows fail too.
#[test]
fn storm_on_shared() {
    storm("storm_on_shared", &SharedRig::FAULTY, &LOG);
}

#[test]
fn storm_on_queue() {
    storm("storm_on_queue", &QueueRig::ORDERED, &[&QUEUE[..], &[Site::Extend]].concat());
}

#[test]
fn storm_on_unordered() {
    storm("storm_on_unordered", &QueueRig::UNORDERED, &[&QUEUE[..], &[Site::Extend]].concat());
}

#[test]
fn ends_on_log() {
    ends("ends_on_log", &LogRig, &LOG);
}

#[test]
fn ends_on_shared() {
    ends("ends_on_shared", &SharedRig::FAULTY, &LOG);
}

#[test]
fn ends_on_queue() {
    ends("ends_on_queue", &QueueRig::ORDERED, &QUEUE);
}

#[test]
fn ends_on_unordered() {
    ends("ends_on_unordered", &QueueRig::UNORDERED, &QUEUE);
}
