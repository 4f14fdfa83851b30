//! A worker whose task is aborted holds nobody up: what it had comes again at once, in order.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use strait_core::{Consumer, Key, Message, Producer};
use strait_kit::{LogSettings, QueueSettings, Start};
use strait_memory::{LogOptions, MemoryLog, MemoryQueue, QueueOptions};
use strait_runtime::{
    Batch, Context, DeadLetter, Delivery, Receiver, ReceiverSettings, Sender, SenderSettings, Worker,
};
use tokio::{
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep},
};

const COUNT: usize = 2000;

/// What was handled: first times, in order by key.
#[derive(Debug, Default)]
struct Seen {
    last: Mutex<HashMap<usize, usize>>,
    count: watch::Sender<usize>,
}

impl Seen {
    fn note(&self, message: &Message) {
        let number: usize = String::from_utf8_lossy(&message.payload).parse().unwrap();
        let mut last = self.last.lock().unwrap();
        let last = last.entry(number % 17).or_insert(number % 17);
        assert!(number <= *last + 17, "{number} after {last}");
        if number > *last || number < 17 {
            *last = number;
            self.count.send_modify(|count| *count += 1);
        }
    }
}

async fn run(producer: Arc<dyn Producer>, consumer: impl Fn() -> Arc<dyn Consumer>, batches: bool) -> Duration {
    let seen = Arc::new(Seen::default());
    let mut workers: Vec<AbortHandle> = Vec::new();
    for _ in 0..3 {
        let settings = ReceiverSettings::new(DeadLetter::Block).in_order();
        let worker = Worker::new(Receiver::new(consumer(), settings).unwrap());
        let seen = Arc::clone(&seen);
        workers.push(if batches {
            let handle = move |batch: Batch, _: Context| {
                let seen = Arc::clone(&seen);
                async move {
                    sleep(Duration::from_millis(1)).await;
                    batch.iter().for_each(|entry| seen.note(entry.message()));
                    Ok(())
                }
            };
            tokio::spawn(worker.run_batch(50, handle)).abort_handle()
        } else {
            let handle = move |delivery: Delivery, _: Context| {
                let seen = Arc::clone(&seen);
                async move {
                    sleep(Duration::from_millis(1)).await;
                    seen.note(delivery.message());
                    Ok(())
                }
            };
            tokio::spawn(worker.run(handle)).abort_handle()
        });
    }
    let sender = Sender::new(producer, SenderSettings::default()).unwrap();
    let mut count = seen.count.subscribe();
    let message = |n: usize| Message::new(n.to_string()).with_key(Key::new(&format!("k{}", n % 17)).unwrap());
    let start = Instant::now();
    let (sent, ()) = tokio::join!(sender.send_all((0..COUNT).map(message)), async {
        count.wait_for(|count| *count >= COUNT / 5).await.unwrap();
        workers[0].abort();
        count.wait_for(|count| *count >= COUNT).await.unwrap();
    });
    assert!(sent.iter().all(strait_runtime::Outcome::is_sent));
    start.elapsed()
}

fn log() -> MemoryLog {
    MemoryLog::new(LogOptions::default())
}

fn queue() -> MemoryQueue {
    let mut options = QueueOptions::default();
    options.per_key = 3;
    MemoryQueue::new(options)
}

#[tokio::test(start_paused = true)]
async fn on_a_log() {
    let log = log();
    let consumer = || log.consumer("a", &Start::Earliest, LogSettings::default()).unwrap();
    let time = run(log.producer(), consumer, false).await;
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn on_a_log_in_batches() {
    let log = log();
    let consumer = || log.consumer("a", &Start::Earliest, LogSettings::default()).unwrap();
    let time = run(log.producer(), consumer, true).await;
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn on_a_queue() {
    let queue = queue();
    let time = run(queue.producer(), || queue.consumer(QueueSettings::default()), false).await;
    assert!(time < Duration::from_secs(5), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn on_a_queue_in_batches() {
    let queue = queue();
    let time = run(queue.producer(), || queue.consumer(QueueSettings::default()), true).await;
    assert!(time < Duration::from_secs(5), "{time:?}");
}
