//! The engine of logs with partitions whose owners died: one message at a time, each named before it is handed out.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{Budget, Consumer as _, Error, ErrorKind, Guarantees, Lag, Message, Position, Received, Result};
use strait_kit::{
    Change, Log, LogConsumer, LogSettings, Ownership, Page, Partition, Progress, Quarantine, Reader, Record, Renew,
    Start, Suspect,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

/// A log of partitions whose records are numbered from 1, and who owns them: both as a test says.
#[derive(Clone, Debug, Default)]
struct Scene(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How many records each partition has.
    partitions: Mutex<BTreeMap<String, u64>>,
    changes: Mutex<VecDeque<Change>>,
    /// What was named, and what was settled before.
    named: Mutex<Vec<(String, Option<Position>, Suspect)>>,
    /// What progress was stored by itself.
    stored: Mutex<Vec<(String, Position)>>,
    /// How many more times naming fails.
    failures: Mutex<u32>,
    changed: Notify,
}

impl Scene {
    fn gain(&self, partition: &str, records: u64, quarantine: Option<Quarantine>) {
        self.0.partitions.lock().unwrap().insert(partition.to_owned(), records);
        let change =
            Change::Gained { partition: partition.into(), epoch: 1, start: Start::Earliest, until: None, quarantine };
        self.0.changes.lock().unwrap().push_back(change);
        self.0.changed.notify_one();
    }

    fn append(&self, partition: &str) {
        *self.0.partitions.lock().unwrap().get_mut(partition).unwrap() += 1;
    }

    /// What was named so far: partition, position, attempts, and what was settled before it.
    fn named(&self) -> Vec<(String, u64, u32, Option<u64>)> {
        let number = |position: &Position| match position {
            Position::Number(number) => *number,
            Position::Text(_) => unreachable!("they are numbers here"),
        };
        let named = self.0.named.lock().unwrap();
        let plain = |(partition, settled, suspect): &(String, Option<Position>, Suspect)| {
            (partition.clone(), number(&suspect.position), suspect.attempts, settled.as_ref().map(number))
        };
        named.iter().map(plain).collect()
    }

    fn open(&self, change: impl FnOnce(&mut LogSettings)) -> LogConsumer {
        let mut settings = LogSettings::default();
        settings.commit_interval = 3600 * SECOND; // what is settled is stored along with names only
        change(&mut settings);
        LogConsumer::new(Arc::new(self.clone()), Arc::new(self.clone()), settings)
    }
}

#[async_trait]
impl Log for Scene {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("scene", "orders")
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        Ok(Vec::new())
    }

    async fn open(&self, partition: &str, _: &Start, _: u64) -> Result<Box<dyn Reader>> {
        Ok(Box::new(Read { scene: self.clone(), partition: partition.to_owned(), next: 1 }))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

struct Read {
    scene: Scene,
    partition: String,
    next: u64,
}

#[async_trait]
impl Reader for Read {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        let last = self.scene.0.partitions.lock().unwrap()[&self.partition];
        if self.next > last {
            sleep(SECOND / 10).await;
            return Ok(Page::Records { records: Vec::new(), lag: None, caught_up: true });
        }
        let record = |number: u64| Record {
            message: Message::new(format!("{}{number}", self.partition)),
            position: number.into(),
            stored_at: None,
        };
        let end = last.min(self.next + budget.messages as u64 - 1);
        let records = (self.next..=end).map(record).collect();
        self.next = end + 1;
        Ok(Page::Records { records, lag: Some(Lag::Messages(last - end)), caught_up: last == end })
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Ownership for Scene {
    async fn next(&self) -> Result<Option<Change>> {
        loop {
            let change = self.0.changes.lock().unwrap().pop_front();
            if change.is_some() {
                return Ok(change);
            }
            self.0.changed.notified().await;
        }
    }

    async fn commit(&self, progress: &Progress) -> Result<()> {
        self.0.stored.lock().unwrap().push((progress.partition.to_string(), progress.position.clone()));
        Ok(())
    }

    async fn suspect(&self, partition: &str, _: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()> {
        let mut failures = self.0.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(Error::new(ErrorKind::Unavailable, "as the test says"));
        }
        self.0.named.lock().unwrap().push((partition.to_owned(), settled.cloned(), suspect.clone()));
        Ok(())
    }

    async fn release(&self, _: &str, _: u64) -> Result<()> {
        Ok(())
    }

    async fn finish(&self, _: &str, _: u64, _: Vec<Partition>) -> Result<()> {
        Ok(())
    }

    async fn returned(&self, _: &str, _: u64) {}

    fn on_renewal(&self, _: Renew) {}

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// What comes within ten seconds.
async fn receive(consumer: &LogConsumer) -> Vec<Received> {
    let first = async {
        loop {
            let batch = consumer.receive(Budget::new(10, 1 << 20)).await.unwrap();
            if !batch.is_empty() {
                return batch;
            }
        }
    };
    timeout(10 * SECOND, first).await.unwrap_or_default()
}

fn texts(batch: &[Received]) -> Vec<String> {
    batch.iter().map(|received| String::from_utf8_lossy(&received.message.payload).into_owned()).collect()
}

async fn settle(consumer: &LogConsumer, batch: Vec<Received>) {
    let tokens: Vec<_> = batch.iter().map(|received| received.claim.token()).collect();
    for outcome in consumer.settle(&tokens).await {
        outcome.unwrap();
    }
}

fn name(partition: &str, position: u64, attempts: u32, settled: Option<u64>) -> (String, u64, u32, Option<u64>) {
    (partition.to_owned(), position, attempts, settled)
}

#[tokio::test(start_paused = true)]
async fn each_message_is_named_and_comes_alone() {
    let scene = Scene::default();
    let suspect = Suspect { position: 1.into(), attempts: 2 };
    scene.gain("a", 3, Some(Quarantine::new(Some(suspect))));
    let consumer = scene.open(|_| {});
    let first = receive(&consumer).await;
    assert_eq!((texts(&first), first[0].origin.crashes()), (vec!["a1".to_owned()], 2));
    assert_eq!(scene.named(), [name("a", 1, 3, None)], "it counts before it is handed out");
    assert!(receive(&consumer).await.is_empty(), "the first is in hand");
    settle(&consumer, first).await;
    let second = receive(&consumer).await;
    assert_eq!((texts(&second), second[0].origin.crashes()), (vec!["a2".to_owned()], 0));
    assert_eq!(scene.named()[1..], [name("a", 2, 1, Some(1))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_stored_before_another_partition_is_tried() {
    let scene = Scene::default();
    scene.gain("a", 1, Some(Quarantine::default()));
    scene.gain("b", 1, Some(Quarantine::default()));
    let consumer = scene.open(|_| {});
    let first = receive(&consumer).await;
    settle(&consumer, first).await;
    assert_eq!(texts(&receive(&consumer).await), ["b1"]);
    assert_eq!(*scene.0.stored.lock().unwrap(), [("a".to_owned(), 1.into())], "else a1 is blamed for what b1 does");
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_the_tip() {
    let scene = Scene::default();
    scene.gain("a", 1, Some(Quarantine::default()));
    let consumer = scene.open(|_| {});
    let first = receive(&consumer).await;
    settle(&consumer, first).await;
    sleep(SECOND).await;
    (0..3).for_each(|_| scene.append("a"));
    assert_eq!(texts(&receive(&consumer).await), ["a2", "a3", "a4"]);
    assert_eq!(scene.named().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_ends_after_as_many_as_may_have_been_in_hand() {
    let scene = Scene::default();
    scene.gain("a", 20, Some(Quarantine::default()));
    let consumer = scene.open(|settings| settings.buffer = 4);
    for number in 1..=4 {
        let alone = receive(&consumer).await;
        assert_eq!(texts(&alone), [format!("a{number}")]);
        settle(&consumer, alone).await;
    }
    assert!(receive(&consumer).await.len() > 1);
    assert_eq!(scene.named().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_named_waits_and_others_do_not() {
    let scene = Scene::default();
    *scene.0.failures.lock().unwrap() = 6;
    scene.gain("a", 1, Some(Quarantine::default()));
    scene.gain("b", 1, None);
    let consumer = scene.open(|_| {});
    let other = receive(&consumer).await;
    assert_eq!(texts(&other), ["b1"]);
    assert!(receive(&consumer).await.is_empty());
    assert_eq!(texts(&receive(&consumer).await), ["a1"], "the store is back");
}

#[tokio::test(start_paused = true)]
async fn one_is_in_hand_over_all_partitions_unless_it_takes_too_long() {
    let scene = Scene::default();
    scene.gain("a", 1, Some(Quarantine::default()));
    scene.gain("b", 1, Some(Quarantine::default()));
    let consumer = scene.open(|settings| settings.grace = 25 * SECOND);
    let first = receive(&consumer).await;
    assert_eq!(first.len(), 1);
    assert!(receive(&consumer).await.is_empty() && receive(&consumer).await.is_empty());
    assert_eq!(receive(&consumer).await.len(), 1, "the first did not kill the process");
    assert_eq!(scene.named().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_is_named_again_with_the_same_count() {
    let scene = Scene::default();
    scene.gain("a", 2, Some(Quarantine::default()));
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    assert_eq!(texts(&receive(&consumer).await), ["a1"]);
    assert_eq!(scene.named(), [name("a", 1, 1, None), name("a", 1, 1, None)]);
}
