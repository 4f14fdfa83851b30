use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_core::{Message, Producer as _};
use strait_kinesis::{
    Envelope,
    kpl::{Opened, open},
};
use strait_runtime::{Backoff, Sender, SenderSettings};
use strait_testkit::kinesis::{Fault, StreamSettings};
use tokio::time::{sleep, timeout};

use crate::{key, message, orders, stored};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Report 31: an answer that breaks off, wherever, does not say that nothing was stored, and what is sent again has the same
/// id.
#[tokio::test]
async fn r31_what_is_sent_again_after_a_broken_answer_has_the_same_id() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    let calls = AtomicUsize::new(0);
    stub.plan(move |_| {
        let number = calls.fetch_add(1, Relaxed);
        number.is_multiple_of(2).then_some(Fault::Truncate(number / 2))
    });
    let mut settings = SenderSettings::default();
    settings.backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(1));
    let sender = Sender::new(Arc::new(producer), settings).unwrap();
    for number in 0..64 {
        sender.send(Message::new(number.to_string()).with_key(key("a"))).await.unwrap();
    }
    sender.close().await.unwrap();
    let mut ids: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for message in stored(&stub) {
        ids.entry(message.payload).or_default().push(message.id);
    }
    assert_eq!(ids.len(), 64);
    for (payload, ids) in ids {
        assert!(ids.len() == 2 && ids[0].is_some() && ids[0] == ids[1], "{payload:?}: {ids:?}");
    }
}

/// Reports 32 and 33: the key of a record is the key of every message in it, whatever was in the record before it.
#[tokio::test]
async fn r32_r33_the_key_of_a_record_is_that_of_all_its_messages() {
    let (stub, producer) = orders(StreamSettings::default().with_shards(3), Envelope::Kpl).await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let batch: Vec<_> = (0..random.u64(1..60))
            .map(|number| {
                let name = ["", "a", "b", "customer-7", "клиент"][random.usize(..5)];
                // Now and then a record is full.
                let size = if random.u8(..20) == 0 { 500_000 } else { random.usize(..50) };
                message(name, round * 100 + number, vec![1; size])
            })
            .collect();
        assert!(producer.send(&batch).await.iter().all(Result::is_ok));
    }
    let mut several = 0;
    for (outer, data) in stub.stored("orders").into_iter().flat_map(|(_, records)| records) {
        let Opened::Messages(messages) = open(&data.clone().into()) else { panic!("it is no aggregate") };
        assert_eq!(&data[6..6 + outer.len()], outer.as_bytes(), "the first field is the partition key");
        several += usize::from(messages.len() > 1);
        for message in messages {
            assert_eq!(message.key.as_ref().map_or("-", |key| key.as_str()), outer);
        }
    }
    assert!(several > 40, "{several} records have several messages");
}

/// Report 34: where everything is throttled no more is held than may be.
#[tokio::test]
async fn r34_what_is_throttled_takes_no_more_memory_than_it_may() {
    const BUFFER: usize = 1 << 20;
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    stub.plan(|call| {
        let all = (call.operation == "PutRecords").then(|| (0..500).collect());
        all.map(|places| Fault::Mask(places, THROTTLED))
    });
    let mut settings = SenderSettings::default();
    (settings.buffer_bytes, settings.deadline) = (BUFFER, Duration::from_mins(1));
    let sender = Sender::new(Arc::new(producer), settings).unwrap();
    let mut open = Vec::new();
    let fill = async {
        for number in 0..10_000 {
            let message = Message::new(vec![7; 1000]).with_key(key(&format!("k{}", number % 50)));
            open.push(sender.enqueue(message).await.unwrap());
        }
    };
    timeout(Duration::from_secs(3), fill).await.expect_err("it waits for room");
    let health = sender.health();
    assert!(health.bytes <= BUFFER && health.messages < BUFFER / 1000, "{health:?}");
    assert!(health.messages > BUFFER / 5000, "{health:?}");
    // What is held is what was accepted: nothing else grows.
    assert_eq!(health.messages, open.len());
    stub.plan(|_| None);
    for pending in open {
        pending.await.into_result().unwrap();
    }
    assert_eq!(sender.health().bytes, 0);
}

/// Report 35: where many wait for one shard it is asked now and then, and not all the time.
#[tokio::test]
async fn r35_many_that_wait_for_a_throttled_shard_do_nothing() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    stub.plan(|call| {
        let all = (call.operation == "PutRecords").then(|| (0..500).collect());
        all.map(|places| Fault::Mask(places, THROTTLED))
    });
    let sender = Sender::new(Arc::new(producer), SenderSettings::default()).unwrap();
    let mut open = Vec::new();
    for number in 0..50_000_u64 {
        let message = Message::new(number.to_string()).with_key(key(&format!("k{}", number % 100)));
        match timeout(Duration::from_secs(2), sender.enqueue(message)).await {
            Ok(pending) => open.push(pending.unwrap()),
            Err(_) => break, // half of the buffer is full
        }
    }
    assert!(open.len() > 20_000, "{} wait", open.len());
    sleep(Duration::from_secs(3)).await;
    stub.forget_calls();
    sleep(Duration::from_secs(3)).await;
    // Each of the hundred keys is tried every 1.5 s or less often by now.
    let calls = stub.seen("PutRecords");
    let records: usize = calls.iter().map(|call| call.body["Records"].as_array().map_or(0, Vec::len)).sum();
    assert!((1..400).contains(&records), "{records} records in 3 s");
    drop(open);
}
