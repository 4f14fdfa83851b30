//! `compare [--rounds N] [--messages N] [CASE ...]`: measures cases by time, in rounds that take turns, so that
//! whatever else the machine does hits all of them.
//!
//! Prints for each runtime and case the median throughput, the slowest and the fastest round, and the median of its
//! ratios to tokio's bounded mpsc in the same round.

#![allow(clippy::print_stdout, reason = "a program whose result is a table")]

use std::{env, sync::Arc, time::Duration};

use strait_benches::{Case, Clock, run};
use tokio::runtime::{Builder, Runtime};

const CASES: [&str; 29] = [
    "mpsc",
    "mpsc-many",
    "kanal",
    "omniqueue",
    "ruststream",
    "ruststream-pool",
    "log",
    "log-keyed",
    "log-batch",
    "log-keyed-batch",
    "log-pool",
    "log-keyed-pool",
    "queue",
    "queue-keyed",
    "queue-batch",
    "queue-keyed-batch",
    "queue-pool",
    "queue-keyed-pool",
    "e2e-log",
    "e2e-log-keyed",
    "e2e-log-batch",
    "e2e-queue",
    "e2e-queue-keyed",
    "e2e-queue-batch",
    "stored-ruststream",
    "stored-log",
    "stored-log-keyed",
    "stored-queue",
    "stored-queue-keyed",
];

struct Plan {
    rounds: usize,
    messages: usize,
    cases: Vec<Case>,
}

fn main() -> Result<(), String> {
    let plan = plan(env::args().skip(1))?;
    for (name, runtime) in [("current-thread", current_thread as fn() -> Runtime), ("2 worker threads", two_threads)] {
        println!("\n{name}, {} rounds of {} messages of 1 KiB", plan.rounds, plan.messages);
        println!("{:<24} {:>9} {:>17} {:>8} {:>8}", "case", "M msg/s", "min - max", "ns/msg", "x mpsc");
        measure(&plan, runtime);
    }
    Ok(())
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan { rounds: 7, messages: 400_000, cases: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let value = arguments.next().ok_or_else(|| format!("{argument}: needs a number"))?;
            value.parse().map_err(|error| format!("{argument} {value}: {error}"))
        };
        match argument.as_str() {
            "--rounds" => plan.rounds = number()?,
            "--messages" => plan.messages = number()?,
            case => plan.cases.push(case.parse()?),
        }
    }
    if plan.cases.is_empty() {
        plan.cases = CASES.iter().map(|case| case.parse()).collect::<Result<_, _>>()?;
    }
    Ok(plan)
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn two_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn measure(plan: &Plan, runtime: fn() -> Runtime) {
    let mpsc: Case = "mpsc".parse().expect("is a case");
    let mut each = vec![Vec::new(); plan.cases.len()];
    let mut ratios = vec![Vec::new(); plan.cases.len()];
    for _ in 0..plan.rounds {
        let base = once(mpsc, plan.messages, runtime());
        for (index, case) in plan.cases.iter().enumerate() {
            let taken = if *case == mpsc { base } else { once(*case, plan.messages, runtime()) };
            each[index].push(taken);
            ratios[index].push(base / taken);
        }
    }
    for ((case, each), ratios) in plan.cases.iter().zip(&mut each).zip(&mut ratios) {
        let median = median(each);
        let rate = |nanos: f64| 1e3 / nanos;
        let spread = format!("{:.2} - {:.2}", rate(each[each.len() - 1]), rate(each[0]));
        println!("{case:<24} {:>9.2} {spread:>17} {median:>8.0} {:>8.2}", rate(median), self::median(ratios));
    }
}

/// On a runtime of its own, so that nothing of the case before is left.
fn once(case: Case, messages: usize, runtime: Runtime) -> f64 {
    let name = case.to_string();
    // What is stored before is bounded; see `STORED`.
    let messages = if name.starts_with("stored") { 50_000 } else { messages };
    let clock = Arc::new(Clock::new(messages, || {}));
    let counted = Arc::clone(&clock);
    runtime.block_on(async move { tokio::spawn(run(case, counted)).await }).expect("does not panic");
    runtime.shutdown_timeout(Duration::from_secs(1));
    clock.each().expect("all were seen")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
