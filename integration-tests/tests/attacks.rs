//! Five attacks that broke the first form of the contract: an order inverted after one lost claim, duplicates on a planned
//! move, a panic when closed while settling, an idle member, a starved partition.

#![allow(clippy::unwrap_used, reason = "a test that does not hold panics")]

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{
    Budget, Consumer, Error, ErrorKind, Grant, Guarantees, Key, Message, Ordering, Received, Result, Token,
};
use strait_kit::{LogSettings, QueueConsumer, QueueSettings, Start};
use strait_memory::{LogOptions, MemoryLog, MemoryQueue, QueueOptions};
use strait_runtime::{Backoff, DeadLetter, Delivery, Receiver, ReceiverSettings, Retry};
use strait_testkit::{Fault, Faults, FaultyQueue, Site};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

const SECOND: Duration = Duration::from_secs(1);

fn message(text: &str) -> Message {
    Message::new(text.to_owned()).with_key(Key::new(&text[..1]).unwrap())
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.message().payload).into_owned()
}

fn in_order() -> ReceiverSettings {
    let retry = Retry::new(u32::MAX, Backoff::new(SECOND / 5, 2 * SECOND));
    ReceiverSettings::new(DeadLetter::Block).in_order().retry(retry)
}

fn log(partitions: usize) -> MemoryLog {
    let mut options = LogOptions::named("orders");
    options.partitions = partitions;
    MemoryLog::new(options)
}

fn member(log: &MemoryLog, group: &str) -> Receiver {
    Receiver::new(log.consumer(group, &Start::Earliest, LogSettings::default()).unwrap(), in_order()).unwrap()
}

async fn send(log: &MemoryLog, messages: &[Message]) {
    for outcome in log.producer().send(messages).await {
        outcome.unwrap();
    }
}

async fn next(receiver: &Receiver) -> Delivery {
    timeout(60 * SECOND, receiver.recv()).await.expect("a message is to come").unwrap().unwrap()
}

async fn rest(receiver: &Receiver) -> Vec<String> {
    let mut done = Vec::new();
    while let Ok(Ok(Some(delivery))) = timeout(30 * SECOND, receiver.recv()).await {
        done.push(text(&delivery));
        delivery.ack();
    }
    done
}

/// One message of a group loses its lease, by a partial failure of an extension; the next of the group is in hand too.
#[tokio::test(start_paused = true)]
async fn a_lost_claim_does_not_break_the_order_of_its_key() {
    let mut options = QueueOptions::named("orders");
    (options.lease, options.per_key) = (2 * SECOND, 10);
    let queue = MemoryQueue::new(options);
    for outcome in queue.producer().send(&["a1", "a2"].map(message)).await {
        outcome.unwrap();
    }
    let faults = Faults::scripted();
    let consumer = QueueConsumer::new(FaultyQueue::new(queue, faults.clone()), QueueSettings::default());
    let receiver = Receiver::new(Arc::new(consumer), in_order()).unwrap();
    let first = next(&receiver).await;
    assert_eq!(text(&first), "a1");
    faults.script(Site::Extend, [Some(Fault::Lose)]);
    sleep(SECOND).await;
    assert_eq!(faults.count(Site::Extend), 1);
    first.retry("failed"); // its claim is lost, so that it leaves its lane
    assert_eq!(rest(&receiver).await, ["a1", "a2"]);
}

/// A planned move, with work settled above a message that waits.
#[tokio::test(start_paused = true)]
async fn a_planned_move_does_not_repeat_what_is_settled() {
    let log = log(2);
    // Two keys that share a partition.
    let probe = member(&log, "probe");
    let letters = ["a", "b", "c"];
    send(&log, &letters.map(message)).await;
    let mut homes: HashMap<String, Vec<String>> = HashMap::new();
    for _ in letters {
        let delivery = next(&probe).await;
        homes.entry(delivery.partition().unwrap().to_owned()).or_default().push(text(&delivery));
        delivery.ack();
    }
    let shared = homes.into_values().find(|keys| keys.len() > 1).expect("three keys in two partitions");
    let [one_key, other_key] = [&shared[0], &shared[1]];

    let start = Start::Latest;
    let open = || {
        let consumer = log.consumer("app", &start, LogSettings::default()).unwrap();
        Receiver::new(consumer, in_order()).unwrap()
    };
    let one = open();
    let names = [format!("{one_key}1"), format!("{one_key}2"), format!("{other_key}1")];
    send(&log, &names.each_ref().map(|name| message(name))).await;
    let waiting = next(&one).await;
    assert_eq!(text(&waiting), names[0]);
    let above = next(&one).await;
    assert_eq!(text(&above), names[2]);
    above.ack();
    let two = open();
    sleep(3 * SECOND).await;
    waiting.ack();
    let (by_one, by_two) = tokio::join!(rest(&one), rest(&two));
    assert_eq!([by_one, by_two].concat(), [names[1].as_str()], "nothing that is settled comes again");
}

