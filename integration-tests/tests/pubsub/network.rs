//! What networks and the service do on the way: throttling, cut connections, and answers that are lost or slow.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use integration_tests::{
    emulators::{PubSub as Emulator, fresh},
    pubsub::{connect, connect_within, endpoint, options, unsettled},
    weather::{arrives_in_the_end, message, outlives_a_cut, storm, switched, weathers_a_storm},
};
use strait_core::{Budget, Consumer as _, ErrorKind, Key, Message, Producer as _};
use strait_kit::QueueSettings;
use strait_pubsub::{Client, NewSubscription, PubSubProducer, PubSubQueue, create_subscription, create_topic};
use strait_testkit::{
    first,
    proxy::{Call, Proxy, Trouble},
};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
/// What gRPC calls throttling.
const EXHAUSTED: u16 = 8;

/// A proxy before the emulator.
async fn proxy(plan: impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static) -> Proxy {
    Proxy::start(Emulator::get().address(), plan).await
}

fn through(proxy: &Proxy, timeout: Duration) -> Client {
    connect_within(&format!("http://{}", proxy.address()), timeout).unwrap()
}

/// A client that nothing happens to, and a topic and a subscription of one name, in order.
async fn channel(but: impl FnOnce(&mut NewSubscription)) -> (Client, String) {
    let (client, name) = (connect(&endpoint()).unwrap(), fresh("network"));
    create_topic(&client, &name).await.unwrap();
    let mut new = NewSubscription::new(&name, &name);
    but(&mut new);
    create_subscription(&client, &new).await.unwrap();
    (client, name)
}

async fn in_a_storm(ordered: bool, seed: u64) {
    let (calm, name) = channel(|new| new.ordered = ordered).await;
    let proxy = proxy(storm(seed, Trouble::Refuse(EXHAUSTED, "as planned"))).await;
    let client = through(&proxy, 10 * SECOND);
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    let queue = PubSubQueue::open(&client, &name, options()).await.unwrap();
    let consumer = queue.consumer(QueueSettings::default());
    let left = async || unsettled(&calm, &name, &name).await.unwrap();
    weathers_a_storm(Arc::new(producer.another()), Arc::new(producer), Arc::new(consumer), 10, false, left).await;
    for operation in ["Publish", "Pull", "Acknowledge"] {
        assert!(proxy.troubled(operation) > 5, "{operation} met trouble {} times", proxy.troubled(operation));
    }
}

#[tokio::test]
async fn a_subscription_loses_nothing_in_a_storm() {
    in_a_storm(false, 1).await;
}

#[tokio::test]
async fn a_subscription_in_order_loses_nothing_in_a_storm_and_keeps_it() {
    in_a_storm(true, 2).await;
}

#[tokio::test]
async fn a_network_that_is_cut_for_longer_than_a_lease() {
    let (client, name) = channel(|_| {}).await;
    let (proxy, cut) = switched(Emulator::get().address(), Trouble::Stall).await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    let queue = PubSubQueue::open(&through(&proxy, 2 * SECOND), &name, options()).await.unwrap();
    let consumer = queue.consumer(QueueSettings::default());
    outlives_a_cut(Arc::new(producer), Arc::new(consumer), 10 * SECOND, &cut).await;
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 0);
}

/// gRPC's code of a deadline that is over.
const DEADLINE_EXCEEDED: u16 = 4;

/// A server that says at once that there was nothing in time is one that fails: it is not asked again without a pause.
#[tokio::test]
async fn a_pull_that_ends_before_its_time_is_a_failure() {
    let (_, name) = channel(|_| {}).await;
    let refuse = |call: &Call| (call.operation == "Pull").then_some(Trouble::Refuse(DEADLINE_EXCEEDED, "as planned"));
    let proxy = proxy(refuse).await;
    let queue = PubSubQueue::open(&through(&proxy, 10 * SECOND), &name, options()).await.unwrap();
    let consumer = queue.consumer(QueueSettings::default());
    let failed = timeout(20 * SECOND, consumer.receive(Budget::new(10, 1 << 20))).await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Unavailable, "{failed}");
    consumer.close().await.unwrap();
    assert!(proxy.troubled("Pull") < 20, "{} pulls", proxy.troubled("Pull"));
}

