//! The adapter against the emulator of Event Hubs, and the faults that it injects.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod access;
mod config;
#[cfg(feature = "entra")]
mod entra;
mod faults;
mod reading;
mod sending;

use std::{sync::Arc, time::Duration};

use strait_core::{Budget, ErrorKind, Key, Message, Position, Producer as _, Receipt, Result};
use strait_eventhubs::{Access, EventHubsLog, EventHubsProducer, Routing};
use strait_eventhubs_emulator::{Config, Emulator, HubSettings};
use strait_kit::{Log as _, Page, Reader, Record, Start};
use tokio::time::timeout;

/// How long anything may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What a reader may hold by itself.
const AHEAD: usize = 1 << 20;

/// An emulator with the hub `orders` of four partitions.
struct Scene {
    emulator: Emulator,
    access: Arc<Access>,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Config::default()).await
    }

    async fn with(config: Config) -> Self {
        let emulator = Emulator::start(config.hub(HubSettings::new("orders", 4))).await.unwrap();
        let mut access = Access::parse(&emulator.connection_string("orders")).unwrap();
        access.timeout = Duration::from_secs(5);
        Self { emulator, access: Arc::new(access) }
    }

    /// One that runs on a thread of its own, until the process ends.
    fn apart(config: Config) -> Self {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                send.send(Self::with(config).await).unwrap_or_else(|_| panic!("nobody waits"));
                std::future::pending::<()>().await;
            });
        });
        receive.recv().unwrap()
    }

    /// The same, whose calls may take so long.
    fn with_timeout(mut self, timeout: Duration) -> Self {
        Arc::make_mut(&mut self.access).timeout = timeout;
        self
    }

    async fn producer(&self, routing: Routing) -> EventHubsProducer {
        EventHubsProducer::open(&self.access, "orders", routing).await.unwrap()
    }

    async fn producer_of(&self, hub: &str) -> EventHubsProducer {
        EventHubsProducer::open(&self.access, hub, Routing::Partition).await.unwrap()
    }

    async fn log(&self) -> Arc<EventHubsLog> {
        self.log_of("orders").await
    }

    async fn log_of(&self, hub: &str) -> Arc<EventHubsLog> {
        EventHubsLog::open(&self.access, hub, "$Default").await.unwrap()
    }

    /// Stores so many messages of a key, and says in which partition they are.
    async fn fill(&self, key: &str, count: usize) -> String {
        let producer = self.producer(Routing::Partition).await;
        let messages: Vec<_> = (0..count).map(|number| message(key, number)).collect();
        for outcome in producer.send(&messages).await {
            outcome.unwrap();
        }
        producer.close().await.unwrap();
        self.holder()
    }

    /// The first partition that holds something.
    fn holder(&self) -> String {
        let holds = |index: &usize| self.emulator.namespace().partition("orders", *index).unwrap().last >= 0;
        (0..4).find(holds).unwrap().to_string()
    }
}

fn message(key: &str, number: usize) -> Message {
    Message::new(format!("{key}-{number}")).with_key(Key::new(key).unwrap())
}

/// What becomes of one message.
async fn send(producer: &EventHubsProducer, message: Message) -> Result<Receipt> {
    let mut outcomes = timeout(TIMEOUT, producer.send(&[message])).await.expect("a call ends");
    assert_eq!(outcomes.len(), 1);
    outcomes.pop().unwrap()
}

/// The next page that is not empty, or an error.
async fn page(reader: &mut dyn Reader) -> Result<Page> {
    let pages = async {
        loop {
            match reader.next(Budget::new(1000, 1 << 24)).await? {
                Page::Records { records, .. } if records.is_empty() => {}
                page => return Ok(page),
            }
        }
    };
    timeout(TIMEOUT, pages).await.expect("something comes")
}

/// So many records.
async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let mut all = Vec::new();
    while all.len() < count {
        match page(reader).await.unwrap() {
            Page::Records { records, .. } => all.extend(records),
            other => panic!("{other:?}"),
        }
    }
    all
}

async fn open(log: &EventHubsLog, partition: &str, start: Start, epoch: u64) -> Box<dyn Reader> {
    log.open(partition, &start, epoch, AHEAD).await.unwrap()
}

/// Why a partition cannot be read: the service attaches before it refuses.
async fn refused(log: &EventHubsLog, partition: &str, epoch: u64) -> ErrorKind {
    let read = async {
        let mut reader = log.open(partition, &Start::Earliest, epoch, AHEAD).await?;
        page(&mut *reader).await
    };
    read.await.unwrap_err().kind()
}

fn after(sequence: u64) -> Start {
    Start::After(Position::Number(sequence))
}
