//! `kinesis [--rounds N] [--messages N] [--bytes N] [--shards N] [--callers N] [--limit N] [--only ours|hand] [CASE ...]`:
//! what Strait adds to the SDK of Kinesis, before a stub that answers at once, in a process of its own.
//!
//! Each round runs the case by Strait and by hand, taking turns in who is first, on one thread. Prints medians of both,
//! and of the ratios of each round the median and the quartiles; then how many records the requests had.
//! `--only` is for a profiler: it runs one of the two, and prints nothing.
//!
//! `kinesis quotas`: how much of AWS's quotas is used, before the strict stub of the tests; `kinesis idle`: what a thousand
//! shards cost where nothing comes.

#![allow(clippy::print_stdout, reason = "a program whose result is a table")]

mod load;
mod ours;
mod quotas;
mod raw;
mod strict;
mod stub;

use std::{env, error::Error, sync::Arc, time::Duration};

use load::{Content, Load};
use raw::Packing;
use strait_benches::{
    Gauge, Rounds, Taken, WHO,
    stub::{Counts, Stub, WORD},
};
use strait_config::Secret;
use strait_kinesis::{Access, Client, Envelope, Keys};
use tokio::runtime::Builder;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How many keys messages have, where they have any.
const KEYS: usize = 5000;

/// A case: by Strait, and by hand; what the stub holds, how long a request to send takes there, and how many are under way.
struct Case {
    name: &'static str,
    ways: [Way; 2],
    content: Content,
    delay: Duration,
    requests: usize,
}

const fn case(name: &'static str, ours: Way, hand: Way, content: Content) -> Case {
    Case { name, ways: [ours, hand], content, delay: Duration::ZERO, requests: 8 }
}

const SEND: Way = Way::Send { envelope: Envelope::Kpl, keys: 0 };

const CASES: [Case; 9] = [
    case("work", Way::Work, Way::HandWork { bare: false }, Content::Kpl(1)),
    case("work-shared", Way::Work, Way::HandWork { bare: false }, Content::Kpl(100)),
    case("work-plain", Way::Work, Way::HandWork { bare: true }, Content::Plain),
    case("send", SEND, Way::HandSend(Packing::Together), Content::Nothing),
    case(
        "send-keyed",
        Way::Send { envelope: Envelope::Kpl, keys: KEYS },
        Way::HandSend(Packing::Apart),
        Content::Nothing,
    ),
    case(
        "send-plain",
        Way::Send { envelope: Envelope::Plain, keys: KEYS },
        Way::HandSend(Packing::Bare),
        Content::Nothing,
    ),
    Case {
        delay: Duration::from_millis(10),
        requests: 2,
        ..case("send-slow", SEND, Way::HandSend(Packing::Together), Content::Nothing)
    },
    case("enqueue", SEND, Way::HandSendSingle, Content::Nothing),
    case("callers", Way::SendSingle, Way::HandSendSingle, Content::Nothing),
];

#[derive(Clone, Copy, Debug)]
enum Way {
    Work,
    HandWork { bare: bool },
    Send { envelope: Envelope, keys: usize },
    HandSend(Packing),
    SendSingle,
    HandSendSingle,
}

struct Plan {
    rounds: usize,
    messages: usize,
    bytes: usize,
    shards: usize,
    load: Load,
    /// Which of the two alone.
    only: Option<usize>,
    cases: Vec<String>,
}

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if(|argument| argument == WORD).is_some() {
        return serve(&arguments.collect::<Vec<_>>());
    }
    match arguments.peek().map(String::as_str) {
        Some("quotas") => return quotas::run(arguments.skip(1)),
        Some("idle") => return quotas::idle(),
        _ => {}
    }
    let plan = plan(arguments)?;
    let (rounds, messages) = (plan.rounds, plan.messages);
    println!("{rounds} rounds of {messages} messages of {} bytes, {} shards, one thread\n", plan.bytes, plan.shards);
    println!("{}", Rounds::head());
    for case in CASES {
        if plan.cases.is_empty() || plan.cases.iter().any(|name| *name == case.name) {
            measure(&plan, &case)?;
        }
    }
    Ok(())
}

