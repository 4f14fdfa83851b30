//! What every case needs: a channel with a sender and receivers, and words for what it waits for.

use std::{ops::Deref, sync::Arc, time::Duration};

use strait_core::{Budget, Consumer, ErrorKind, Key, Message, Producer, Received, Result};
use strait_runtime::{
    Backoff, DeadLetter, Delivery, Outcome, Receiver, ReceiverSettings, Retry, Sender, SenderSettings,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::{Capabilities, Channel, Faults, FaultyProducer, GROUP, Join, Member, Needs, Rig};

/// How long a case waits for what is to come: longer than any pause that the library makes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5 * 60);

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A channel that nobody else uses.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) channel: Box<dyn Channel>,
    pub(crate) can: Capabilities,
}

/// A process that receives.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) receiver: Receiver,
    pub(crate) member: Member,
}

impl Deref for Open {
    type Target = Receiver;

    fn deref(&self) -> &Receiver {
        &self.receiver
    }
}

impl Stage {
    pub(crate) async fn new(rig: &dyn Rig) -> Self {
        Self::with(rig, Needs::default()).await
    }

    pub(crate) async fn with(rig: &dyn Rig, needs: Needs) -> Self {
        Self { channel: rig.channel(needs).await.unwrap(), can: rig.capabilities() }
    }

    pub(crate) fn sender(&self) -> Sender {
        Sender::new(self.channel.producer(), SenderSettings::default()).unwrap()
    }

    /// A sender whose requests go wrong as planned, and what remembers them.
    pub(crate) fn faulty_sender(
        &self,
        faults: &Faults,
        change: impl FnOnce(&mut SenderSettings),
    ) -> (Sender, Arc<FaultyProducer>) {
        let producer = FaultyProducer::new(self.channel.producer(), faults.clone());
        let mut settings = SenderSettings::default();
        change(&mut settings);
        (Sender::new(Arc::clone(&producer) as Arc<dyn Producer>, settings).unwrap(), producer)
    }

    /// Sends them, and waits until each is stored.
    pub(crate) async fn send(&self, messages: impl IntoIterator<Item = Message>) {
        let sender = self.sender();
        for outcome in sender.send_all(messages).await {
            assert!(outcome.is_sent(), "{outcome:?}");
        }
        sender.close().await.unwrap();
    }

    pub(crate) async fn member(&self) -> Member {
        self.join(Join::default()).await
    }

    pub(crate) async fn join(&self, join: Join) -> Member {
        self.channel.join(join).await.unwrap()
    }

    pub(crate) async fn open(&self) -> Open {
        self.open_with(|_| {}).await
    }

    pub(crate) async fn open_with(&self, change: impl FnOnce(&mut ReceiverSettings)) -> Open {
        self.open_as(Join::default(), change).await
    }

    /// Receives in the strongest order that there is; what fails for good stays.
    pub(crate) async fn open_as(&self, join: Join, change: impl FnOnce(&mut ReceiverSettings)) -> Open {
        let member = self.join(join).await;
        let mut settings = ReceiverSettings::new(DeadLetter::Block);
        settings.ordering = self.can.ordering;
        settings.retry = Retry::new(5, Backoff::new(millis(200), secs(2)));
        settings.meter = member.meter.clone();
        change(&mut settings);
        let receiver = Receiver::new(Arc::clone(&member.consumer), settings).unwrap();
        Open { receiver, member }
    }

    /// Waits until so many are there to be received: what goes through a topic takes its time after it was sent.
    pub(crate) async fn holds(&self, count: usize) {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if self.channel.left(GROUP).await >= count {
                return;
            }
            sleep(millis(50)).await;
        }
        panic!("{} of {count} messages are there", self.channel.left(GROUP).await);
    }

    /// Waits until nothing is left to be settled.
    pub(crate) async fn settled(&self) {
        self.left(0).await;
    }

    /// Acknowledges what comes until nothing is left to be settled: what was settled behind a message that was not comes
    /// again, where both are in one partition.
    pub(crate) async fn settle_rest(&self, receiver: &Receiver) {
        let rest = async {
            loop {
                next(receiver).await.ack();
            }
        };
        tokio::select! {
            () = self.settled() => {}
            () = rest => {}
        }
    }

    /// Waits until so many are left to be settled, and no more are settled then.
    pub(crate) async fn left(&self, count: usize) {
        for _ in 0..PATIENCE.as_millis() / 50 {
            if self.channel.left(GROUP).await <= count {
                break;
            }
            sleep(millis(50)).await;
        }
        sleep(secs(3)).await;
        assert_eq!(self.channel.left(GROUP).await, count, "messages that are left to be settled");
    }
}

