//! Members of a group on a stream of the stub. A test sees what each writes into the rows, cuts it off from them, and kills it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::{Error, ErrorKind, Message, Producer as _, Result};
use strait_kinesis::{Envelope, KinesisLog, KinesisProducer};
use strait_kit::{
    Expect, LogConsumer, LogSettings, Put, Row, RowStore, Version,
    coordination::{Coordinator, CoordinatorSettings},
};
use strait_leases::Options;
use strait_runtime::{DeadLetter, Delivery, Receiver, ReceiverSettings};
use strait_testkit::kinesis::{StreamSettings, Stub};
use tokio::time::{sleep, timeout};

use super::{connect, message};

pub(crate) const FIRST: &str = "shardId-000000000000";
pub(crate) const SECOND: &str = "shardId-000000000001";
/// After how long a member is dead to the others: as short as may be.
pub(crate) const EXPIRY: Duration = Duration::from_secs(2);
/// How long to wait for what comes: a dead member is replaced meanwhile, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many keys messages have.
pub(crate) const KEYS: u64 = 8;

/// The rows of a group, as one member reaches them.
#[derive(Debug)]
pub(crate) struct Rows {
    store: Arc<dyn RowStore>,
    cut: AtomicBool,
    /// The row whose put is the last that gets through.
    fuse: Mutex<Option<String>>,
    puts: Mutex<Vec<String>>,
}

impl Rows {
    /// Those of this name, in memory.
    async fn of(name: &str) -> Arc<Self> {
        let store = strait_leases::open(&format!("memory:{name}"), &Options::default()).await.unwrap();
        let (cut, fuse, puts) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
        Arc::new(Self { store, cut, fuse, puts })
    }

    /// Nothing gets through any more, or all does.
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, SeqCst);
    }

    /// Nothing gets through after the row of this shard was put.
    pub(crate) fn cut_after(&self, shard: &str) {
        *self.fuse.lock().unwrap() = Some(format!("part/{shard}"));
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(SeqCst)
    }

    /// How often something was put.
    pub(crate) fn puts(&self) -> usize {
        self.puts.lock().unwrap().len()
    }

    /// Waits until what was settled before is committed, or nothing is left to be: then it was.
    pub(crate) async fn committed(&self) {
        let before = self.puts_of_shards();
        let committed = async {
            while self.puts_of_shards() == before {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = timeout(4 * LogSettings::default().commit_interval, committed).await;
    }

    fn puts_of_shards(&self) -> usize {
        self.puts.lock().unwrap().iter().filter(|key| key.starts_with("part/")).count()
    }

    fn check(&self) -> Result<()> {
        if self.is_cut() { Err(Error::new(ErrorKind::Unavailable, "the rows are cut off")) } else { Ok(()) }
    }
}

#[async_trait]
impl RowStore for Rows {
    fn value_bytes(&self) -> usize {
        self.store.value_bytes()
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        self.check()?;
        self.store.get(key).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        self.check()?;
        self.store.versions(prefix).await
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        self.check()?;
        self.puts.lock().unwrap().push(key.to_owned());
        let put = self.store.put(key, expect, value).await;
        if self.fuse.lock().unwrap().take_if(|last| last == key).is_some() {
            self.cut(true);
        }
        put
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.check()?;
        self.store.delete(key).await
    }
}

/// A member, as a process of its own would be.
pub(crate) struct Member {
    pub(crate) rows: Arc<Rows>,
    pub(crate) receiver: Receiver,
}

impl Member {
    /// The next message, which is not acknowledged.
    pub(crate) async fn hold(&self) -> Delivery {
        timeout(PATIENCE, self.receiver.recv()).await.expect("something comes").unwrap().unwrap()
    }

    /// The next so many messages, which are acknowledged.
    pub(crate) async fn take(&self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        for _ in 0..count {
            let delivery = self.hold().await;
            all.push(delivery.message().clone());
            delivery.ack_confirmed().await.unwrap();
        }
        all
    }

    /// Nothing of it is seen any more.
    pub(crate) fn kill(self) {
        self.rows.cut(true);
    }

    pub(crate) async fn close(self) {
        self.receiver.close().await.unwrap();
    }
}

/// A stream `orders`, with a group of this name.
pub(crate) struct Scene {
    pub(crate) stub: Stub,
    pub(crate) producer: KinesisProducer,
    name: &'static str,
}

impl Scene {
    pub(crate) async fn new(name: &'static str, shards: usize) -> Self {
        let stub = Stub::start().await;
        stub.create("orders", StreamSettings::default().with_shards(shards));
        let producer = KinesisProducer::open(&connect(&stub).await, "orders", Envelope::Kpl).await.unwrap();
        Self { stub, producer, name }
    }

    pub(crate) async fn join(&self) -> Member {
        let client = connect(&self.stub).await;
        let log = KinesisLog::open(&client, "orders", "app", Duration::from_millis(200)).await.unwrap();
        let rows = self.rows().await;
        let settings = CoordinatorSettings::with_expiry(EXPIRY).unwrap();
        let coordinator = Coordinator::start(Arc::clone(&rows) as _, Arc::clone(&log) as _, settings).unwrap();
        coordinator.opened().await.unwrap();
        let consumer = LogConsumer::new(log, Arc::new(coordinator), LogSettings::default());
        let settings = ReceiverSettings::new(DeadLetter::Block).in_order();
        Member { rows, receiver: Receiver::new(Arc::new(consumer), settings).unwrap() }
    }

    /// The rows as an operator reaches them.
    pub(crate) async fn rows(&self) -> Arc<Rows> {
        Rows::of(self.name).await
    }

    /// Sends messages whose payload is their number, of a key by each.
    pub(crate) async fn send(&self, numbers: std::ops::Range<u64>) {
        let batch: Vec<_> =
            numbers.map(|number| message(&format!("k{}", number % KEYS), number, number.to_string())).collect();
        assert!(self.producer.send(&batch).await.iter().all(Result::is_ok));
    }

    /// Sends messages of one key, in one record.
    pub(crate) async fn send_together(&self, numbers: std::ops::Range<u64>) {
        let batch: Vec<_> = numbers.map(|number| message("a", number, number.to_string())).collect();
        assert!(self.producer.send(&batch).await.iter().all(Result::is_ok));
    }
}

pub(crate) fn numbers(messages: &[Message]) -> Vec<u64> {
    messages.iter().map(|message| std::str::from_utf8(&message.payload).unwrap().parse().unwrap()).collect()
}

/// That these came, each once, and those of each key in order.
pub(crate) fn check(messages: &[Message], expected: std::ops::Range<u64>) {
    let found = numbers(messages);
    let mut by_key: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for number in &found {
        by_key.entry(number % KEYS).or_default().push(*number);
    }
    assert!(by_key.values().all(|numbers| numbers.is_sorted()), "{by_key:?}");
    let mut sorted = found;
    sorted.sort_unstable();
    assert_eq!(sorted, expected.collect::<Vec<_>>());
}
