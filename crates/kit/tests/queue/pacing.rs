//! A provider that answers at once that there is nothing is not asked again at once.

use std::time::Duration;

use strait_core::{Budget, Consumer as _};
use strait_kit::{QueueConsumer, QueueSettings};
use tokio::time::{Instant, timeout};

use crate::stub::Stub;

const BUDGET: Budget = Budget::new(1000, 1 << 20);

fn open(stub: &Stub, pollers: usize) -> QueueConsumer<Stub> {
    let mut settings = QueueSettings::default();
    settings.pollers = pollers;
    QueueConsumer::new(stub.clone(), settings)
}

/// Receives for so long, as a receiver does: again at once after each empty reply.
async fn receive_nothing_for(consumer: &QueueConsumer<Stub>, time: Duration) {
    let receiving = async {
        loop {
            assert!(consumer.receive(BUDGET).await.unwrap().is_empty());
        }
    };
    assert!(timeout(time, receiving).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn empty_answers_that_come_at_once_are_followed_by_pauses_that_grow() {
    let stub = Stub::default();
    stub.empty_after(Duration::from_millis(1));
    let consumer = open(&stub, 8);
    receive_nothing_for(&consumer, Duration::from_secs(60)).await;
    let polls = stub.polls();
    let pauses: Vec<_> = polls.windows(2).map(|polls| polls[1].duration_since(polls[0]).as_millis()).collect();
    assert_eq!(pauses[..6], [51, 101, 201, 401, 801, 1001], "of 60 s: {}", polls.len());
    assert!(polls.len() < 70, "{}", polls.len());

    stub.put(1);
    let start = Instant::now();
    while consumer.receive(BUDGET).await.unwrap().is_empty() {}
    assert!(start.elapsed() <= Duration::from_secs(1), "{:?}", start.elapsed());
    let before = stub.polls().len();
    receive_nothing_for(&consumer, Duration::from_millis(200)).await;
    assert_eq!(stub.polls().len() - before, 3, "a message ends it: at once, after 50 ms, and after 100");
}

#[tokio::test(start_paused = true)]
async fn polls_that_wait_follow_each_other() {
    let stub = Stub::default();
    stub.empty_after(Duration::from_millis(300));
    receive_nothing_for(&open(&stub, 1), Duration::from_secs(30)).await;
    assert!(stub.polls().len() >= 99, "{}", stub.polls().len());
}
