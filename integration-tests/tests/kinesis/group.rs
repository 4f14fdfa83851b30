//! The processes of a group, and what sends to the stream that they consume.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{PipeReader, PipeWriter, pipe},
    sync::Arc,
    time::{Duration, Instant},
};

use strait_core::{Key, Message};
use strait_kinesis::KinesisProducer;
use strait_runtime::{Sender, SenderSettings};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::unix::pipe::Receiver,
    process::{Child, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// How long no message may be read: leases of 10 s expire meanwhile.
const TIMEOUT: Duration = Duration::from_mins(2);
const KEYS: usize = 16;
/// How far the producer may be ahead of the group, in messages of each key.
pub(crate) const AHEAD: usize = 50;

/// What a process said: that it handles a message.
#[derive(Debug)]
struct Said {
    process: u32,
    key: String,
    at: Instant,
}

/// The processes of a group, which end with this.
pub(crate) struct Group {
    /// What says how the stream is consumed.
    text: String,
    processes: BTreeMap<u32, Child>,
    /// They also end when its other end is closed, which it is however this process ends.
    stdin: PipeReader,
    _alive: PipeWriter,
    /// One pipe for all of them, so that what they say has one order.
    writer: PipeWriter,
    lines: Lines<BufReader<Receiver>>,
    said: Vec<Said>,
    /// Who said something.
    heard: BTreeSet<u32>,
    /// The numbers of each key, in the order in which they were first said.
    read: BTreeMap<String, Vec<usize>>,
}

impl Group {
    pub(crate) fn start(count: usize, text: &str) -> Self {
        let ((reader, writer), (stdin, alive)) = (pipe().unwrap(), pipe().unwrap());
        let lines = BufReader::new(Receiver::from_owned_fd(reader.into()).unwrap()).lines();
        let mut group = Self {
            text: text.to_owned(),
            processes: BTreeMap::new(),
            stdin,
            _alive: alive,
            writer,
            lines,
            said: Vec::new(),
            heard: BTreeSet::new(),
            read: BTreeMap::new(),
        };
        for _ in 0..count {
            group.join();
        }
        group
    }

    /// Starts one more.
    pub(crate) fn join(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_group-worker"));
        let (stdin, stdout) = (self.stdin.try_clone().unwrap(), self.writer.try_clone().unwrap());
        let child = command.arg(&self.text).stdin(stdin).stdout(stdout).kill_on_drop(true).spawn().unwrap();
        self.processes.insert(child.id().unwrap(), child);
    }

    /// Who said the last.
    pub(crate) fn last(&self) -> u32 {
        self.said.last().unwrap().process
    }

    pub(crate) async fn kill(&mut self, id: u32) {
        self.processes.remove(&id).unwrap().kill().await.unwrap();
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, id: u32, signal: &str) {
        assert!(Command::new("kill").args([signal, &id.to_string()]).status().await.unwrap().success());
    }

    /// Of this one nothing more is asked until it is heard again.
    pub(crate) fn forget(&mut self, id: u32) -> Child {
        self.heard.remove(&id);
        self.processes.remove(&id).unwrap()
    }

    /// Asks of this one to be heard.
    pub(crate) fn expect(&mut self, child: Child) {
        self.heard.remove(&child.id().unwrap());
        self.processes.insert(child.id().unwrap(), child);
    }

    /// Stops all, in order.
    pub(crate) async fn stop(mut self) {
        while let Some((id, mut process)) = self.processes.pop_first() {
            self.signal(id, "-TERM").await;
            assert!(process.wait().await.unwrap().success());
        }
    }

    /// Reads until so many messages of each key were handled, by each process at least one.
    pub(crate) async fn read_until(&mut self, count: usize, load: &Load) {
        while self.fewest() < count || !self.processes.keys().all(|id| self.heard.contains(id)) {
            let line = timeout(TIMEOUT, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("nothing more comes; so far: {:?}", self.read));
            let line = line.unwrap().expect("the pipe is held here, too");
            let [process, key, number] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let (process, number) = (process.parse().unwrap(), number.parse().unwrap());
            self.heard.insert(process);
            self.said.push(Said { process, key: key.to_owned(), at: Instant::now() });
            let numbers = self.read.entry(key.to_owned()).or_default();
            // What was not committed when its process was killed is redelivered.
            if !numbers.contains(&number) {
                numbers.push(number);
            }
            load.progress.send_modify(|progress| progress.read = self.fewest());
        }
    }

    fn fewest(&self) -> usize {
        let fewest = self.read.values().map(Vec::len).min().unwrap_or_default();
        if self.read.len() < KEYS { 0 } else { fewest }
    }

    /// That all that was sent was handled, in order of each key.
    pub(crate) fn check(&self, sent: usize) {
        let all: Vec<_> = (0..sent).collect();
        for (key, numbers) in &self.read {
            assert_eq!(*numbers, all, "{key}");
        }
    }

    /// How many were handled more than once.
    pub(crate) fn repeated(&self) -> usize {
        self.said.len() - self.read.values().map(Vec::len).sum::<usize>()
    }

    /// How long it took until others handled what comes next of every key that a process had at that time.
    pub(crate) fn takeover(&self, from: u32, since: Instant) -> Duration {
        let mut owners: BTreeMap<&str, u32> = BTreeMap::new();
        for said in self.said.iter().filter(|said| said.at <= since) {
            owners.insert(&said.key, said.process);
        }
        let keys: BTreeSet<_> = owners.iter().filter(|(_, owner)| **owner == from).map(|(key, _)| *key).collect();
        assert!(!keys.is_empty(), "it had none");
        let next = |key: &&str| {
            let mut later = self.said.iter().filter(|said| said.at > since && said.process != from);
            later.find(|said| said.key == **key).unwrap().at
        };
        keys.iter().map(next).max().unwrap() - since
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

/// What sends a message of each key, round after round, until it is told to stop.
pub(crate) struct Load {
    progress: watch::Sender<Progress>,
    task: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(producer: KinesisProducer) -> Self {
        let sender = Sender::new(Arc::new(producer), SenderSettings::default()).unwrap();
        let progress = watch::Sender::new(Progress::default());
        let task = tokio::spawn(send(sender, progress.clone()));
        Self { progress, task }
    }

    /// A count of messages of each key whose last one is sent from now on: one may be in flight.
    pub(crate) fn next(&self) -> usize {
        self.progress.borrow().sent + 2
    }

    /// Waits until so many of each key were sent.
    pub(crate) async fn sent(&self, count: usize) {
        let mut told = self.progress.subscribe();
        timeout(TIMEOUT, told.wait_for(|told| told.sent >= count)).await.expect("it sends").unwrap();
    }

    /// Stops, and says how many of each key were sent.
    pub(crate) async fn stop(&mut self) -> usize {
        self.progress.send_modify(|progress| progress.stop = true);
        (&mut self.task).await.unwrap();
        self.progress.borrow().sent
    }
}

async fn send(sender: Sender, progress: watch::Sender<Progress>) {
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
