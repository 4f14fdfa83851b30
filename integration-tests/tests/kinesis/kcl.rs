//! A Kinesis Client Library that nobody here wrote reads all that we write, in order, over a split: kcl-rs, the port that
//! LocalStack keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use integration_tests::{
    again::again,
    emulators::LocalStack,
    kinesis::{Stream, connect},
};
use serde_json::Value;
use strait_core::{Key, Message};
use strait_emulators::Emulator;
use strait_kinesis::{Client, Envelope, KinesisProducer};
use strait_runtime::{Sender, SenderSettings};
use strait_testkit::Reshard;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// How long it may read nothing: it waits up to half a minute before it starts, and takes new leases every 20 s.
const TIMEOUT: Duration = Duration::from_mins(3);
/// How many keys each envelope has.
const KEYS: usize = 12;
/// How often each key is sent, before the split, beside it and after it.
const ROUNDS: [Range<usize>; 3] = [0..10, 10..20, 20..30];

/// The library in a process of its own, which ends with this.
struct Kcl {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    shards: BTreeSet<String>,
    /// The numbers of each key in the order in which they came first.
    read: BTreeMap<String, Vec<usize>>,
}

impl Kcl {
    fn start(stream: &Stream) -> Self {
        let python = strait_emulators::install(Emulator::LocalStack).unwrap().join("venv/bin/python");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinesis/kcl.py");
        let mut command = Command::new(python);
        let command = command.arg(script).args([&LocalStack::get().endpoint(), &stream.0]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, said, shards: BTreeSet::new(), read: BTreeMap::new() }
    }

    /// The next thing that it says, if it has not ended.
    async fn line(&mut self) -> Option<Value> {
        let line = timeout(TIMEOUT, self.said.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("it reads nothing more; so far: {:?}", self.read));
        line.unwrap().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// Reads until there is so much of each key.
    async fn read_until(&mut self, count: usize, keys: usize) {
        let is_done = |numbers: &Vec<usize>| numbers.len() >= count;
        while self.read.len() < keys || !self.read.values().all(is_done) {
            let said = self.line().await.expect("it goes on until it is told to end");
            self.shards.insert(said["shard"].as_str().unwrap().to_owned());
            for record in said["records"].as_array().unwrap() {
                let (name, number) = record[1].as_str().unwrap().split_once(' ').unwrap();
                let partition_key = if name == "keyless" { "-" } else { name };
                assert_eq!(record[0], partition_key);
                let (numbers, number) = (self.read.entry(name.to_owned()).or_default(), number.parse().unwrap());
                // What it did not checkpoint is redelivered.
                if !numbers.contains(&number) {
                    numbers.push(number);
                }
            }
        }
    }

    /// Ends it, and brings the checkpoints of its shards.
    async fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut last = Value::Null;
        while let Some(said) = self.line().await {
            last = said;
        }
        assert!(self.child.wait().await.unwrap().success());
        last["leases"].take()
    }
}

/// What we send with: an envelope each, to one stream.
struct Ours([Sender; 2]);

impl Ours {
    async fn open(client: &Client, stream: &Stream) -> Self {
        let open = async |envelope| {
            let producer = again(|| KinesisProducer::open(client, &stream.0, envelope)).await.unwrap();
            Sender::new(Arc::new(producer), SenderSettings::default()).unwrap()
        };
        Self([open(Envelope::Kpl).await, open(Envelope::Plain).await])
    }

    /// Sends these numbers of each key, and of messages without one.
    async fn send(&self, numbers: Range<usize>) {
        for (sender, envelope) in self.0.iter().zip(["kpl", "plain"]) {
            let one = |number: usize, key: usize| {
                let name = format!("{envelope}-{key}");
                Message::new(format!("{name} {number}")).with_key(Key::new(&name).unwrap())
            };
            let mut messages: Vec<_> =
                numbers.clone().flat_map(|number| (0..KEYS).map(move |key| one(number, key))).collect();
            if envelope == "kpl" {
                messages = messages.into_iter().map(|message| message.with_header("by", "card")).collect();
                messages.extend(numbers.clone().map(|number| Message::new(format!("keyless {number}"))));
            }
            for outcome in sender.send_all(messages).await {
                outcome.into_result().unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_kcl_reads_all_that_we_write_over_a_split() {
    let client = again(connect).await.unwrap();
    let stream = Stream::create(&client, 2).await.unwrap();
    let ours = Ours::open(&client, &stream).await;
    let keys = 2 * KEYS + 1;
    ours.send(ROUNDS[0].clone()).await;
    let mut kcl = Kcl::start(&stream);
    // The split comes once it has started: see the README of the emulators for why it could not start afterwards.
    kcl.read_until(1, keys).await;
    let ((), split) = tokio::join!(ours.send(ROUNDS[1].clone()), stream.reshard(&client, Reshard::Split));
    split.unwrap();
    ours.send(ROUNDS[2].clone()).await;
    kcl.read_until(ROUNDS[2].end, keys).await;

    let mut read = std::mem::take(&mut kcl.read);
    let mut keyless = read.remove("keyless").unwrap();
    keyless.sort_unstable(); // where there is no key, there is no order
    read.insert("keyless".to_owned(), keyless);
    let all: Vec<_> = (0..ROUNDS[2].end).collect();
    for (key, numbers) in read {
        assert_eq!(numbers, all, "{key}");
    }
    assert_eq!(kcl.shards.len(), 4, "both children have records");
    let leases = kcl.end().await;
    let leases = leases.as_object().unwrap();
    assert_eq!((leases.len(), &leases["shardId-000000000000"]), (4, &Value::from("SHARD_END")), "{leases:?}");
    stream.delete(&client).await.unwrap();
}