/// A consumer that settles slowly.
#[derive(Debug)]
struct Slow(Mutex<VecDeque<Message>>, Grant, Notify);

#[async_trait]
impl Consumer for Slow {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("slow", "orders").with_ordering(Ordering::Key)
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Received>> {
        let batch: Vec<_> = {
            let mut messages = self.0.lock().unwrap();
            let count = messages.len().min(budget.messages);
            let claim = |entry| self.1.claim(Token { source: 0, entry });
            (0..)
                .zip(messages.drain(..count))
                .map(|(entry, message)| Received::new(message, claim(entry), strait_core::Origin::new(entry)))
                .collect()
        };
        if batch.is_empty() {
            self.2.notified().await;
            return Err(Error::new(ErrorKind::Closed, "the consumer is closed"));
        }
        Ok(batch)
    }

    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        sleep(SECOND).await;
        vec![Ok(()); tokens.len()]
    }

    async fn postpone(&self, pauses: &[(Token, std::time::Duration)]) -> Vec<Result<()>> {
        vec![Err(Error::new(ErrorKind::Unsupported, "it keeps no message back")); pauses.len()]
    }

    async fn close(&self) -> Result<()> {
        self.2.notify_one();
        Ok(())
    }
}

/// Closed while one settlement is under way, another waits for it, and a handler runs.
#[tokio::test(start_paused = true)]
async fn closing_while_settling_does_not_panic() {
    let messages = ["a1", "b1", "c1"].map(message).into();
    let slow = Arc::new(Slow(Mutex::new(messages), Grant::new(None, None), Notify::new()));
    let receiver = Receiver::new(slow, ReceiverSettings::new(DeadLetter::Block)).unwrap();
    let first = next(&receiver).await;
    let confirmed = tokio::spawn(first.ack_confirmed());
    sleep(SECOND / 100).await;
    let also = tokio::spawn(next(&receiver).await.ack_confirmed());
    let third = next(&receiver).await;
    sleep(SECOND / 100).await;
    let closing = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.close().await }
    });
    sleep(3 * SECOND).await;
    assert!(!closing.is_finished(), "it waits for the handler");
    let last = tokio::spawn(third.ack_confirmed());
    closing.await.unwrap().unwrap();
    for settled in [confirmed, also, last] {
        settled.await.unwrap().unwrap();
    }
}

/// Four partitions and three members: none of them is idle.
#[tokio::test(start_paused = true)]
async fn no_member_is_idle() {
    let log = log(4);
    let _all = [member(&log, "app"), member(&log, "app"), member(&log, "app")];
    sleep(30 * SECOND).await;
    let owners: HashSet<_> = (0..4).map(|index| log.owner("app", &format!("p{index}")).unwrap()).collect();
    assert_eq!(owners.len(), 3);
}

/// One key fails for ever and has more messages than a receiver holds: another partition is served all the same.
#[tokio::test(start_paused = true)]
async fn a_failing_key_starves_no_other_partition() {
    let log = log(2);
    let many: Vec<_> = (0..3000).map(|number| message(&format!("a{number}"))).collect();
    send(&log, &many).await;
    let receiver = member(&log, "app");
    let failing = next(&receiver).await;
    let home = failing.partition().unwrap().to_owned();
    failing.retry("down");
    sleep(SECOND).await;
    send(&log, &["b1", "c1", "d1", "e1"].map(message)).await;
    let end = Instant::now() + 600 * SECOND;
    while let Ok(Ok(Some(delivery))) = timeout_at(end, receiver.recv()).await {
        if delivery.partition() != Some(&home) {
            return delivery.ack();
        }
        delivery.retry("down");
    }
    panic!("ten minutes, and the other partition was never served");
}
