//! How much of what AWS lets in and out of a shard is used.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_sdk_kinesis::{primitives::Blob, types::PutRecordsRequestEntry};
use strait_benches::{Gauge, median, processor};
use strait_core::{Key, Limits, Message, Plan, Producer, Receipt, Result as Outcome};
use strait_kinesis::{Envelope, KinesisProducer};
use strait_runtime::{Delivery, Sender, SenderSettings};
use tokio::{runtime::Builder, task::JoinSet, time::sleep_until};

use crate::{
    Content, Result, connect,
    load::{Load, STREAM, keys, shard_of},
    ours, start,
    strict::Strictness,
};

/// How long is sent. The stub lets in a second's worth at once, so that this is one more than whole seconds.
const SECONDS: usize = 20;
const LONG: Duration = Duration::from_millis(20_500);
/// What a shard lets in and out in a second.
const RECORDS: f64 = 1000.0;
const BYTES_OUT: f64 = 2.0 * 1024.0 * 1024.0;
/// How many keys each shard has.
const KEYS: usize = 400;

/// Brings what part of a quota was used, or how many times as much as by hand.
type Case = fn() -> Result<f64>;

/// Runs each case so often as is said first, or three times, and those that are named next, or all.
pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut arguments = arguments.peekable();
    let times = arguments.next_if(|it| it.parse::<usize>().is_ok()).map_or(Ok(3), |times| times.parse())?;
    let named: Vec<_> = arguments.collect();
    let cases: [(&str, Case); 8] = [
        ("in-1", || taken_in(1)),
        ("in-16", || taken_in(16)),
        ("keyless", keyless),
        ("one-throttled", one_throttled),
        ("out-1", || read(1, 20, 1024)),
        ("out-16", || read(16, 8, 1024)),
        ("out-1-small", || read(1, 20, 100)),
        ("out-16-small", || read(16, 6, 100)),
    ];
    for (name, case) in cases {
        if !named.is_empty() && !named.iter().any(|it| it == name) {
            continue;
        }
        let mut all = (0..times).map(|_| case()).collect::<Result<Vec<_>>>()?;
        let median = median(&mut all); // sorts them
        println!("{name:<14} {median:.3} ({:.3}-{:.3})", all[0], all[all.len() - 1]);
    }
    Ok(())
}

fn on_a_runtime<T: Send + 'static>(task: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { tokio::spawn(task).await })?
}

/// A producer that counts what was stored of each shard.
#[derive(Debug)]
struct Counted {
    producer: KinesisProducer,
    stored: Arc<Vec<AtomicU64>>,
}

#[async_trait]
impl Producer for Counted {
    fn limits(&self) -> Limits {
        self.producer.limits()
    }

    fn destinations(&self) -> Vec<String> {
        self.producer.destinations()
    }

    fn plan(&self, message: &Message) -> Outcome<Plan> {
        self.producer.plan(message)
    }

    async fn send(&self, batch: &[Message]) -> Vec<Outcome<Receipt>> {
        let outcomes = self.producer.send(batch).await;
        for (message, outcome) in batch.iter().zip(&outcomes) {
            let shard = message.key.as_ref().map_or(0, |key| shard_of(key.as_str(), self.stored.len()));
            self.stored[shard].fetch_add(outcome.is_ok().into(), Relaxed);
        }
        outcomes
    }

    async fn close(&self) -> Outcome<()> {
        self.producer.close().await
    }
}

/// Sends messages of 100 bytes, with a task and its keys for each shard, as fast as they are taken, and brings how many
/// were stored of each shard. Without `keyed`, messages have no key.
fn sent(strictness: Strictness, keyed: bool) -> Result<Vec<f64>> {
    let stub = strictness.start()?;
    let endpoint = stub.endpoint();
    on_a_runtime(async move {
        // So that what has a key has a record of its own.
        let envelope = if keyed { Envelope::Plain } else { Envelope::Kpl };
        let producer = KinesisProducer::open(&connect(&endpoint).await?, STREAM, envelope).await?;
        let stored: Arc<Vec<_>> = Arc::new((0..strictness.shards).map(|_| AtomicU64::new(0)).collect());
        let counted = Counted { producer, stored: Arc::clone(&stored) };
        let sender = Sender::new(Arc::new(counted), SenderSettings::default())?;
        let mut of_shards: Vec<Vec<Key>> = vec![Vec::new(); strictness.shards];
        if keyed {
            for key in keys(KEYS * strictness.shards) {
                of_shards[shard_of(key.as_str(), strictness.shards)].push(key);
            }
        }
        let mut tasks = JoinSet::new();
        for keys in of_shards {
            let sender = sender.clone();
            tasks.spawn(async move {
                let (load, mut keys) = (Load::new(100), keys.iter().cycle());
                let mut open = VecDeque::new();
                loop {
                    let mut message = load.message();
                    message.key = keys.next().cloned();
                    let Ok(pending) = sender.enqueue(message).await else { return };
                    open.push_back(pending);
                    if open.len() > 5000
                        && let Some(oldest) = open.pop_front()
                    {
                        drop(oldest.await);
                    }
                }
            });
        }
        tokio::time::sleep(LONG).await;
        let counts = stored.iter().map(|count| f64::from(u32::try_from(count.load(Relaxed)).unwrap_or(u32::MAX)));
        let counts = counts.collect();
        tasks.shutdown().await;
        Ok(counts)
    })
}

