//! What networks do on the way: connections that are cut off, and answers that are lost.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use integration_tests::{
    emulators::{PubSub as Emulator, fresh},
    pubsub::{connect, connect_within, endpoint, options, unsettled},
};
use strait_core::{Budget, Consumer as _, ErrorKind, Key, Message, Producer as _};
use strait_kit::QueueSettings;
use strait_pubsub::{Client, NewSubscription, PubSubProducer, PubSubQueue, create_subscription, create_topic};
use strait_runtime::{Backoff, DeadLetter, Receiver, ReceiverSettings, Retry, Sender, SenderSettings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinSet,
    time::{sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

/// A wire to the emulator. While it is cut, what is sent either way is swallowed, and nobody is told.
struct Wire {
    address: SocketAddr,
    /// Swallows what the emulator answers, and lets requests through.
    deaf: Arc<AtomicBool>,
    /// Swallows everything.
    cut: Arc<AtomicBool>,
    /// How many bytes of answers it carries in a second, if not as many as there are.
    rate: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

async fn wire() -> Wire {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (deaf, cut, rate) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut tasks = JoinSet::new();
    let (no_answers, nothing, narrow) = (Arc::clone(&deaf), Arc::clone(&cut), Arc::clone(&rate));
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(Emulator::get().address()).await.unwrap();
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            let swallow = vec![Arc::clone(&nothing), Arc::clone(&no_answers)];
            connections.spawn(carry(from_client, to_server, vec![Arc::clone(&nothing)], Arc::default()));
            connections.spawn(carry(from_server, to_client, swallow, Arc::clone(&narrow)));
        }
    });
    Wire { address, deaf, cut, rate, _tasks: tasks }
}

/// Carries bytes until something was swallowed: from then on the connection is of no use, and ends.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, swallow: Vec<Arc<AtomicBool>>, rate: Arc<AtomicUsize>) {
    let mut buffer = vec![0; 64 << 10];
    let mut swallowed = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if swallow.iter().any(|flag| flag.load(Relaxed)) {
            swallowed = true;
        } else if swallowed || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        if let Some(rate) = u32::try_from(rate.load(Relaxed)).ok().filter(|rate| *rate > 0) {
            sleep(SECOND * u32::try_from(count).unwrap() / rate).await;
        }
    }
}

fn message(key: &str, number: usize) -> Message {
    Message::new(format!("{key}{number}")).with_key(Key::new(key).unwrap())
}

/// A client that nothing happens to, and a topic and a subscription of one name.
async fn channel(exactly_once: bool) -> (Client, String) {
    let (client, name) = (connect(&endpoint()).unwrap(), fresh("network"));
    create_topic(&client, &name).await.unwrap();
    let mut new = NewSubscription::new(&name, &name);
    new.exactly_once = exactly_once;
    create_subscription(&client, &new).await.unwrap();
    (client, name)
}

/// Nothing is heard for longer than a lease: claims end by themselves, and everything comes again, in order.
#[tokio::test]
async fn a_network_that_is_cut_for_longer_than_a_lease() {
    let (client, name) = channel(false).await;
    let wire = wire().await;
    let producer = Arc::new(PubSubProducer::open(&client, &name).await.unwrap());
    let sender = Sender::new(producer, SenderSettings::default()).unwrap();
    for outcome in sender.send_all((1..4).map(|number| message("a", number))).await {
        assert!(outcome.is_sent());
    }
    let through = connect_within(&format!("http://{}", wire.address), 2 * SECOND).unwrap();
    let queue = PubSubQueue::open(&through, &name, options()).await.unwrap();
    let retry = Retry::new(u32::MAX, Backoff::new(SECOND / 10, SECOND));
    let settings = ReceiverSettings::new(DeadLetter::Block).in_order().retry(retry);
    let receiver = Receiver::new(Arc::new(queue.consumer(QueueSettings::default())), settings).unwrap();
    let text = |delivery: &strait_runtime::Delivery| String::from_utf8_lossy(&delivery.message().payload).into_owned();
    let first = timeout(20 * SECOND, receiver.recv()).await.unwrap().unwrap().unwrap();
    assert_eq!(text(&first), "a1");
    wire.cut.store(true, Relaxed);
    let lease = 10 * SECOND;
    timeout(2 * lease, first.lost()).await.expect("its claim ends without anybody having to say so");
    assert_eq!(first.ack_confirmed().await.unwrap_err().kind(), ErrorKind::Lost);
    sleep(lease).await; // the cut goes on
    wire.cut.store(false, Relaxed);
    for expected in ["a1", "a2", "a3"] {
        let delivery = timeout(90 * SECOND, receiver.recv()).await.expect("it comes again").unwrap().unwrap();
        assert_eq!(text(&delivery), expected);
        delivery.ack_confirmed().await.unwrap();
    }
    receiver.close().await.unwrap();
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 0);
}

/// An answer that is on its way for longer than a pull waits arrives: else it would be sent again and again, for ever.
#[tokio::test]
async fn a_message_that_takes_longer_than_a_pull_waits() {
    let (client, name) = channel(false).await;
    let wire = wire().await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    for outcome in producer.send(&[Message::new(vec![7; 4 << 20])]).await {
        outcome.unwrap();
    }
    let through = connect(&format!("http://{}", wire.address)).unwrap();
    let consumer = PubSubQueue::open(&through, &name, options()).await.unwrap().consumer(QueueSettings::default());
    wire.rate.store(1 << 20, Relaxed); // four seconds, and a pull waits for one
    let received =
        timeout(60 * SECOND, consumer.receive(Budget::new(10, 32 << 20))).await.expect("it arrives").unwrap();
    assert_eq!(received[0].message.payload.len(), 4 << 20);
    consumer.settle(&[received[0].claim.token()]).await.pop().unwrap().unwrap();
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 0);
    wire.rate.store(0, Relaxed);
    consumer.close().await.unwrap();
}

/// An acknowledgement whose answer is lost is told as such; the message is settled, or comes again. Once more is harmless.
async fn an_acknowledgement_whose_answer_is_lost(exactly_once: bool) {
    let (client, name) = channel(exactly_once).await;
    let wire = wire().await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    for outcome in producer.send(&[message("a", 1)]).await {
        outcome.unwrap();
    }
    let through = connect_within(&format!("http://{}", wire.address), 2 * SECOND).unwrap();
    let consumer = PubSubQueue::open(&through, &name, options()).await.unwrap().consumer(QueueSettings::default());
    let received = timeout(20 * SECOND, consumer.receive(Budget::new(10, 1 << 20))).await.unwrap().unwrap();
    let token = received[0].claim.token();
    wire.deaf.store(true, Relaxed);
    let error = consumer.settle(&[token]).await.pop().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_ambiguous(), "{error:?}");
    wire.deaf.store(false, Relaxed);
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
    let (client, name) = channel(false).await;
    let wire = wire().await;
    let through = connect_within(&format!("http://{}", wire.address), 2 * SECOND).unwrap();
    let producer = PubSubProducer::open(&through, &name).await.unwrap();
    wire.deaf.store(true, Relaxed);
    let secret = Message::new("hunter2").with_key(Key::new("hunter2").unwrap());
    let error = producer.send(&[secret]).await.pop().unwrap().unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.is_ambiguous(), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 1, "it is stored");
    drop(wire);
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
    let (client, name) = channel(false).await;
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