/// Serves, as these words say.
fn serve(words: &[String]) -> Result<()> {
    if let [word, words @ ..] = words
        && word == strict::WORD
    {
        return strict::serve(words);
    }
    let [shards, bytes, content, delay] = words else { return Err("a stub has four words".into()) };
    let mut load = Load::new(bytes.parse()?);
    load.content = Content::read(content).ok_or("there is no such content")?;
    Ok(stub::serve(shards.parse()?, load, Duration::from_millis(delay.parse()?))?)
}

/// Starts a stub of its own.
fn start(shards: usize, bytes: usize, content: Content, delay: Duration) -> Result<Stub> {
    let words = [shards.to_string(), bytes.to_string(), content.to_string(), delay.as_millis().to_string()];
    Ok(Stub::start(&words)?)
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan> {
    let mut plan = Plan {
        rounds: 15,
        messages: 100_000,
        bytes: 1024,
        shards: 16,
        load: Load::new(1024),
        only: None,
        cases: Vec::new(),
    };
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<usize> { Ok(arguments.next().ok_or("a number is missing")?.parse()?) };
        match argument.as_str() {
            "--rounds" => plan.rounds = number()?,
            "--messages" => plan.messages = number()?,
            "--bytes" => {
                plan.bytes = number()?;
                plan.load.payload = Load::new(plan.bytes).payload;
            }
            "--shards" => plan.shards = number()?,
            "--callers" => plan.load.callers = number()?,
            "--limit" => plan.load.limit = i32::try_from(number()?)?,
            "--only" => plan.only = arguments.next().and_then(|who| WHO.iter().position(|name| *name == who)),
            name if CASES.iter().any(|case| case.name == name) => plan.cases.push(argument),
            other => return Err(format!("{other}: there is no such case").into()),
        }
    }
    Ok(plan)
}

fn measure(plan: &Plan, case: &Case) -> Result<()> {
    let stub = start(plan.shards, plan.bytes, case.content, case.delay)?;
    let load = Load { content: case.content, requests: case.requests, ..plan.load };
    let once = |turn: usize| -> Result<(Taken, Counts)> {
        let way = case.ways[turn];
        // Fewer of what takes long.
        let messages = if matches!(way, Way::HandSendSingle) { plan.messages / 10 } else { plan.messages };
        Ok((once(way, messages, load, &stub.endpoint())?, stub.counts()?))
    };
    for line in Rounds::run(plan.rounds, plan.only, once)?.lines(case.name) {
        println!("{line}");
    }
    Ok(())
}

/// On a runtime of its own, so that nothing of the run before is left.
fn once(way: Way, messages: usize, load: Load, endpoint: &str) -> Result<Taken> {
    let gauge = Arc::new(Gauge::new(messages));
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (counted, endpoint) = (Arc::clone(&gauge), endpoint.to_owned());
    let task = async move {
        let client = connect(&endpoint).await?;
        let sdk = client.kinesis().clone();
        match way {
            Way::Work => ours::work(&endpoint, counted).await?,
            Way::Send { envelope, keys } => ours::send(client, counted, load, envelope, keys).await?,
            Way::SendSingle => ours::send_single(client, counted, load).await?,
            Way::HandWork { bare } => raw::work(sdk, counted, load, bare).await?,
            Way::HandSend(packing) => raw::send(sdk, counted, load, packing).await?,
            Way::HandSendSingle => raw::send_single(sdk, counted, load).await?,
        }
        Result::Ok(())
    };
    runtime.block_on(async { tokio::spawn(task).await })??;
    gauge.taken().ok_or_else(|| "it ended before all were seen".into())
}

/// The same client for both: without retries of its own, so that these cost nothing.
async fn connect(endpoint: &str) -> Result<Client> {
    let mut access = Access::default();
    access.region = Some("us-east-1".to_owned());
    access.endpoint = Some(endpoint.to_owned());
    access.keys = Some(Keys { id: Secret::new("test"), secret: Secret::new("test"), session_token: None });
    Ok(Client::connect(&access).await?)
}
