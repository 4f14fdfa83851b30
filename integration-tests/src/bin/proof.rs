//! `proof`: shows that every conformance case can fail.
//!
//! Each case names a fault, which [`planted!`](strait_core::planted) marks in the real code. With it, the case is to fail
//! on some shape of the memory backend; without it, it is to hold on all. A fault is for a whole process, so that each
//! run of a case is one. Needs a build with `--cfg strait_faults`; `cargo xtask test` makes it.

#![allow(clippy::print_stdout, reason = "a program whose result is a table")]

use std::{
    env, panic,
    process::{Command, ExitCode, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use integration_tests::memory::RIGS;
use strait_testkit::{CASES, Case, run};

/// How long a run may take, by the clock on the wall: a case that hangs fails.
const LIMIT: Duration = Duration::from_secs(30);

/// How a run of a case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Held,
    Failed,
    Hung,
}

fn main() -> ExitCode {
    if !cfg!(strait_faults) {
        println!("no faults are planted in this build: it needs --cfg strait_faults");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments[..] {
        [rig, case] => {
            run_one(rig, case);
            ExitCode::SUCCESS
        }
        _ => prove(),
    }
}

/// The process that runs one case.
fn run_one(rig: &str, case: &str) {
    panic::set_hook(Box::new(|_| {})); // it is to fail, without a word
    let (_, rig) = RIGS.into_iter().find(|(name, _)| *name == rig).expect("called by the other process");
    let case = CASES.iter().find(|known| known.name() == case).expect("called by the other process");
    run(rig, *case);
}

fn prove() -> ExitCode {
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
    println!("{} passed, {failed} failed", CASES.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    command.args([rig, case.name()]).env("STRAIT_FAULT", fault.unwrap_or_default());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is there");
    let deadline = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return if status.success() { End::Held } else { End::Failed },
            _ if Instant::now() < deadline => thread::park_timeout(Duration::from_millis(5)),
            _ => {
                let _ = child.kill().and_then(|()| child.wait()); // it may have ended meanwhile
                return End::Hung;
            }
        }
    }
}
