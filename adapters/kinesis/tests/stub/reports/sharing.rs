use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use strait_core::{Message, Producer as _};
use strait_kinesis::{Envelope, KinesisLog, KinesisProducer};
use strait_kit::{LogConsumer, LogSettings, RowStore as _};
use strait_leases::{Group, Options};
use strait_runtime::{DeadLetter, Receiver, ReceiverSettings};
use strait_testkit::kinesis::StreamSettings;
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    connect,
    group::{EXPIRY, FIRST, Member, Scene, check, numbers},
    message,
};

/// What members receive, in one order.
type Seen = Arc<Mutex<Vec<(&'static str, Message)>>>;

/// Lets a member receive and acknowledge until it is stopped, and closes it then.
fn work(name: &'static str, member: Member, seen: &Seen) -> Working {
    let (seen, receiver) = (Arc::clone(seen), member.receiver.clone());
    let task = tokio::spawn(async move {
        while let Some(delivery) = receiver.recv().await.unwrap() {
            seen.lock().unwrap().push((name, delivery.message().clone()));
            delivery.ack();
        }
    });
    Working { member, task }
}

struct Working {
    member: Member,
    task: JoinHandle<()>,
}

impl Working {
    async fn stop(self) {
        self.member.close().await;
        self.task.await.unwrap();
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn messages(seen: &Seen) -> Vec<Message> {
    seen.lock().unwrap().iter().map(|(_, message)| message.clone()).collect()
}

/// Report 8: two streams whose shards have the same names, read by groups of one name with one store, are apart, whichever
/// is resharded.
#[tokio::test]
async fn r8_streams_whose_shards_have_the_same_names_are_apart() {
    let scene = Scene::new("r8", 2).await;
    scene.stub.create("payments", StreamSettings::default().with_shards(2));
    let client = connect(&scene.stub).await;
    let join = async |stream: &str| {
        let log = KinesisLog::open(&client, stream, "app", Duration::from_millis(200)).await.unwrap();
        let member = Group::new("app", "memory:r8").join(&log.source(), Arc::clone(&log) as _).await.unwrap();
        let consumer = LogConsumer::new(log, Arc::new(member), LogSettings::default());
        Receiver::new(Arc::new(consumer), ReceiverSettings::new(DeadLetter::Block).in_order()).unwrap()
    };
    let (orders, payments) = (join("orders").await, join("payments").await);
    let producer = KinesisProducer::open(&client, "payments", Envelope::Kpl).await.unwrap();
    let pay = async |numbers: std::ops::Range<u64>| {
        let batch: Vec<_> =
            numbers.map(|number| message(&format!("k{}", number % 8), number, number.to_string())).collect();
        assert!(producer.send(&batch).await.iter().all(Result::is_ok));
    };
    scene.send(0..8).await;
    pay(100..108).await;
    check(&take(&orders, 8).await, 0..8);
    check(&take(&payments, 8).await, 100..108);
    scene.stub.split("orders", FIRST);
    scene.send(8..16).await;
    check(&take(&orders, 8).await, 8..16);
    pay(108..116).await;
    check(&take(&payments, 8).await, 108..116);
    let rows = strait_leases::open("memory:r8", &Options::default()).await.unwrap();
    let rows: Vec<_> = rows.versions("").await.unwrap().into_iter().map(|(key, _)| key).collect();
    let shards = |stream: &str| rows.iter().filter(|key| key.contains(stream) && key.contains("/part/")).count();
    assert_eq!((shards("orders"), shards("payments")), (4, 2), "{rows:?}");
    orders.close().await.unwrap();
    payments.close().await.unwrap();
}

async fn take(receiver: &Receiver, count: usize) -> Vec<Message> {
    let mut all = Vec::new();
    for _ in 0..count {
        let delivery = timeout(Duration::from_secs(30), receiver.recv()).await.expect("it comes").unwrap().unwrap();
        all.push(delivery.message().clone());
        delivery.ack_confirmed().await.unwrap();
    }
    all
}

/// Report 10: a shard whose row was deleted under its owner is read on.
#[tokio::test]
async fn r10_a_shard_whose_row_was_deleted_is_read_on() {
    let (scene, seen) = (Scene::new("r10", 2).await, Seen::default());
    let working = work("one", scene.join().await, &seen);
    scene.send(0..8).await;
    until("it reads", || seen.lock().unwrap().len() == 8).await;
    scene.rows().await.delete(&format!("part/{FIRST}")).await.unwrap();
    scene.send(8..16).await;
    let all = || {
        let found = numbers(&messages(&seen));
        (8..16).all(|number| found.contains(&number))
    };
    until("it reads on", all).await;
    working.stop().await;
}

/// Report 11: rows that cannot be reached for a while cost nobody a shard.
#[tokio::test]
async fn r11_a_group_reads_on_after_its_rows_were_out_of_reach() {
    let (scene, seen) = (Scene::new("r11", 2).await, Seen::default());
    let working = work("one", scene.join().await, &seen);
    let mut sent = 0;
    for outage in [EXPIRY / 2, 2 * EXPIRY] {
        scene.send(sent..sent + 8).await;
        sent += 8;
        let all = || {
            let found = numbers(&messages(&seen));
            (0..sent).all(|number| found.contains(&number))
        };
        until("it reads", all).await;
        working.member.rows.cut(true);
        sleep(outage).await;
        working.member.rows.cut(false);
    }
    scene.send(sent..sent + 8).await;
    let all = || {
        let found = numbers(&messages(&seen));
        (0..sent + 8).all(|number| found.contains(&number))
    };
    until("it reads on", all).await;
    working.stop().await;
}

/// Report 12: where members join and leave nothing comes twice.
#[tokio::test]
async fn r12_nothing_comes_twice_where_a_third_member_joins() {
    let (scene, seen) = (Scene::new("r12", 4).await, Seen::default());
    let mut working = vec![work("one", scene.join().await, &seen), work("two", scene.join().await, &seen)];
    let mut sent = 0;
    let mut send_until = async |name: &str| {
        let heard = || seen.lock().unwrap().iter().any(|(who, _)| *who == name);
        for _ in 0..200 {
            scene.send(sent..sent + 8).await;
            sent += 8;
            if heard() {
                return sent;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} gets no share")
    };
    send_until("one").await;
    send_until("two").await;
    working.push(work("three", scene.join().await, &seen));
    let count = send_until("three").await;
    let count = usize::try_from(count).unwrap();
    until("all comes", || seen.lock().unwrap().len() >= count).await;
    for working in working {
        working.stop().await;
    }
    check(&messages(&seen), 0..u64::try_from(count).unwrap());
}

/// Report 16: a shard that was being handed over when its owner died is taken all the same.
#[tokio::test]
async fn r16_a_shard_whose_owner_dies_while_it_hands_it_over_is_taken() {
    let scene = Scene::new("r16", 2).await;
    let first = scene.join().await;
    scene.send(0..8).await;
    // In hand, so that neither shard can be handed over.
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(first.hold().await);
    }
    let second = scene.join().await;
    timeout(EXPIRY, second.receiver.recv()).await.expect_err("the first one has all in hand");
    first.kill();
    check(&second.take(8).await, 0..8);
    second.close().await;
    drop(held);
}

/// Report 17: a member that has left writes nothing any more.
#[tokio::test]
async fn r17_a_member_that_has_left_beats_no_more() {
    let scene = Scene::new("r17", 2).await;
    let (first, second) = (scene.join().await, scene.join().await);
    let (of_first, of_second) = (Arc::clone(&first.rows), Arc::clone(&second.rows));
    first.close().await;
    let (before, others) = (of_first.puts(), of_second.puts());
    scene.send(0..8).await;
    check(&second.take(8).await, 0..8);
    sleep(EXPIRY).await;
    assert_eq!(of_first.puts(), before);
    assert!(before > 0 && of_second.puts() > others, "the other one does");
    second.close().await;
}

/// Report 46: a member that stops leaves what it has settled behind.
#[tokio::test]
async fn r46_a_group_goes_on_where_its_last_member_stopped() {
    let scene = Scene::new("r46", 2).await;
    for round in 0..3 {
        scene.send(round * 8..round * 8 + 8).await;
        let member = scene.join().await;
        check(&member.take(8).await, round * 8..round * 8 + 8);
        member.close().await;
    }
}
