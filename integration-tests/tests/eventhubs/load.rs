//! A group that reads while much is sent, and what happens to the hub meanwhile.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Key, Message};
use strait_eventhubs::EventHubs;
use strait_eventhubs_emulator::{Disruption, Emulator, HubSettings, SendFault};
use strait_runtime::{Receiver, Sender};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::emulator;

const KEYS: usize = 16;
/// How many messages of a key are sent before they are read, at most.
const AHEAD: usize = 50;
const TIMEOUT: Duration = Duration::from_mins(2);

/// What was read of a key.
#[derive(Debug, Default)]
struct Read {
    /// Numbers, in the order in which they first came, each with its partition.
    first: Vec<(usize, String)>,
    /// How often the first message came.
    restarts: usize,
}

/// A sender under load, and two members of a group.
struct Load {
    bus: Bus,
    /// How many of each key were sent, once it has been told to stop.
    sending: Option<JoinHandle<usize>>,
    stop: watch::Sender<bool>,
    /// How many of each key were read at least: the sender is not further ahead than so many.
    fewest: watch::Sender<usize>,
    came: mpsc::UnboundedReceiver<(usize, usize, String)>,
    read: BTreeMap<usize, Read>,
    receivers: Vec<Receiver>,
    _leases: tempfile::TempDir,
}

impl Load {
    async fn start(emulator: &Emulator) -> Self {
        let leases = tempfile::tempdir().unwrap();
        let connection = emulator.connection_string("orders");
        let folder = leases.path().display();
        let text = format!(
            r#"
provider = "eventhubs"
[connections.eventhubs]
connection_string = "{connection}"
timeout = "2s"
[senders.out.on.eventhubs]
hub = "orders"
[receivers.app]
ordering = "key"
dead_letter = "discard"
[receivers.app.on.eventhubs]
hub = "orders"
group = "billing"
leases = "file:{folder}"
expiry = "3s"
"#
        );
        let registry = Registry::new().with(EventHubs);
        let bus = Bus::builder(registry).environment(|_| None).text("strait.toml", &text).build().unwrap();
        let (stop, fewest) = (watch::Sender::new(false), watch::Sender::new(0));
        let (tell, came) = mpsc::unbounded_channel();
        let mut receivers = Vec::new();
        for _ in 0..2 {
            let receiver = bus.receiver("app").await.unwrap();
            tokio::spawn(receive(receiver.clone(), tell.clone()));
            receivers.push(receiver);
        }
        let sending = tokio::spawn(send(bus.sender("out").await.unwrap(), fewest.subscribe(), stop.subscribe()));
        Self { bus, sending: Some(sending), stop, fewest, came, read: BTreeMap::new(), receivers, _leases: leases }
    }

    fn fewest(&self) -> usize {
        *self.fewest.borrow()
    }

    /// Reads until so many of each key came.
    async fn read_until(&mut self, count: usize) {
        while self.fewest() < count {
            let came = timeout(TIMEOUT, self.came.recv()).await;
            let Ok(Some((key, number, partition))) = came else {
                let numbers: Vec<_> = self.read.values().map(|read| read.first.len()).collect();
                let health: Vec<_> = self.receivers.iter().map(Receiver::health).collect();
                panic!("nothing more comes: {numbers:?}, {health:?}");
            };
            let read = self.read.entry(key).or_default();
            read.restarts += usize::from(number == 0);
            if !read.first.iter().any(|(first, _)| *first == number) {
                read.first.push((number, partition));
            }
            let fewest = self.read.values().map(|read| read.first.len()).min().unwrap_or_default();
            let fewest = if self.read.len() < KEYS { 0 } else { fewest };
            self.fewest.send_if_modified(|before| std::mem::replace(before, fewest) != fewest);
        }
    }

    /// Stops sending, and reads all that was sent.
    async fn finish(&mut self) -> usize {
        self.stop.send_replace(true);
        let mut sending = self.sending.take().unwrap();
        // Reading goes on meanwhile, until it is known how much was sent.
        let sent = loop {
            let next = self.fewest() + 1;
            tokio::select! {
                sent = &mut sending => break sent.unwrap(),
                () = self.read_until(next) => {}
            }
        };
        self.read_until(sent).await;
        sent
    }

    async fn close(self) {
        self.bus.close().await.unwrap();
    }

    fn restarts(&self) -> usize {
        self.read.values().map(|read| read.restarts).sum()
    }
}

