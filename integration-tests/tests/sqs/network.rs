//! What networks and the service do on the way: throttling, lost and broken answers, silence, batches that fail in part.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use integration_tests::{
    emulators::{LocalStack, fresh},
    sqs::{connect, connect_within, endpoint, options, unsettled},
    weather::{arrives_in_the_end, message, outlives_a_cut, storm, switched, weathers_a_storm},
};
use strait_core::{Budget, Consumer as _, ErrorKind, Id, Key, Message, Producer, Result};
use strait_kit::QueueSettings;
use strait_sqs::{Client, SnsProducer, SqsProducer, SqsQueue, create_queue, create_topic};
use strait_testkit::{
    first,
    proxy::{Call, Proxy, Trouble},
};
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);

/// A proxy before LocalStack.
async fn proxy(plan: impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static) -> Proxy {
    Proxy::start(LocalStack::get().address(), plan).await
}

async fn through(address: SocketAddr, timeout: Duration) -> Client {
    connect_within(&format!("http://{address}"), timeout).await.unwrap()
}

/// A client that nothing happens to, and the URL of a queue.
async fn queue(suffix: &str) -> (Client, String) {
    let client = connect(&endpoint()).await.unwrap();
    let name = format!("{}{suffix}", fresh("network"));
    let url = create_queue(&client, &name, &[]).await.unwrap();
    (client, url)
}

/// Everything that is stored, by the bodies, each with the names that SQS gave it.
async fn drain(client: &Client, name: &str) -> BTreeMap<String, BTreeSet<String>> {
    let consumer = SqsQueue::open(client, name, options()).await.unwrap().consumer(QueueSettings::default());
    let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    while let Ok(batch) = timeout(4 * SECOND, first(&consumer, Budget::new(10, 1 << 30))).await {
        let batch = batch.unwrap();
        for received in &batch {
            let text = String::from_utf8_lossy(&received.message.payload).into_owned();
            all.entry(text).or_default().insert(received.origin.position().to_string());
        }
        let tokens: Vec<_> = batch.iter().map(|received| received.claim.token()).collect();
        assert!(consumer.settle(&tokens).await.iter().all(Result::is_ok));
    }
    consumer.close().await.unwrap();
    all
}

/// What is told of each entry is what became of it, for every mask of a batch.
#[tokio::test]
async fn of_a_batch_that_fails_in_part_each_entry_is_told_the_truth() {
    let (client, name) = queue("").await;
    let mask = Arc::new(AtomicU32::new(0));
    let proxy = proxy({
        let mask = Arc::clone(&mask);
        move |call| {
            (call.operation == "SendMessageBatch")
                .then(|| Trouble::Mask(mask.load(Relaxed).into(), "ThrottlingException"))
        }
    })
    .await;
    let producer = SqsProducer::open(&through(proxy.address(), 10 * SECOND).await, &name).await.unwrap();
    let mut confirmed = BTreeSet::new();
    for round in 0..32 {
        mask.store(round, Relaxed);
        let batch: Vec<_> = (0..5).map(|entry| message(&format!("{round}-"), entry)).collect();
        for (entry, outcome) in producer.send(&batch).await.into_iter().enumerate() {
            assert_eq!(outcome.is_err(), round & (1 << entry) > 0);
            match outcome {
                Ok(_) => drop(confirmed.insert(format!("{round}-{entry}"))),
                Err(error) => assert!(error.kind() == ErrorKind::Throttled && !error.is_ambiguous()),
            }
        }
    }
    let stored = drain(&client, &name).await;
    assert_eq!(stored.into_keys().collect::<BTreeSet<_>>(), confirmed);
}

