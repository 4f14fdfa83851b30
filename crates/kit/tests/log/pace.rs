//! A log of many partitions, each of which may be called a few times a second, and brings much at once.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use strait_core::{Budget, Consumer as _, Guarantees, Measure, Message, Observer, Result};
use strait_kit::{Identity, Log, LogConsumer, LogSettings, Page, Partition, Reader, Record, Start, Static};
use tokio::time::{Instant, sleep, sleep_until};

use crate::scene::SECOND;

const PARTITIONS: usize = 16;
const BYTES: usize = 100;
/// How many messages a partition stores in a second, and for how many.
const RATE: usize = 1000;
const SECONDS: usize = 5;

/// Each partition has `RATE` messages more in each second since it began, or all of them from the beginning.
#[derive(Debug)]
struct Paced {
    begun: Instant,
    backlog: bool,
}

struct Calls {
    begun: Instant,
    backlog: bool,
    /// When the provider may be called again.
    again: Instant,
    next: usize,
    ahead: usize,
    kept: VecDeque<Record>,
}

#[async_trait]
impl Log for Paced {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("paced", "orders")
    }

    fn identity(&self) -> Option<Identity> {
        None
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        Ok(Vec::new())
    }

    async fn open(&self, _: &str, _: &Start, _: u64, ahead: usize) -> Result<Box<dyn Reader>> {
        let Self { begun, backlog } = *self;
        Ok(Box::new(Calls { begun, backlog, again: Instant::now(), next: 0, ahead, kept: VecDeque::new() }))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Reader for Calls {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        if self.kept.is_empty() {
            sleep_until(self.again).await;
            self.again = Instant::now() + SECOND / 5;
            let millis = usize::try_from(self.begun.elapsed().as_millis()).unwrap();
            let stored = if self.backlog { RATE * SECONDS } else { RATE * millis.min(1000 * SECONDS) / 1000 };
            let end = stored.min(self.next + self.ahead / BYTES);
            let record = |number: usize| {
                let (message, position) = (Message::new(vec![b'-'; BYTES]), (number as u64).into());
                Record { message, position, stored_at: None }
            };
            self.kept.extend((self.next..end).map(record));
            self.next = end;
        }
        let fit = budget.bytes.div_ceil(BYTES).min(budget.messages).min(self.kept.len());
        let records = self.kept.drain(..fit).collect();
        Ok(Page::Records { records, lag: None, caught_up: false, resume: None })
    }

    fn ahead(&self) -> usize {
        self.kept.len() * BYTES
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What is held in bytes, as was measured last.
#[derive(Debug, Default)]
struct Held(AtomicUsize);

impl Observer for Held {
    fn observe(&self, measure: Measure<'_>) {
        if let Measure::Held { bytes, .. } = measure {
            self.0.store(bytes, Relaxed);
        }
    }
}

fn open(backlog: bool) -> (LogConsumer, Arc<Held>) {
    let (held, mut settings) = (Arc::new(Held::default()), LogSettings::default());
    settings.observer = Arc::<Held>::clone(&held);
    let partitions = (0..PARTITIONS).map(|number| (Partition::new(format!("p{number}")), Start::Earliest));
    let log = Arc::new(Paced { begun: Instant::now(), backlog });
    (LogConsumer::new(log, Arc::new(Static::new(partitions)), settings), held)
}

/// Receives and settles all that there is.
async fn drain(consumer: &LogConsumer) {
    let mut count = 0;
    while count < PARTITIONS * RATE * SECONDS {
        let batch = consumer.receive(Budget::new(1000, 1 << 20)).await.unwrap();
        count += batch.len();
        let tokens: Vec<_> = batch.iter().map(|received| received.claim.token()).collect();
        consumer.settle(&tokens).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_partitions_keep_up_though_each_is_called_five_times_a_second() {
    let (consumer, _) = open(false);
    let begun = Instant::now();
    drain(&consumer).await;
    let took = begun.elapsed();
    assert!(took <= SECOND * 11 / 2, "what came in 5 s took {took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_readers_keep_of_a_call_is_measured_and_bounded() {
    let (consumer, held) = open(true);
    sleep(2 * SECOND).await;
    let measured = held.0.load(Relaxed);
    let brought = PARTITIONS * RATE * SECONDS * BYTES;
    assert!(measured == brought && measured <= 64 << 20, "{measured} bytes are held of {brought} that calls brought");
    let begun = Instant::now();
    drain(&consumer).await;
    assert!(begun.elapsed() < SECOND, "it takes no more calls");
    sleep(SECOND).await;
    assert_eq!(held.0.load(Relaxed), 0);
}