/// The message `{key}{number}`, of that key.
pub(crate) fn message(key: &str, number: usize) -> Message {
    Message::new(format!("{key}{number}")).with_key(self::key(key))
}

/// Messages of a key, with these numbers.
pub(crate) fn messages(key: &str, numbers: impl IntoIterator<Item = usize>) -> Vec<Message> {
    numbers.into_iter().map(|number| message(key, number)).collect()
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

/// The next delivery.
pub(crate) async fn next(receiver: &Receiver) -> Delivery {
    let delivery = timeout(PATIENCE, receiver.recv()).await.expect("a message is to come, and none does");
    delivery.unwrap().expect("a message is to come, and the receiver is closed")
}

/// The next delivery, which is to be this one.
pub(crate) async fn expect(receiver: &Receiver, expected: &str) -> Delivery {
    let delivery = next(receiver).await;
    assert_eq!(text(delivery.message()), expected);
    delivery
}

/// Receives so many, acknowledges each, and says what they were.
pub(crate) async fn take(receiver: &Receiver, count: usize) -> Vec<String> {
    let mut taken = Vec::with_capacity(count);
    for _ in 0..count {
        let delivery = next(receiver).await;
        taken.push(text(delivery.message()));
        delivery.ack();
    }
    taken
}

/// As [`take`], sorted, for where no order is promised between keys.
pub(crate) async fn take_sorted(receiver: &Receiver, count: usize) -> Vec<String> {
    let mut taken = take(receiver, count).await;
    taken.sort();
    taken
}

/// Receives until each of so many messages came, acknowledges all, and says what they were, sorted. Where a service may
/// repeat a message, a copy counts for nothing.
pub(crate) async fn take_each(can: &Capabilities, receiver: &Receiver, count: usize) -> Vec<String> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let delivery = next(receiver).await;
        let text = text(delivery.message());
        delivery.ack();
        if !can.repeats || !taken.contains(&text) {
            taken.push(text);
        }
    }
    taken.sort();
    taken
}

/// Nothing comes for so long.
pub(crate) async fn nothing(receiver: &Receiver, pause: Duration) {
    if let Ok(delivery) = timeout(pause, receiver.recv()).await {
        let delivery = delivery.unwrap().map(|delivery| text(delivery.message()));
        panic!("nothing is to come within {pause:?}, and {delivery:?} does");
    }
}

/// The first reply that brings a message.
///
/// # Errors
///
/// That of the first call that fails.
pub async fn first(consumer: &dyn Consumer, budget: Budget) -> Result<Vec<Received>> {
    loop {
        let batch = consumer.receive(budget).await?;
        if !batch.is_empty() {
            return Ok(batch);
        }
    }
}

/// Nothing comes for so long, but for copies of `known` where a service may repeat a message.
pub(crate) async fn nothing_new(can: &Capabilities, receiver: &Receiver, pause: Duration, known: &[String]) {
    let end = Instant::now() + pause;
    while let Ok(delivery) = timeout_at(end, receiver.recv()).await {
        let delivery = delivery.unwrap().expect("the receiver is open");
        let text = text(delivery.message());
        assert!(can.repeats && known.contains(&text), "nothing is to come within {pause:?}, and {text} does");
        delivery.ack();
    }
}

/// Receives by the contract, without a receiver above it: so many messages, of as many replies as it takes.
pub(crate) async fn receive(member: &Member, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let budget = Budget::new(count - all.len(), 1 << 30);
        let batch = timeout(PATIENCE, first(&*member.consumer, budget)).await.expect("messages are to come");
        all.extend(batch.unwrap());
    }
    all
}

/// Nothing is received by the contract for so long.
pub(crate) async fn receives_nothing(member: &Member, pause: Duration) {
    if let Ok(batch) = timeout(pause, first(&*member.consumer, Budget::new(10, 1 << 30))).await {
        let batch: Vec<_> = batch.unwrap().iter().map(|received| text(&received.message)).collect();
        panic!("nothing is to come within {pause:?}, and {batch:?} does");
    }
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, so: impl Fn() -> bool) {
    for _ in 0..PATIENCE.as_millis() / 10 {
        if so() {
            return;
        }
        sleep(millis(10)).await;
    }
    panic!("not so in time: {what}");
}

/// The kind of error that it is refused with.
pub(crate) fn refused<T>(result: Result<T>) -> ErrorKind {
    result.map(|_| "it was not refused").unwrap_err().kind()
}

/// The kind of error of an outcome.
pub(crate) fn failed(outcome: Outcome) -> ErrorKind {
    refused(outcome.into_result())
}