fn whole(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What part of the records that shards take was stored, where each message has a record of its own.
fn taken_in(shards: usize) -> Result<f64> {
    let stored: f64 = sent(Strictness { shards, ..Strictness::default() }, true)?.iter().sum();
    Ok(stored / (RECORDS * whole(SECONDS + 1) * whole(shards)))
}

/// How many times as many messages without a key are stored as records of one each.
fn keyless() -> Result<f64> {
    let strictness = Strictness { shards: 1, ..Strictness::default() };
    let ours: f64 = sent(strictness, false)?.iter().sum();
    let stub = strictness.start()?;
    let endpoint = stub.endpoint();
    let by_hand = on_a_runtime(async move {
        let client = connect(&endpoint).await?.kinesis().clone();
        let end = tokio::time::Instant::now() + LONG;
        let mut stored = 0;
        while tokio::time::Instant::now() < end {
            let entry = |number: usize| {
                let entry = PutRecordsRequestEntry::builder().partition_key(number.to_string());
                entry.data(Blob::new(vec![7; 100])).build()
            };
            let entries = (0..500).map(entry).collect::<std::result::Result<Vec<_>, _>>()?;
            let reply = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await?;
            let count = reply.records.iter().filter(|record| record.error_code.is_none()).count();
            stored += count;
            if count < 500 {
                sleep_until(end.min(tokio::time::Instant::now() + Duration::from_millis(20))).await;
            }
        }
        Ok(whole(stored))
    })?;
    Ok(ours / by_hand)
}

/// What part the other shards keep of what they take when one takes nothing.
fn one_throttled() -> Result<f64> {
    let strictness = Strictness { shards: 4, ..Strictness::default() };
    let others = |stored: Vec<f64>| stored[1..].iter().sum::<f64>();
    let before = others(sent(strictness, true)?);
    let stored = sent(Strictness { throttles_first: true, ..strictness }, true)?;
    if stored[0] > 0.0 {
        return Err("the first shard took something".into());
    }
    Ok(others(stored) / before)
}

/// What part of the bytes that shards give is read of so many seconds' worth of what they hold, from the first message on.
fn read(shards: usize, seconds: usize, bytes: usize) -> Result<f64> {
    // A key has about 13 bytes.
    let backlog = (2 << 20) * seconds / (bytes + 13);
    let stub = Strictness { shards, backlog, bytes, ..Strictness::default() }.start()?;
    let endpoint = stub.endpoint();
    let messages = backlog * shards;
    on_a_runtime(async move {
        let gauge = Arc::new(Gauge::new(messages));
        let bus = ours::bus(&endpoint)?;
        let worker = bus.worker("app").await?.stop_on(gauge.done.clone().cancelled_owned());
        let first = Arc::new(std::sync::OnceLock::new());
        let (counted, began) = (Arc::clone(&gauge), Arc::clone(&first));
        let handler = move |_: Delivery, _| {
            began.get_or_init(Instant::now);
            counted.hit(1);
            std::future::ready(Ok(()))
        };
        worker.run(handler).await?;
        let took = first.get().ok_or("nothing came")?.elapsed();
        bus.close().await?;
        Ok(whole(messages * (bytes + 13)) / (BYTES_OUT * whole(shards)) / took.as_secs_f64())
    })
}

/// What a thousand shards cost where nothing comes, in cores.
pub(crate) fn idle() -> Result<()> {
    const SHARDS: usize = 1000;
    let stub = start(SHARDS, 0, Content::Nothing, Duration::ZERO)?;
    let (endpoint, mut all) = (stub.endpoint(), Vec::new());
    on_a_runtime(async move {
        let bus = ours::bus(&endpoint)?;
        let receiver = bus.receiver("app").await?;
        let watched = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            for _ in 0..5 {
                stub.counts()?;
                let (began, before) = (Instant::now(), processor());
                tokio::time::sleep(Duration::from_secs(10)).await;
                let took = processor().saturating_sub(before).as_secs_f64() / began.elapsed().as_secs_f64();
                let calls = stub.counts()?.get("GetRecords").map_or(0, |(calls, _)| *calls);
                println!("{took:.3} cores, {calls} calls in 10 s");
                all.push(took);
            }
            Result::Ok(())
        };
        tokio::select! {
            delivery = receiver.recv() => return Err(format!("something came: {delivery:?}").into()),
            watched = watched => watched?,
        }
        println!("idle, {SHARDS} shards: {:.3} cores ({:.3}-{:.3})", median(&mut all), all[0], all[all.len() - 1]);
        bus.close().await?;
        Ok(())
    })
}
