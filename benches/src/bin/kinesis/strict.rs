//! The strict stub of the tests, with AWS's quotas and a clock that runs.

use std::{
    io::{self, Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use strait_benches::stub::Stub;
use strait_testkit::kinesis::{Call, Fault, StreamSettings, Stub as Strict};
use tokio::{runtime::Builder, time::sleep};

use crate::{
    Result,
    load::{STREAM, keys, shard_of},
};

/// The word by which a stub is told to be this one.
pub(crate) const WORD: &str = "strict";
/// How often its clock is moved.
const TICK: Duration = Duration::from_millis(5);
/// Over how many keys what is stored before is spread.
const KEYS: usize = 4096;

/// What it is to be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strictness {
    pub(crate) shards: usize,
    /// How many records each shard holds at first, on average.
    pub(crate) backlog: usize,
    /// How large they are.
    pub(crate) bytes: usize,
    /// Whether the first shard takes nothing.
    pub(crate) throttles_first: bool,
}

impl Strictness {
    pub(crate) fn start(self) -> Result<Stub> {
        let numbers = [self.shards, self.backlog, self.bytes, usize::from(self.throttles_first)];
        let words: Vec<_> = [WORD.to_owned()].into_iter().chain(numbers.map(|number| number.to_string())).collect();
        Ok(Stub::start(&words)?)
    }
}

/// Says where it listens, and serves until nobody holds its standard input.
pub(crate) fn serve(words: &[String]) -> Result<()> {
    let numbers: Vec<usize> = words.iter().map(|word| word.parse()).collect::<std::result::Result<_, _>>()?;
    let [shards, backlog, bytes, throttles_first] = numbers[..] else { return Err("four numbers are needed".into()) };
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let stub = Strict::start().await;
        stub.create(STREAM, StreamSettings::default().with_shards(shards).with_quotas());
        let keys = keys(KEYS);
        for number in 0..shards * backlog {
            stub.put(STREAM, keys[number % KEYS].as_str(), vec![7; bytes]);
        }
        if throttles_first == 1 {
            stub.plan(move |call| throttle(call, shards));
        }
        writeln!(io::stdout(), "{}", stub.url().trim_start_matches("http://"))?;
        let mut told = Instant::now();
        loop {
            sleep(TICK).await;
            let now = Instant::now();
            stub.advance(now - std::mem::replace(&mut told, now));
            stub.forget_calls();
        }
    })
}

fn throttle(call: &Call, shards: usize) -> Option<Fault> {
    let records = call.body["Records"].as_array().filter(|_| call.operation == "PutRecords")?;
    let is_first = |record: &Value| shard_of(record["PartitionKey"].as_str().unwrap_or_default(), shards) == 0;
    let places = records.iter().enumerate().filter(|(_, record)| is_first(record)).map(|(place, _)| place).collect();
    Some(Fault::Mask(places, "ProvisionedThroughputExceededException"))
}
