//! What networks and services do on the way, and what holds all the same, whatever the service.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use strait_core::{Budget, Consumer, ErrorKind, Key, Message, Ordering, Producer};
use strait_runtime::{
    Backoff, DeadLetter, Delivery, Outcome, Receiver, ReceiverSettings, Retry, Sender, SenderSettings,
};
use strait_testkit::{
    first,
    proxy::{Call, Proxy, Trouble},
};
use tokio::time::{sleep, timeout};

use crate::queues::settle;

const SECOND: Duration = Duration::from_secs(1);

/// A message of a key, which both say.
///
/// # Panics
///
/// If it is no key.
pub fn message(key: &str, number: usize) -> Message {
    Message::new(format!("{key}{number}")).with_key(Key::new(key).expect("it is a key"))
}

/// A proxy before `server` that does this to all calls while the flag is raised.
pub async fn switched(server: SocketAddr, trouble: Trouble) -> (Proxy, Arc<AtomicBool>) {
    let flag = Arc::<AtomicBool>::default();
    let raised = Arc::clone(&flag);
    (Proxy::start(server, move |_| raised.load(Relaxed).then(|| trouble.clone())).await, flag)
}

/// By chance, a quarter of the calls is `throttled`, and of a tenth the answer is lost. Not those by which something is
/// opened: they are not tried again.
pub fn storm(seed: u64, throttled: Trouble) -> impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static {
    let rng = Mutex::new(Rng::with_seed(seed));
    move |call| {
        // What is looked at when a channel is opened: `GetQueueUrl`, or `GET`.
        if call.operation.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("get")) {
            return None;
        }
        match rng.lock().expect("nothing panics while holding this").u8(..100) {
            0..25 => Some(throttled.clone()),
            25..35 => Some(Trouble::LoseAnswer),
            _ => None,
        }
    }
}

/// What was told of everything, by name.
#[derive(Debug, Default)]
struct Told {
    sent: BTreeSet<String>,
    not_sent: BTreeSet<String>,
    unknown: BTreeSet<String>,
}

impl Told {
    async fn send_all(&mut self, producer: Arc<dyn Producer>, deadline: Duration, prefix: &str, count: usize) {
        let mut settings = SenderSettings::default();
        settings.deadline = deadline;
        let sender = Sender::new(producer, settings).expect("it is set up");
        let all: Vec<_> = (0..count).map(|number| message(&format!("{prefix}{}-", number % 20), number)).collect();
        for (message, outcome) in all.iter().zip(sender.send_all(all.clone()).await) {
            let name = text(message);
            match outcome {
                Outcome::Sent(_) => self.sent.insert(name),
                Outcome::NotSent(_) => self.not_sent.insert(name),
                Outcome::Unknown(_) => self.unknown.insert(name),
            };
        }
        sender.close().await.expect("it closes");
    }
}

