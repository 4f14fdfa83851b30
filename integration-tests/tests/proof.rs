//! Shows that every conformance case can fail, and that chaos finds what it is for.
//!
//! Each case names a fault, which [`planted!`](strait_core::planted) marks in the real code. With it, the case is to fail
//! on some shape of the memory backend; without it, it is to hold on all. A fault is for a whole process, so that each
//! run is one: this program again. Needs a build with `--cfg strait_faults`; `cargo xtask test` makes it.

#![allow(clippy::print_stdout, reason = "its result is a table")]

use std::{
    env, fs,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use integration_tests::memory::RIGS;
use strait_testkit::{CASES, Case, Rig, chaos, run};

/// How much processor time a run may take: one that goes round for ever takes more, however busy the machine is.
const PROCESSOR: Duration = Duration::from_secs(20);
/// How long a run may take that stands still.
const LIMIT: Duration = Duration::from_mins(2);

/// In how many seeds chaos is to find a fault.
const SEEDS: u64 = 60;

/// What a process runs.
enum Run {
    Case(Case),
    Ends,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Held,
    Failed,
    Hung,
}

#[test]
#[cfg_attr(not(strait_faults), ignore = "needs a build with --cfg strait_faults")]
fn every_planted_fault_fails_its_case() {
    prove(CASES, |case| format!("{:<62} {:<32}", case.name(), case.fault()), prove_one);
}

#[test]
#[cfg_attr(not(strait_faults), ignore = "needs a build with --cfg strait_faults")]
fn every_planted_fault_of_an_end_is_found_by_chaos() {
    // Otherwise seeds that fail by themselves, or take too long, would pass for a fault that is found.
    for (rig, end) in ends(&Run::Ends, None) {
        assert_eq!(end, End::Held, "without a fault, on {rig}");
    }
    prove(chaos::FAULTS, |fault| format!("{:<62} {fault:<32}", "ends"), |fault| caught(&Run::Ends, fault));
}

/// Proves all of these, as many at once as there are processors, and prints what came of each.
fn prove<T: Sync>(all: &[T], name: impl Fn(&T) -> String, one: impl Fn(&T) -> (bool, String) + Sync) {
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(vec![None; all.len()]);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(this) = all.get(index) else { break };
                    let line = one(this);
                    lines.lock().expect("nothing panics while holding this")[index] = Some(line);
                }
            });
        }
    });
    let mut failed = 0;
    for (this, line) in all.iter().zip(lines.into_inner().expect("nothing panics while holding this")) {
        let (proven, text) = line.unwrap_or((false, "was not run".to_owned()));
        failed += usize::from(!proven);
        println!("{} {} {text}", if proven { "ok    " } else { "FAILED" }, name(this));
    }
    assert_eq!(failed, 0, "of {} are not proven", all.len());
}

/// What the other processes run.
#[test]
#[ignore = "runs one case, which the proof names"]
fn one_case() {
    let case = named("STRAIT_CASE");
    let case = CASES.iter().find(|known| known.name() == case).expect("the proof knows it");
    run(rig(), *case);
}

/// What the other processes run.
#[test]
#[ignore = "runs some seeds, on the backend that the proof names"]
fn some_ends() {
    for seed in 0..SEEDS {
        let (report, _) = chaos::ends(rig(), seed);
        assert!(report.is_valid(), "{report:?}");
    }
}

fn named(variable: &str) -> String {
    env::var(variable).expect("the proof sets it")
}

fn rig() -> &'static dyn Rig {
    let rig = named("STRAIT_RIG");
    RIGS.into_iter().find(|(name, _)| *name == rig).expect("the proof knows it").1
}

/// Whether a case holds without its fault and fails with it, and where.
fn prove_one(case: &Case) -> (bool, String) {
    let run = Run::Case(*case);
    if let Some((rig, end)) = ends(&run, None).into_iter().find(|(_, end)| *end != End::Held) {
        return (false, format!("without a fault: {end:?} on {rig}"));
    }
    caught(&run, case.fault())
}

/// Whether a run fails with a fault, and where.
fn caught(run: &Run, fault: &str) -> (bool, String) {
    let caught: Vec<_> = ends(run, Some(fault)).into_iter().filter(|(_, end)| *end != End::Held).collect();
    let places: Vec<_> = caught
        .iter()
        .map(|(rig, end)| if *end == End::Hung { format!("{rig} (does not end)") } else { (*rig).to_owned() })
        .collect();
    (!caught.is_empty(), if caught.is_empty() { "holds all the same".to_owned() } else { places.join(", ") })
}

/// How a run ends on each shape of the memory backend.
fn ends(run: &Run, fault: Option<&str>) -> [(&'static str, End); RIGS.len()] {
    RIGS.map(|(rig, _)| (rig, execute(rig, run, fault)))
}

fn execute(rig: &str, run: &Run, fault: Option<&str>) -> End {
    let mut command = Command::new(env::current_exe().expect("it runs"));
    let test = match run {
        Run::Case(case) => {
            command.env("STRAIT_CASE", case.name());
            "one_case"
        }
        Run::Ends => "some_ends",
    };
    command.args([test, "--exact", "--ignored"]).env("STRAIT_FAULT", fault.unwrap_or_default());
    command.env("STRAIT_RIG", rig).env("RUST_BACKTRACE", "0");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is there");
    let deadline = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return if status.success() { End::Held } else { End::Failed },
            _ if Instant::now() < deadline && processor_time(child.id()).is_none_or(|time| time < PROCESSOR) => {
                thread::park_timeout(Duration::from_millis(5));
            }
            _ => {
                let _ = child.kill().and_then(|()| child.wait()); // it may have ended meanwhile
                return End::Hung;
            }
        }
    }
}

/// What a process has used of the processors, as Linux counts it: in hundredths, as the 14th and 15th field.
fn processor_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}
