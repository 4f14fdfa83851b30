//! A receiver with nothing to do lets the processor sleep.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use strait_core::{Consumer, Message, Producer};
use strait_kit::{LogSettings, QueueSettings, Start};
use strait_memory::{LogOptions, MemoryLog, MemoryQueue, QueueOptions};
use strait_runtime::{DeadLetter, Receiver, ReceiverSettings};
use tokio::{runtime::Handle, time::sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// How often a second the runtime is woken while a task waits for a message, after some were worked on.
async fn wakes(producer: Arc<dyn Producer>, consumer: Arc<dyn Consumer>) -> u64 {
    let receiver = Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block).in_order()).unwrap();
    let batch: Vec<_> = (0..100).map(|n| Message::new(n.to_string())).collect();
    producer.send(&batch).await;
    for _ in 0..100 {
        receiver.recv().await.unwrap().unwrap().ack();
    }
    let waiting = receiver.clone();
    let waiting = tokio::spawn(async move { waiting.recv().await.unwrap().is_some() });
    sleep(MINUTE).await; // what is settled is committed, and what was extended is over
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    sleep(MINUTE).await;
    let wakes = metrics.worker_park_count(0) - before;
    producer.send(&batch[..1]).await;
    assert!(waiting.await.unwrap(), "it is awake when there is something");
    wakes / 60
}

#[tokio::test(start_paused = true)]
async fn a_log_that_rests_wakes_ten_times_a_second_at_most() {
    let log = MemoryLog::new(LogOptions::named("orders"));
    let consumer = log.consumer("billing", &Start::Earliest, LogSettings::default()).unwrap();
    let wakes = wakes(log.producer(), consumer).await;
    assert!(wakes <= 10, "{wakes}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_rests_wakes_ten_times_a_second_at_most() {
    let queue = MemoryQueue::new(QueueOptions::named("orders"));
    let wakes = wakes(queue.producer(), queue.consumer(QueueSettings::default())).await;
    assert!(wakes <= 10, "{wakes}");
}
