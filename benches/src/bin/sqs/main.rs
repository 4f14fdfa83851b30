//! `sqs [--rounds N] [--messages N] [--bytes N] [--callers N] [--only ours|hand] [CASE ...]`: what Strait adds to the SDK
//! of SQS, before a stub that answers at once, in a process of its own.
//!
//! Each round runs the case by Strait and by hand, taking turns in who is first, on one thread. Prints medians of both,
//! and of the ratios of each round the median and the quartiles; then how many messages the requests had.
//! `--only` is for a profiler: it runs one of the two, and prints nothing.

#![allow(clippy::print_stdout, reason = "a program whose result is a table")]

mod ours;
mod raw;
mod stub;

use std::{env, error::Error, sync::Arc};

use strait_benches::{
    Gauge, Rounds, Taken, WHO,
    stub::{Counts, Stub, WORD},
};
use strait_config::Secret;
use strait_sqs::{Access, Client, Keys};
use tokio::runtime::Builder;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the queue is called.
const QUEUE: &str = "bench";

/// A case: by Strait, and by hand.
const CASES: [(&str, Way, Way); 6] = [
    ("work", Way::Work, Way::RawWork { bare: false }),
    ("work-bare", Way::Work, Way::RawWork { bare: true }),
    ("send", Way::Send, Way::RawSend { bare: false }),
    ("send-bare", Way::Send, Way::RawSend { bare: true }),
    ("single", Way::SendSingle, Way::RawSendSingle),
    ("pipelined", Way::Send, Way::RawSendSingle),
];

#[derive(Clone, Copy, Debug)]
enum Way {
    Work,
    RawWork { bare: bool },
    Send,
    RawSend { bare: bool },
    SendSingle,
    RawSendSingle,
}

/// What is sent, and by how many.
#[derive(Clone, Copy, Debug)]
struct Load {
    /// Text, which is a body as it is.
    payload: &'static str,
    /// How many send one message each and wait for it.
    callers: usize,
}

impl Load {
    fn new(bytes: usize, callers: usize) -> Self {
        Self { payload: "x".repeat(bytes).leak(), callers }
    }
}

struct Plan {
    rounds: usize,
    messages: usize,
    load: Load,
    /// Which of the two alone.
    only: Option<usize>,
    cases: Vec<String>,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == WORD).is_some() {
        let bytes = arguments.next().ok_or("how large messages are is missing")?.parse()?;
        return Ok(stub::serve(Load::new(bytes, 0).payload)?);
    }
    let plan = plan(arguments)?;
    let Load { payload, callers } = plan.load;
    let stub = Stub::start(&[payload.len().to_string()])?;
    let (rounds, messages) = (plan.rounds, plan.messages);
    println!("{rounds} rounds of {messages} messages of {} bytes, one thread, {callers} callers\n", payload.len());
    println!("{}", Rounds::head());
    for (name, ours, raw) in CASES {
        if plan.cases.is_empty() || plan.cases.iter().any(|case| case == name) {
            measure(name, &plan, &stub, ours, raw)?;
        }
    }
    Ok(())
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan { rounds: 15, messages: 50_000, load: Load::new(1024, 64), only: None, cases: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize> { Ok(arguments.next().ok_or("a number is missing")?.parse()?) };
        match argument.as_str() {
            "--rounds" => plan.rounds = number()?,
            "--messages" => plan.messages = number()?,
            "--bytes" => plan.load = Load::new(number()?, plan.load.callers),
            "--callers" => plan.load.callers = number()?,
            "--only" => plan.only = arguments.next().and_then(|who| WHO.iter().position(|name| *name == who)),
            case if CASES.iter().any(|(name, ..)| *name == case) => plan.cases.push(argument),
            other => return Err(format!("{other}: there is no such case").into()),
        }
    }
    Ok(plan)
}

fn measure(name: &str, plan: &Plan, stub: &Stub, ours: Way, raw: Way) -> Result<()> {
    let once = |turn: usize| -> Result<(Taken, Counts)> {
        let way = [ours, raw][turn];
        // Fewer of what takes long.
        let messages = if matches!(way, Way::RawSendSingle) { plan.messages / 8 } else { plan.messages };
        Ok((once(way, messages, plan.load, stub)?, stub.counts()?))
    };
    for line in Rounds::run(plan.rounds, plan.only, once)?.lines(name) {
        println!("{line}");
    }
    Ok(())
}

/// On a runtime of its own, so that nothing of the run before is left.
fn once(way: Way, messages: usize, load: Load, stub: &Stub) -> Result<Taken> {
    let gauge = Arc::new(Gauge::new(messages));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let counted = Arc::clone(&gauge);
    let endpoint = stub.endpoint();
    let task = async move {
        let client = connect(endpoint).await?;
        let sdk = client.sqs().clone();
        match way {
            Way::Work => ours::work(client, counted).await?,
            Way::Send => ours::send(client, counted, load).await?,
            Way::SendSingle => ours::send_single(client, counted, load).await?,
            Way::RawWork { bare } => raw::work(sdk, counted, bare).await?,
            Way::RawSend { bare } => raw::send(sdk, counted, load, bare).await?,
            Way::RawSendSingle => raw::send_single(sdk, counted, load).await?,
        }
        Result::Ok(())
    };
    runtime.block_on(async { tokio::spawn(task).await })??;
    gauge.taken().ok_or_else(|| "it ended before all were seen".into())
}

/// The same client for both: without retries of its own, so that these cost nothing.
async fn connect(endpoint: String) -> Result<Client> {
    let mut access = Access::default();
    access.region = Some("us-east-1".to_owned());
    access.endpoint = Some(endpoint);
    access.keys = Some(Keys { id: Secret::new("test"), secret: Secret::new("test"), session_token: None });
    Ok(Client::connect(&access).await?)
}