/// Sends much with time to try again and some without, and receives it until nothing is `left`, all of it in a storm. What
/// was said to be sent comes, what was said not to be does not, and everything comes in order if there is one. If each is
/// to be stored `once`, no message comes under two names. The smaller the `buffer`, the fewer of a key go along with an
/// answer that is lost.
///
/// # Panics
///
/// If anything else happens.
pub async fn weathers_a_storm(
    patient: Arc<dyn Producer>,
    hasty: Arc<dyn Producer>,
    from: Arc<dyn Consumer>,
    buffer: usize,
    once: bool,
    left: impl AsyncFn() -> usize,
) {
    let mut told = Told::default();
    told.send_all(patient, 120 * SECOND, "patient", 200).await;
    assert_eq!(told.sent.len(), 200, "with time, everything is sent: {told:?}");
    told.send_all(hasty, SECOND / 10, "hasty", 150).await;
    assert!(told.not_sent.len() + told.unknown.len() > 0, "some have no time: {told:?}");

    let in_order = from.guarantees().ordering == Ordering::Key;
    let retry = Retry::new(9, Backoff::new(SECOND / 10, SECOND));
    let mut settings = ReceiverSettings::new(DeadLetter::Block).retry(retry).in_flight(10);
    (settings.buffer, settings.prefetch) = (buffer, Some(buffer));
    let receiver = Receiver::new(from, if in_order { settings.in_order() } else { settings }).expect("it is set up");
    let mut came: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut order: HashMap<String, Vec<usize>> = HashMap::new();
    let receive = async {
        loop {
            // What nobody answered for is leased to nobody, and calls that fail are made again after pauses that grow.
            let delivery = match timeout(5 * SECOND, receiver.recv()).await {
                Ok(delivery) => delivery.expect("it receives").expect("it is open"),
                Err(_) if left().await == 0 => return,
                Err(_) => continue,
            };
            let name = text(delivery.message());
            let (key, number) = name.rsplit_once('-').expect("a key, and a number");
            if !came.contains_key(&name) {
                order.entry(key.to_owned()).or_default().push(number.parse().expect("a number"));
            }
            came.entry(name).or_default().insert(delivery.origin().position().to_string());
            delivery.ack();
        }
    };
    timeout(600 * SECOND, receive).await.expect("everything is settled in the end");
    receiver.close().await.expect("it closes");

    let stored: BTreeSet<_> = came.keys().cloned().collect();
    let lost: Vec<_> = told.sent.difference(&stored).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let false_words: Vec<_> = told.not_sent.intersection(&stored).collect();
    assert!(false_words.is_empty(), "said not to be sent, and stored: {false_words:?}");
    assert!(stored.iter().all(|name| told.sent.contains(name) || told.unknown.contains(name)));
    if once {
        let twice: Vec<_> = came.iter().filter(|(_, names)| names.len() > 1).collect();
        assert!(twice.is_empty(), "stored twice: {twice:?}");
    }
    if in_order {
        for (key, numbers) in order {
            assert!(numbers.is_sorted(), "{key}: {numbers:?}");
        }
    }
}

/// Nothing is heard of the service for longer than a lease: claims end by themselves, and everything comes again, in
/// order. `cut` is what silences it for the consumer, not for the producer.
///
/// # Panics
///
/// If anything else happens.
pub async fn outlives_a_cut(to: Arc<dyn Producer>, from: Arc<dyn Consumer>, lease: Duration, cut: &AtomicBool) {
    let sender = Sender::new(to, SenderSettings::default()).expect("it is set up");
    for outcome in sender.send_all((1..4).map(|number| message("a", number))).await {
        assert!(outcome.is_sent());
    }
    let retry = Retry::new(u32::MAX, Backoff::new(SECOND / 10, SECOND));
    let settings = ReceiverSettings::new(DeadLetter::Block).in_order().retry(retry);
    let receiver = Receiver::new(from, settings).expect("it is set up");
    let next = async || -> Delivery {
        let delivery = timeout(90 * SECOND, receiver.recv()).await.expect("it comes, or comes again");
        delivery.expect("it receives").expect("it is open")
    };
    let first = next().await;
    assert_eq!(text(first.message()), "a1");
    cut.store(true, Relaxed);
    timeout(2 * lease, first.lost()).await.expect("its claim ends without anybody having to say so");
    assert_eq!(first.ack_confirmed().await.expect_err("it is lost").kind(), ErrorKind::Lost);
    sleep(lease).await; // the cut goes on
    cut.store(false, Relaxed);
    for expected in ["a1", "a2", "a3"] {
        let delivery = next().await;
        assert_eq!(text(delivery.message()), expected);
        delivery.ack_confirmed().await.expect("it is settled");
    }
    receiver.close().await.expect("it closes");
}

/// A message whose answer is on its way for longer than a call may take arrives: else it would be sent again and again,
/// for ever.
///
/// # Panics
///
/// If it does not.
pub async fn arrives_in_the_end(payload: Vec<u8>, to: &dyn Producer, from: &dyn Consumer) {
    for outcome in to.send(&[Message::new(payload.clone())]).await {
        outcome.expect("it is sent");
    }
    let budget = Budget::new(10, 32 << 20);
    let received = timeout(60 * SECOND, first(from, budget)).await.expect("it arrives").expect("it receives");
    assert!(received[0].message.payload == payload);
    settle(from, received[0].claim.token()).await;
    from.close().await.expect("it closes");
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}