/// What each sort of trouble is told as: only what may be stored is ambiguous, and nothing that was sent is shown.
#[tokio::test]
async fn trouble_is_told_by_its_kind() {
    let (client, queue) = queue("").await;
    let topic = create_topic(&client, &fresh("topic")).await.unwrap();
    let next = Arc::new(Mutex::new(None));
    let proxy = proxy({
        let next = Arc::clone(&next);
        move |_| next.lock().unwrap().clone()
    })
    .await;
    let broken = through(proxy.address(), SECOND).await;
    let (to_queue, to_topic) =
        (SqsProducer::open(&broken, &queue).await.unwrap(), SnsProducer::open(&broken, &topic).await.unwrap());
    let (unavailable, throttled) = (ErrorKind::Unavailable, ErrorKind::Throttled);
    let troubles = [
        (Trouble::LoseAnswer, unavailable, true),
        (Trouble::Truncate, unavailable, true),
        (Trouble::Stall, unavailable, true),
        (Trouble::Delay(2 * SECOND), unavailable, true),
        (Trouble::Refuse(500, "InternalFailure"), unavailable, true),
        (Trouble::Refuse(400, "ThrottlingException"), throttled, false),
        (Trouble::Refuse(429, "Slowly"), throttled, false),
        (Trouble::Refuse(403, "AccessDenied"), ErrorKind::Denied, false),
        (Trouble::Refuse(400, "InvalidParameterValue"), ErrorKind::Invalid, false),
        (Trouble::Refuse(404, "NotFound"), ErrorKind::NotFound, false),
    ];
    let producers: [(&str, &dyn Producer); 2] = [("queue", &to_queue), ("topic", &to_topic)];
    for (what, producer) in producers {
        for (index, (trouble, kind, ambiguous)) in troubles.iter().enumerate() {
            *next.lock().unwrap() = Some(trouble.clone());
            let begun = Instant::now();
            let secret = Message::new(format!("hunter2 {index}")).with_key(Key::new("hunter2").unwrap());
            let error = producer.send(&[secret]).await.pop().unwrap().unwrap_err();
            assert!(begun.elapsed() < 5 * SECOND, "{what}: {trouble:?} took {:?}", begun.elapsed());
            assert_eq!((error.kind(), error.is_ambiguous()), (*kind, *ambiguous), "{what}: {trouble:?}: {error:?}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
    // Nobody listens any more: it never left.
    drop(proxy);
    for (_, producer) in producers {
        let error = producer.send(&[Message::new("1")]).await.pop().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (unavailable, false), "{error:?}");
    }
    // What was ambiguous may be stored, and nothing else is.
    let stored: BTreeSet<_> = drain(&client, &queue).await.into_keys().collect();
    let acted = BTreeSet::from(["hunter2 0".to_owned(), "hunter2 1".to_owned()]);
    let late = BTreeSet::from(["hunter2 3".to_owned()]);
    assert!(stored.is_superset(&acted) && stored.is_subset(&acted.union(&late).cloned().collect()), "{stored:?}");
}

async fn in_a_storm(suffix: &str, seed: u64) {
    let (calm, url) = queue(suffix).await;
    let proxy = proxy(storm(seed, Trouble::Refuse(400, "ThrottlingException"))).await;
    let client = through(proxy.address(), 10 * SECOND).await;
    let producer = SqsProducer::open(&client, &url).await.unwrap();
    let consumer = SqsQueue::open(&client, &url, options()).await.unwrap().consumer(QueueSettings::default());
    let (once, left) = (suffix == ".fifo", async || unsettled(&calm, &url).await.unwrap());
    // LocalStack opens a group as soon as any of its messages may be had again, whatever else of it is in flight.
    let buffer = if once { 1024 } else { 20 };
    weathers_a_storm(Arc::new(producer.another()), Arc::new(producer), Arc::new(consumer), buffer, once, left).await;
    for operation in ["SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"] {
        assert!(proxy.troubled(operation) > 5, "{operation} met trouble {} times", proxy.troubled(operation));
    }
}

#[tokio::test]
async fn a_standard_queue_loses_nothing_in_a_storm() {
    Box::pin(in_a_storm("", 1)).await;
}

#[tokio::test]
async fn a_fifo_queue_loses_nothing_in_a_storm_and_stores_each_once_and_in_order() {
    Box::pin(in_a_storm(".fifo", 2)).await;
}

/// After a lost answer, the next attempt to receive from a FIFO queue goes by the same name, so that what the lost one
/// held is not out of reach; and no other does.
#[tokio::test]
async fn an_attempt_to_receive_whose_answer_was_lost_is_made_again_by_name() {
    let (client, name) = queue(".fifo").await;
    let lose = AtomicBool::new(true);
    let proxy = proxy(move |call| {
        (call.operation == "ReceiveMessage" && lose.swap(false, Relaxed)).then_some(Trouble::LoseAnswer)
    })
    .await;
    let producer = SqsProducer::open(&client, &name).await.unwrap();
    let sent = producer.send(&[message("a", 1).with_id(Id::from_bytes([1; 16]))]).await;
    assert!(sent[0].is_ok());
    let queue = SqsQueue::open(&through(proxy.address(), 10 * SECOND).await, &name, options()).await.unwrap();
    let consumer = queue.consumer(QueueSettings::default());
    let budget = Budget::new(1, 1 << 30);
    let error = consumer.receive(budget).await.unwrap_err();
    assert!(error.is_ambiguous() && error.is_transient(), "{error:?}");
    first(&consumer, budget).await.unwrap();
    consumer.close().await.unwrap();
    let names: Vec<_> = proxy
        .seen()
        .iter()
        .filter(|(call, _)| call.operation == "ReceiveMessage")
        .map(|(call, _)| {
            let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
            body["ReceiveRequestAttemptId"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(names.len() >= 2 && names[0] == names[1], "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len() - 1, "{names:?}");
}

#[tokio::test]
async fn a_network_that_is_cut_for_longer_than_a_lease() {
    let (client, name) = queue(".fifo").await;
    let (proxy, cut) = switched(LocalStack::get().address(), Trouble::Stall).await;
    let producer = SqsProducer::open(&client, &name).await.unwrap();
    let queue = SqsQueue::open(&through(proxy.address(), 2 * SECOND).await, &name, options()).await.unwrap();
    let consumer = queue.consumer(QueueSettings::default());
    outlives_a_cut(Arc::new(producer), Arc::new(consumer), options().lease.unwrap(), &cut).await;
    assert_eq!(drain(&client, &name).await.len(), 0);
}

#[tokio::test]
async fn a_message_that_takes_longer_than_a_call_may() {
    let (client, name) = (connect(&endpoint()).await.unwrap(), fresh("network"));
    create_queue(&client, &name, &[("MaximumMessageSize", "1048576")]).await.unwrap();
    let slow = |call: &Call| (call.operation == "ReceiveMessage").then_some(Trouble::Trickle(200_000));
    let proxy = proxy(slow).await; // it takes five seconds, and a call may take three
    let producer = SqsProducer::open(&client, &name).await.unwrap();
    let queue = SqsQueue::open(&through(proxy.address(), 2 * SECOND).await, &name, options()).await.unwrap();
    arrives_in_the_end(vec![b'x'; 1_000_000], &producer, &queue.consumer(QueueSettings::default())).await;
    assert_eq!(drain(&client, &name).await.len(), 0);
}
