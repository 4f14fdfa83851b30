//! Processes of a group on a stream that is split and merged while it is written and read: one is killed, and nothing is lost
//! or out of order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{PipeWriter, pipe},
    sync::Arc,
    time::Duration,
};

use integration_tests::{
    again::again,
    kinesis::{Stream, connect},
};
use strait_core::{Key, Message};
use strait_kinesis::{Envelope, KinesisProducer};
use strait_runtime::{Sender, SenderSettings};
use strait_testkit::Reshard;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::unix::pipe::Receiver,
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

use crate::configuration::{connection, receiver};

/// How long no message may be read: leases of 10 s expire meanwhile.
const TIMEOUT: Duration = Duration::from_mins(2);
const KEYS: usize = 16;
/// How far the producer may be ahead of the group, in messages of each key.
const AHEAD: usize = 50;

/// The processes of a group, which end with this.
struct Group {
    processes: BTreeMap<u32, Child>,
    /// They also end when this is closed, which it is however this process ends.
    _stdin: PipeWriter,
    /// One pipe for all of them, so that what they say has one order.
    said: Lines<BufReader<Receiver>>,
    /// Who said something.
    heard: BTreeSet<u32>,
    /// Who said the last of it.
    last: u32,
    /// The numbers of each key, in the order in which they were first said.
    read: BTreeMap<String, Vec<usize>>,
}

impl Group {
    fn start(count: usize, text: &str) -> Self {
        let ((reader, writer), (stdin, alive)) = (pipe().unwrap(), pipe().unwrap());
        let mut processes = BTreeMap::new();
        for _ in 0..count {
            let mut command = Command::new(env!("CARGO_BIN_EXE_group-worker"));
            let command = command.arg(text).stdin(stdin.try_clone().unwrap()).stdout(writer.try_clone().unwrap());
            let child = command.kill_on_drop(true).spawn().unwrap();
            processes.insert(child.id().unwrap(), child);
        }
        let said = BufReader::new(Receiver::from_owned_fd(reader.into()).unwrap()).lines();
        Self { processes, _stdin: alive, said, heard: BTreeSet::new(), last: 0, read: BTreeMap::new() }
    }

    /// Reads until so many messages of each key were handled, by each process at least one.
    async fn read_until(&mut self, count: usize, progress: &watch::Sender<Progress>) {
        while self.fewest() < count || self.heard.len() < self.processes.len() {
            let line = timeout(TIMEOUT, self.said.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("nothing more comes; so far: {:?}", self.read));
            let line = line.unwrap().expect("somebody runs");
            let [process, key, number] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (process, number) = (process.parse().unwrap(), number.parse().unwrap());
            self.heard.insert(process);
            self.last = process;
            let numbers = self.read.entry(key.to_owned()).or_default();
            // What was not committed when its process was killed is redelivered.
            if !numbers.contains(&number) {
                numbers.push(number);
            }
            progress.send_modify(|progress| progress.read = self.fewest());
        }
    }

    fn fewest(&self) -> usize {
        let fewest = self.read.values().map(Vec::len).min().unwrap_or_default();
        if self.read.len() < KEYS { 0 } else { fewest }
    }
}

/// What the test and the producer tell each other.
#[derive(Debug, Default)]
struct Progress {
    /// How many of each key were sent.
    sent: usize,
    /// How many of each key were read.
    read: usize,
    stop: bool,
}

/// Sends a message of each key, round after round, until it is told to stop.
async fn load(sender: Sender, progress: watch::Sender<Progress>) {
    let mut told = progress.subscribe();
    for number in 0.. {
        let stop = told.wait_for(|told| told.stop || number < told.read + AHEAD).await.unwrap().stop;
        if stop {
            return;
        }
        let message = |key| {
            let name = format!("key-{key}");
            Message::new(format!("{name} {number}")).with_key(Key::new(&name).unwrap())
        };
        for outcome in sender.send_all((0..KEYS).map(message)).await {
            outcome.into_result().unwrap();
        }
        progress.send_modify(|progress| progress.sent = number + 1);
    }
}

#[tokio::test]
async fn nothing_is_lost_where_a_process_is_killed_and_shards_are_split_and_merged() {
    let client = again(connect).await.unwrap();
    let stream = Stream::create(&client, 4).await.unwrap();
    let producer = again(|| KinesisProducer::open(&client, &stream.0, Envelope::Kpl)).await.unwrap();
    let sender = Sender::new(Arc::new(producer), SenderSettings::default()).unwrap();
    let progress = watch::Sender::new(Progress::default());
    // A count of messages whose last one is sent from now on: one may be in flight.
    let next = || progress.borrow().sent + 2;
    let load = tokio::spawn(load(sender, progress.clone()));
    let sent = async |count| {
        let mut told = progress.subscribe();
        timeout(TIMEOUT, told.wait_for(|told| told.sent >= count)).await.expect("it sends").unwrap();
    };
    sent(AHEAD / 2).await;
    stream.reshard(&client, Reshard::Split).await.unwrap();
    sent(AHEAD).await;
    // Both the parent and its children have a backlog now: the order shows whether a parent is read first.
    let leases = tempfile::tempdir().unwrap();
    let mut group = Group::start(3, &[connection(), receiver("app", &stream, leases.path())].concat());
    group.read_until(next(), &progress).await;
    stream.reshard(&client, Reshard::Merge).await.unwrap();
    group.read_until(next(), &progress).await;
    stream.reshard(&client, Reshard::Split).await.unwrap();
    let mut killed = group.processes.remove(&group.last).unwrap();
    killed.kill().await.unwrap();
    // The others take its leases over.
    group.read_until(next(), &progress).await;
    progress.send_modify(|progress| progress.stop = true);
    load.await.unwrap();
    let sent = progress.borrow().sent;
    group.read_until(sent, &progress).await;

    let all: Vec<_> = (0..sent).collect();
    for (key, numbers) in &group.read {
        assert_eq!(*numbers, all, "{key}");
    }
    for (id, mut process) in group.processes {
        assert!(Command::new("kill").arg(id.to_string()).status().await.unwrap().success());
        assert!(process.wait().await.unwrap().success());
    }
    stream.delete(&client).await.unwrap();
}
