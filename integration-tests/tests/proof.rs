//! Shows that every conformance case can fail.
//!
//! Each case names a fault, which [`planted!`](strait_core::planted) marks in the real code. With it, the case is to fail
//! on some shape of the memory backend; without it, it is to hold on all. A fault is for a whole process, so that each
//! run of a case is one: this program again. Needs a build with `--cfg strait_faults`; `cargo xtask test` makes it.

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
use strait_testkit::{CASES, Case, run};

/// How much processor time a run may take: one that goes round for ever takes more, however busy the machine is.
const PROCESSOR: Duration = Duration::from_secs(20);
/// How long a run may take that stands still.
const LIMIT: Duration = Duration::from_mins(2);

/// How a run of a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Held,
    Failed,
    Hung,
}

#[test]
#[cfg_attr(not(strait_faults), ignore = "needs a build with --cfg strait_faults")]
fn every_planted_fault_fails_its_case() {
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(vec![None; CASES.len()]);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Relaxed)) {
                    let line = prove_one(*case);
                    let index = CASES.iter().position(|other| other.name() == case.name());
                    lines.lock().expect("nothing panics while holding this")[index.unwrap_or(0)] = Some(line);
                }
            });
        }
    });
    let mut failed = 0;
    for (case, line) in CASES.iter().zip(lines.into_inner().expect("nothing panics while holding this")) {
        let (proven, text) = line.unwrap_or((false, "was not run".to_owned()));
        failed += usize::from(!proven);
        println!("{} {:<62} {:<32} {text}", if proven { "ok    " } else { "FAILED" }, case.name(), case.fault());
    }
    assert_eq!(failed, 0, "cases out of {} are not proven", CASES.len());
}

/// What the other processes run.
#[test]
#[ignore = "runs one case, which the proof names"]
fn one_case() {
    let named = |variable| env::var(variable).expect("the proof sets it");
    let (rig, case) = (named("STRAIT_RIG"), named("STRAIT_CASE"));
    let (_, rig) = RIGS.into_iter().find(|(name, _)| *name == rig).expect("the proof knows it");
    let case = CASES.iter().find(|known| known.name() == case).expect("the proof knows it");
    run(rig, *case);
}

/// Whether a case holds without its fault and fails with it, and where.
fn prove_one(case: Case) -> (bool, String) {
    let ends = |fault| RIGS.map(|(rig, _)| (rig, execute(rig, case, fault)));
    if let Some((rig, end)) = ends(None).into_iter().find(|(_, end)| *end != End::Held) {
        return (false, format!("without a fault: {end:?} on {rig}"));
    }
    let caught: Vec<_> = ends(Some(case.fault())).into_iter().filter(|(_, end)| *end != End::Held).collect();
    let places: Vec<_> = caught
        .iter()
        .map(|(rig, end)| if *end == End::Hung { format!("{rig} (does not end)") } else { (*rig).to_owned() })
        .collect();
    (!caught.is_empty(), if caught.is_empty() { "holds all the same".to_owned() } else { places.join(", ") })
}

fn execute(rig: &str, case: Case, fault: Option<&str>) -> End {
    let mut command = Command::new(env::current_exe().expect("it runs"));
    command.args(["one_case", "--exact", "--ignored"]).env("STRAIT_FAULT", fault.unwrap_or_default());
    command.env("STRAIT_RIG", rig).env("STRAIT_CASE", case.name()).env("RUST_BACKTRACE", "0");
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