#[tokio::test]
async fn a_message_that_takes_longer_than_a_pull_waits() {
    let (client, name) = channel(|_| {}).await;
    let slow = |call: &Call| (call.operation == "Pull").then_some(Trouble::Trickle(1 << 20));
    let proxy = proxy(slow).await; // it takes four seconds, and a pull waits for one
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    let queue = PubSubQueue::open(&through(&proxy, 30 * SECOND), &name, options()).await.unwrap();
    arrives_in_the_end(vec![7; 4 << 20], &producer, &queue.consumer(QueueSettings::default())).await;
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 0);
}

/// An acknowledgement whose answer is lost is told as such; the message is settled, or comes again. Once more is harmless.
async fn an_acknowledgement_whose_answer_is_lost(exactly_once: bool) {
    let (client, name) = channel(|new| new.exactly_once = exactly_once).await;
    let (proxy, deaf) = switched(Emulator::get().address(), Trouble::LoseAnswer).await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    for outcome in producer.send(&[message("a", 1)]).await {
        outcome.unwrap();
    }
    let consumer = PubSubQueue::open(&through(&proxy, 2 * SECOND), &name, options())
        .await
        .unwrap()
        .consumer(QueueSettings::default());
    let received = timeout(20 * SECOND, first(&consumer, Budget::new(10, 1 << 20))).await.unwrap().unwrap();
    let token = received[0].claim.token();
    deaf.store(true, Relaxed);
    let error = consumer.settle(&[token]).await.pop().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_ambiguous(), "{error:?}");
    deaf.store(false, Relaxed);
    // It had its effect: asked again, a subscription with exactly-once delivery knows the lease no more, another does not say.
    let again = loop {
        match consumer.settle(&[token]).await.pop().unwrap() {
            Err(error) if error.is_transient() => sleep(SECOND / 5).await,
            outcome => break outcome.map_err(|error| error.kind()),
        }
    };
    assert_eq!(again, if exactly_once { Err(ErrorKind::Lost) } else { Ok(()) });
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 0);
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn an_acknowledgement_whose_answer_is_lost_where_it_is_not_confirmed() {
    an_acknowledgement_whose_answer_is_lost(false).await;
}

#[tokio::test]
async fn an_acknowledgement_whose_answer_is_lost_where_it_is_confirmed() {
    an_acknowledgement_whose_answer_is_lost(true).await;
}

/// A publication whose answer is lost may be stored, and is told so; one that had no connection is not.
#[tokio::test]
async fn a_publication_whose_answer_is_lost_is_ambiguous_and_one_that_never_left_is_not() {
    let (client, name) = channel(|_| {}).await;
    let (proxy, deaf) = switched(Emulator::get().address(), Trouble::LoseAnswer).await;
    let producer = PubSubProducer::open(&through(&proxy, 2 * SECOND), &name).await.unwrap();
    deaf.store(true, Relaxed);
    let secret = Message::new("hunter2").with_key(Key::new("hunter2").unwrap());
    let error = producer.send(&[secret]).await.pop().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_ambiguous(), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 1, "it is stored");
    drop(proxy);
    let begun = tokio::time::Instant::now();
    loop {
        let error = producer.send(&[Message::new("1")]).await.pop().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        if !error.is_ambiguous() {
            break; // the connection that there was is gone, and there is no other
        }
        assert!(begun.elapsed() < 30 * SECOND, "{error:?}");
    }
}

/// Batches of many keys: each message has its own outcome and its own name, and everything is stored once.
#[tokio::test]
async fn a_batch_of_many_keys_has_an_outcome_for_each() {
    let (client, name) = channel(|_| {}).await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    let mut batch: Vec<_> = (0..60).map(|number| message(["a", "b", "c"][number % 3], number)).collect();
    batch[30] = batch[30].clone().with_header("bin", vec![0xff]);
    let mut names = BTreeSet::new();
    for (place, outcome) in producer.send(&batch).await.into_iter().enumerate() {
        match outcome {
            Ok(receipt) => assert!(names.insert(receipt.position.to_string())),
            // What is behind it with its key fails with it.
            Err(error) => assert!(place >= 30 && place % 3 == 0 && error.kind() == ErrorKind::Invalid, "{place}"),
        }
    }
    assert_eq!(names.len(), 50);
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 50);
}
