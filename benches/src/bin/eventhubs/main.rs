//! `eventhubs [--rounds N] [--messages N] [--callers N] [--only ours|hand] [CASE ...]`: what Strait adds to the AMQP library,
//! before the emulator in a process of its own.
//!
//! Each round runs the case by Strait and by what it is compared with, taking turns in who is first, on one thread. Prints
//! medians of both, and of the ratios of each round the median and the quartiles; then how many messages the requests of Strait
//! had. `--only` is for a profiler: it runs one of the two, and prints nothing.

#![allow(clippy::print_stdout, reason = "a program whose result is a table")]

mod emulator;
mod hand;
mod ours;

use std::{
    env,
    error::Error,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use emulator::Process;
use ours::Requests;
use strait_benches::{Gauge, Rounds, Taken, WHO, stub::Counts};
use strait_eventhubs::{Access, Routing};
use tokio::runtime::Builder;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// What the hub is called, and how many partitions it has.
const HUB: &str = "bench";
const PARTITIONS: usize = 4;

/// A case: by Strait, and by what it is compared with.
struct Case {
    name: &'static str,
    bytes: usize,
    /// How many messages share a request, or would if `Sender` sent as soon as it could.
    batch: usize,
    /// After how many milliseconds the emulator settles a request.
    settle: u64,
    ways: [Way; 2],
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Work,
    HandWork,
    Send { routing: Routing, keys: usize },
    HandSend { bare: bool },
    SendSingle,
    HandSendSingle,
}

const SEND: Way = Way::Send { routing: Routing::Partition, keys: 0 };
const HAND: Way = Way::HandSend { bare: false };
const BARE: Way = Way::HandSend { bare: true };
const KEYS: usize = 1000;
const KEYED: [Way; 2] =
    [Way::Send { routing: Routing::Partition, keys: KEYS }, Way::Send { routing: Routing::Service, keys: KEYS }];

const CASES: [Case; 7] = [
    Case { name: "work", bytes: 1024, batch: 1, settle: 0, ways: [Way::Work, Way::HandWork] },
    Case { name: "send-1000", bytes: 1000, batch: 100, settle: 0, ways: [SEND, HAND] },
    Case { name: "send-1000-bare", bytes: 1000, batch: 100, settle: 0, ways: [SEND, BARE] },
    Case { name: "send-100", bytes: 100, batch: 500, settle: 0, ways: [SEND, HAND] },
    Case { name: "send-100-bare", bytes: 100, batch: 500, settle: 0, ways: [SEND, BARE] },
    Case { name: "keys", bytes: 1000, batch: 125, settle: 10, ways: KEYED },
    Case { name: "single", bytes: 1000, batch: 1, settle: 0, ways: [Way::SendSingle, Way::HandSendSingle] },
];

/// What is sent, and by how many.
#[derive(Clone, Copy, Debug)]
struct Load {
    payload: &'static [u8],
    batch: usize,
    /// How many send one message each and wait for it.
    callers: usize,
}

struct Plan {
    rounds: usize,
    messages: usize,
    callers: usize,
    /// Which of the two alone.
    only: Option<usize>,
    cases: Vec<String>,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == emulator::WORD).is_some() {
        let settle = Duration::from_millis(arguments.next().ok_or("when requests are settled is missing")?.parse()?);
        return Builder::new_multi_thread().enable_all().build()?.block_on(emulator::serve(settle));
    }
    let plan = plan(arguments)?;
    println!(
        "{} rounds of {} messages, one thread, {} callers\n{}",
        plan.rounds,
        plan.messages,
        plan.callers,
        Rounds::head()
    );
    for case in CASES {
        if plan.cases.is_empty() || plan.cases.iter().any(|name| name == case.name) {
            measure(&case, &plan)?;
        }
    }
    Ok(())
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan { rounds: 15, messages: 100_000, callers: 256, only: None, cases: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize> { Ok(arguments.next().ok_or("a number is missing")?.parse()?) };
        match argument.as_str() {
            "--rounds" => plan.rounds = number()?,
            "--messages" => plan.messages = number()?,
            "--callers" => plan.callers = number()?,
            "--only" => plan.only = arguments.next().and_then(|who| WHO.iter().position(|name| *name == who)),
            name if CASES.iter().any(|case| case.name == name) => plan.cases.push(argument),
            other => return Err(format!("{other}: there is no such case").into()),
        }
    }
    Ok(plan)
}

fn measure(case: &Case, plan: &Plan) -> Result<()> {
    let payload = vec![7; case.bytes].leak();
    let load = Load { payload, batch: case.batch, callers: plan.callers };
    let emulator = Process::start(case.settle)?;
    if let [Way::Work, _] = case.ways {
        let endpoint = emulator.endpoint.clone();
        Builder::new_current_thread().enable_all().build()?.block_on(hand::fill(&endpoint, load, plan.messages))?;
    }
    let once = |turn: usize| -> Result<(Taken, Counts)> {
        let way = case.ways[turn];
        // Fewer of what takes long.
        let is_slow = matches!(way, Way::HandSendSingle | Way::Send { routing: Routing::Service, .. });
        let messages = if is_slow { plan.messages / 20 } else { plan.messages };
        let requests = Arc::<Requests>::default();
        let taken = once(way, messages, load, &emulator, &requests)?;
        let counted = (requests.calls.load(Relaxed), requests.messages.load(Relaxed));
        Ok((taken, Counts::from([("requests".to_owned(), counted)])))
    };
    for line in Rounds::run(plan.rounds, plan.only, once)?.lines(case.name) {
        println!("{line}");
    }
    Ok(())
}

/// On a runtime of its own, so that nothing of the run before is left.
fn once(way: Way, messages: usize, load: Load, emulator: &Process, requests: &Arc<Requests>) -> Result<Taken> {
    let gauge = Arc::new(Gauge::new(messages));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let counted = Arc::clone(&gauge);
    let access = Arc::new(Access::parse(&emulator.connection_string)?);
    let (endpoint, requests) = (emulator.endpoint.clone(), Arc::clone(requests));
    let task = async move {
        match way {
            Way::Work => ours::work(&access, counted).await?,
            Way::Send { routing, keys } => ours::send(&access, counted, load, &requests, routing, keys).await?,
            Way::SendSingle => ours::send_single(&access, counted, load, &requests).await?,
            Way::HandWork => hand::work(&endpoint, counted, messages).await?,
            Way::HandSend { bare } => hand::send(&endpoint, counted, load, bare).await?,
            Way::HandSendSingle => hand::send_single(&endpoint, counted, load).await?,
        }
        Result::<()>::Ok(())
    };
    runtime.block_on(async { tokio::spawn(task).await })??;
    gauge.taken().ok_or_else(|| "it ended before all were seen".into())
}
