//! Through the runtime and both shapes: what goes in comes out, once, and nothing is left.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use strait_core::{Consumer, Key, Message, Producer};
use strait_kit::{LogSettings, QueueSettings, Start};
use strait_memory::{Life, LogOptions, MemoryLog, MemoryQueue, QueueOptions};
use strait_runtime::{DeadLetter, Receiver, ReceiverSettings, Sender, SenderSettings};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

fn message(n: usize) -> Message {
    Message::new(n.to_string()).with_key(Key::new(&format!("k{}", n % 17)).unwrap())
}

fn receiver(consumer: Arc<dyn Consumer>) -> Receiver {
    Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block).in_order()).unwrap()
}

fn sender(producer: Arc<dyn Producer>) -> Sender {
    Sender::new(producer, SenderSettings::default()).unwrap()
}

async fn take(receiver: &Receiver, count: usize) -> Vec<usize> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let delivery = timeout(Duration::from_secs(60), receiver.recv()).await.expect("too few").unwrap().unwrap();
        seen.push(String::from_utf8_lossy(&delivery.message().payload).parse().unwrap());
        delivery.ack();
    }
    seen
}

fn in_order(seen: &[usize]) {
    for key in 0..17 {
        let of_key: Vec<_> = seen.iter().filter(|n| *n % 17 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_gives_what_it_got() {
    let queue = MemoryQueue::new(QueueOptions::default());
    let sender = sender(queue.producer());
    let receiver = receiver(queue.consumer(QueueSettings::default()));
    let sent = sender.send_all((0..1000).map(message)).await;
    assert!(sent.iter().all(strait_runtime::Outcome::is_sent));
    let seen = take(&receiver, 1000).await;
    in_order(&seen);
    receiver.close().await.unwrap();
    assert_eq!((queue.len(), queue.bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_log_gives_what_it_got_to_every_group_and_forgets_it() {
    let log = MemoryLog::new(LogOptions::default());
    let (a, b) = ("a", "b");
    let open = |group| receiver(log.consumer(group, &Start::Earliest, LogSettings::default()).unwrap());
    let (one, two) = (open(a), open(b));
    let sender = sender(log.producer());
    sender.send_all((0..1000).map(message)).await;
    for receiver in [&one, &two] {
        let seen = take(receiver, 1000).await;
        in_order(&seen);
        receiver.close().await.unwrap();
    }
    assert_eq!((log.unsettled(a), log.unsettled(b), log.len(), log.bytes()), (0, 0, 0, 0));
}

/// Processes until the receiver is closed, and says what.
fn work(receiver: &Receiver, seen: &mpsc::UnboundedSender<usize>) -> tokio::task::JoinHandle<()> {
    let (receiver, seen) = (receiver.clone(), seen.clone());
    tokio::spawn(async move {
        while let Some(delivery) = receiver.recv().await.unwrap() {
            sleep(Duration::from_millis(1)).await;
            seen.send(String::from_utf8_lossy(&delivery.message().payload).parse().unwrap()).unwrap();
            delivery.ack();
        }
    })
}

#[tokio::test(start_paused = true)]
async fn members_share_a_log_and_a_planned_move_duplicates_nothing() {
    let log = MemoryLog::new(LogOptions::default());
    let open = || receiver(log.consumer("g", &Start::Earliest, LogSettings::default()).unwrap());
    let sender = sender(log.producer());
    sender.send_all((0..2000).map(message)).await;
    let (tell, mut seen) = mpsc::unbounded_channel();
    let mut list = Vec::new();
    let one = open();
    let working = work(&one, &tell);
    seen.recv_many(&mut list, 500).await;
    let two = open();
    let also_working = work(&two, &tell);
    while list.len() < 1200 {
        list.push(timeout(Duration::from_secs(60), seen.recv()).await.expect("too few").unwrap());
    }
    one.close().await.unwrap();
    working.await.unwrap();
    while list.len() < 2000 {
        list.push(timeout(Duration::from_secs(60), seen.recv()).await.expect("too few").unwrap());
    }
    two.close().await.unwrap();
    also_working.await.unwrap();
    in_order(&list);
    list.sort_unstable();
    let twice: Vec<_> = list.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(log.unsettled("g"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_killed_member_is_replaced_after_its_lease_and_what_it_holds_reads_lost() {
    let log = MemoryLog::new(LogOptions::default());
    let life = Life::default();
    let first = receiver(log.consumer_with("g", &Start::Earliest, LogSettings::default(), &life).unwrap());
    let sender = sender(log.producer());
    sender.send_all((0..100).map(message)).await;
    take(&first, 20).await;
    let held = first.recv().await.unwrap().unwrap();
    sleep(Duration::from_secs(2)).await;
    life.end();
    let second = receiver(log.consumer("g", &Start::Earliest, LogSettings::default()).unwrap());
    assert!(!held.is_lost());
    let seen = take(&second, 80).await;
    in_order(&seen);
    assert!(held.is_lost());
    assert!(timeout(Duration::from_secs(1), first.recv()).await.is_err(), "handed out what it no longer holds");
}
