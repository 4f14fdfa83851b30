//! A poll of a memory queue waits for a message, and brings it when it comes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use strait_core::{Budget, Consumer, Message};
use strait_kit::QueueSettings;
use strait_memory::{MemoryQueue, QueueOptions};
use tokio::time::{Instant, sleep};

/// When the next message is received. It is settled.
async fn next(consumer: &dyn Consumer) -> Instant {
    loop {
        let batch = consumer.receive(Budget::new(10, 1 << 20)).await.unwrap();
        if let Some(received) = batch.first() {
            let at = Instant::now();
            consumer.settle(&[received.claim.token()]).await.pop().unwrap().unwrap();
            return at;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_received_when_it_is_stored_however_soon_after_the_poll_that() {
    let queue = MemoryQueue::new(QueueOptions::named("orders"));
    let (consumer, producer) = (queue.consumer(QueueSettings::default()), queue.producer());
    for millis in [1, 100, 249, 5_000, 60_000] {
        let store = async {
            sleep(Duration::from_millis(millis)).await;
            producer.send(&[Message::new("x")]).await.pop().unwrap().unwrap();
            Instant::now()
        };
        let (received, stored) = tokio::join!(next(&*consumer), store);
        assert_eq!(received, stored, "after {millis} ms");
    }
    consumer.close().await.unwrap();
}