/// Sends a message of each key, round after round. How many of each were confirmed.
async fn send(sender: Sender, mut read: watch::Receiver<usize>, mut stop: watch::Receiver<bool>) -> usize {
    for number in 0.. {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return number,
            read = read.wait_for(|read| number < read + AHEAD) => drop(read.unwrap()),
        }
        let message = |key| Message::new(format!("{key} {number}")).with_key(Key::new(&format!("key-{key}")).unwrap());
        for outcome in sender.send_all((0..KEYS).map(message)).await {
            outcome.into_result().unwrap();
        }
    }
    unreachable!("it has an end")
}

async fn receive(receiver: Receiver, tell: mpsc::UnboundedSender<(usize, usize, String)>) {
    while let Ok(Some(delivery)) = receiver.recv().await {
        let text = String::from_utf8_lossy(&delivery.message().payload).into_owned();
        let (key, number) = text.split_once(' ').unwrap();
        let partition = delivery.partition().unwrap_or_default().to_owned();
        if tell.send((key.parse().unwrap(), number.parse().unwrap(), partition)).is_err() {
            return; // the test is over
        }
        delivery.ack();
    }
}

/// All that a service does to links, connections and requests, together and one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_loses_nothing_and_starts_nothing_again() {
    let emulator = emulator().await;
    let mut load = Load::start(&emulator).await;
    let start = Instant::now();
    // Until positions are committed, which they are each second.
    while start.elapsed() < Duration::from_secs(3) {
        load.read_until(load.fewest() + 1).await;
    }
    let before = load.restarts();
    let (detach, cut) = (Disruption::DetachReceivers { hub: None }, Disruption::DetachSenders { hub: None });
    let steal = Disruption::Steal { hub: Some("orders".into()), partition: None };
    let faults = emulator.faults();
    for round in 0..4 {
        for disruption in [&detach, &Disruption::DropConnections, &cut, &steal, &Disruption::CloseConnections, &detach]
        {
            let fault = [SendFault::LoseAnswer, SendFault::Release, SendFault::Modify, SendFault::NeverSettle][round];
            faults.next_sends(fault, 1);
            faults.disrupt(disruption.clone());
            load.read_until(load.fewest() + 3).await;
        }
        faults.disrupt(steal.clone());
        faults.disrupt(detach.clone());
        faults.disrupt(Disruption::DropConnections);
        load.read_until(load.fewest() + 3).await;
    }
    let sent = load.finish().await;
    let all: Vec<_> = (0..sent).collect();
    for (key, read) in &load.read {
        let numbers: Vec<_> = read.first.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, all, "key {key}");
    }
    assert_eq!(load.restarts(), before, "what was read long ago comes again");
    load.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_added_under_load_are_read() {
    let emulator = emulator().await;
    let mut load = Load::start(&emulator).await;
    load.read_until(10).await;
    emulator.namespace().grow("orders", 8).unwrap();
    // A failure makes the producer ask how many there are, which it does every minute otherwise.
    emulator.faults().next_sends(SendFault::Busy, 1);
    let new = |partition: &str| partition.parse::<usize>().is_ok_and(|partition| partition >= 4);
    let moved = |load: &Load| load.read.values().filter(|read| read.first.iter().any(|(_, at)| new(at))).count();
    while moved(&load) < KEYS / 4 {
        load.read_until(load.fewest() + 1).await;
    }
    let sent = load.finish().await;
    for (key, read) in &load.read {
        let mut numbers: Vec<_> = read.first.iter().map(|(number, _)| *number).collect();
        // A key that has moved is in order in each of its two partitions.
        for partition in [true, false] {
            let of = read.first.iter().filter(|(_, at)| new(at) == partition);
            assert!(of.map(|(number, _)| *number).is_sorted(), "key {key}: {:?}", read.first);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..sent).collect::<Vec<_>>(), "key {key}");
    }
    load.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_made_again_under_load_is_told() {
    let emulator = emulator().await;
    let mut load = Load::start(&emulator).await;
    load.read_until(10).await;
    let namespace = emulator.namespace();
    namespace.delete("orders").unwrap();
    // It is told from the one before by the millisecond.
    tokio::time::sleep(Duration::from_millis(2)).await;
    namespace.create(HubSettings { groups: vec!["billing".into()], ..HubSettings::new("orders", 4) }).unwrap();
    let is_told = |receiver: &Receiver| {
        let counts = receiver.health().counts;
        let mut kinds = counts.failing.into_values().chain(counts.failures.into_values().map(|(_, kind)| kind));
        kinds.any(|kind| kind == ErrorKind::NotFound)
    };
    let told = async {
        // There is nothing to wait for: health is what is asked.
        while !load.receivers.iter().all(is_told) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = timeout(TIMEOUT, told).await.is_ok();
    assert!(told, "{:?}", load.receivers.iter().map(Receiver::health).collect::<Vec<_>>());
    if let Some(sending) = load.sending.take() {
        sending.abort();
    }
}
