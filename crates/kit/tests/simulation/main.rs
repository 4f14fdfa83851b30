//! Coordination, simulated: several members over one seeded clock, network and store, through everything that goes wrong,
//! judged by a checker that reads the history alone. `docs/simulation.md` says what is simulated.
//!
//! `STRAIT_SEEDS` is how many seeds are run, and `STRAIT_SEED` the first of them; `STRAIT_TRACE` prints each history.

#![expect(clippy::cast_precision_loss, reason = "times are printed as seconds")]
#![expect(clippy::needless_pass_by_value, reason = "what happened is over once it was handled")]
#![expect(clippy::similar_names, reason = "owner and owned, name and named are the words")]

mod checker;
mod counterexample;
mod engine;
mod faults;
mod history;
mod log;
mod members;
mod network;
mod planted;
mod scale;
mod store;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use checker::Verdict;
use world::World;

/// How many seeds `cargo test` runs.
const SEEDS: u64 = 300;

/// How many of them are run twice.
const TWICE: u64 = 20;

/// How often each must have happened at least in a hundred seeds, or the run has shown nothing.
const LEAST: &[(&str, u64)] = &[
    ("children unknown", 5),
    ("commit failed", 5),
    ("ended without children", 30),
    ("forced move", 1),
    ("frozen beyond the expiry", 10),
    ("frozen within the expiry", 20),
    ("handler failed", 200),
    ("handler outlived its claim", 2),
    ("history: gained", 1000),
    ("history: handlers that ran beside one of an owner before", 1),
    ("history: lost", 50),
    ("history: planned moves", 200),
    ("history: redelivered", 200),
    ("history: rows of finished partitions deleted", 50),
    ("history: settled", 10_000),
    ("history: started in quarantine", 10),
    ("joined", 100),
    ("joined with another log", 10),
    ("killed", 50),
    ("killed after: child row", 1),
    ("killed after: commit", 5),
    ("killed after: finish", 1),
    ("killed after: join", 2),
    ("killed after: plan", 5),
    ("killed after: release", 1),
    ("killed after: take", 1),
    ("killed before: child row", 1),
    ("killed before: commit", 5),
    ("killed before: finish", 1),
    ("killed before: join", 2),
    ("killed before: plan", 5),
    ("killed before: release", 1),
    ("killed before: take", 1),
    ("left", 40),
    ("member row deleted", 5),
    ("merge", 20),
    ("outage", 500),
    ("own success refused", 50),
    ("part row deleted", 5),
    ("partition finished", 100),
    ("partition no longer listed", 50),
    ("plan deleted", 5),
    ("place to resume at", 50),
    ("refused", 200),
    ("refused another log", 5),
    ("reply lost", 100),
    ("replies held up", 10),
    ("request lost", 100),
    ("resumed at a time", 10),
    ("row corrupted", 5),
    ("slow", 200),
    ("split", 50),
    ("stale list", 200),
    ("storm", 30),
    ("throttled", 100),
    ("told late", 50),
    ("wall clock jumped", 10),
    ("write landed late", 50),
];

struct Outcome {
    hash: u64,
    fired: BTreeMap<String, u64>,
    calls: BTreeMap<&'static str, u64>,
    verdict: Verdict,
}

fn run(seed: u64) -> Outcome {
    let mut world = World::new(seed);
    world.run();
    let verdict = checker::check(&world.history);
    if std::env::var_os("STRAIT_TRACE").is_some() {
        for (time, what) in &world.history.events {
            eprintln!("{:>10.6} {what:?}", *time as f64 / 1e6);
        }
    }
    Outcome { hash: world.history.hash(), fired: world.fired, calls: world.calls, verdict }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

#[derive(Default)]
struct Total {
    fired: BTreeMap<String, u64>,
    takeovers: Vec<u64>,
    wrong: Vec<(u64, Vec<String>)>,
}

/// Runs seeds on all cores. Stops at the first that fail.
fn run_all(first: u64, count: u64) -> Total {
    let (next, total) = (AtomicU64::new(first), Mutex::new(Total::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run(seed);
                    let twice = seed < first + TWICE && run(seed).hash != outcome.hash;
                    let mut total = total.lock().expect("no run panics");
                    for (name, fired) in outcome.fired {
                        *total.fired.entry(name).or_default() += fired;
                    }
                    for (name, seen) in outcome.verdict.counts {
                        *total.fired.entry(format!("history: {name}")).or_default() += seen;
                    }
                    for (name, calls) in outcome.calls {
                        *total.fired.entry(format!("calls: {name}")).or_default() += calls;
                    }
                    total.takeovers.extend(outcome.verdict.takeovers);
                    let mut wrong = outcome.verdict.wrong;
                    if twice {
                        wrong.push("two runs of the same seed differ".into());
                    }
                    if !wrong.is_empty() {
                        total.wrong.push((seed, wrong));
                        next.store(first + count, Relaxed);
                    }
                }
            });
        }
    });
    total.into_inner().expect("no run panics")
}

#[test]
fn members_share_a_log_through_everything_that_goes_wrong() {
    let (first, count) = (number("STRAIT_SEED", 0), number("STRAIT_SEEDS", SEEDS));
    let begin = Instant::now();
    let mut total = run_all(first, count);
    for (seed, wrong) in &total.wrong {
        eprintln!("seed {seed} fails:");
        for wrong in wrong {
            eprintln!("  {wrong}");
        }
        eprintln!(
            "  replay: STRAIT_SEED={seed} STRAIT_SEEDS=1 cargo test -p strait-kit --test simulation -- --nocapture"
        );
    }
    eprintln!("{count} seeds from {first} in {:.1?}", begin.elapsed());
    for (name, fired) in &total.fired {
        eprintln!("{fired:>12}  {name}");
    }
    total.takeovers.sort_unstable();
    let at = |share: usize| total.takeovers.get(total.takeovers.len() * share / 100).map_or(0.0, |t| *t as f64 / 1e6);
    eprintln!("takeover from the dead, by faults of all kinds: median {:.1} s, p99 {:.1} s", at(50), at(99));
    assert!(total.wrong.is_empty(), "{} seeds failed", total.wrong.len());
    if count >= 100 {
        for (name, least) in LEAST {
            let fired = total.fired.get(*name).copied().unwrap_or(0);
            assert!(
                fired >= least * count / 100,
                "{name} fired {fired} times in {count} seeds: this run shows nothing"
            );
        }
    }
}
