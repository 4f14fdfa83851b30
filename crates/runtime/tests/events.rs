//! What the log tells, as an application's subscriber writes it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use strait_core::{ErrorKind, Id, Message};
use strait_runtime::{
    Backoff, DeadLetter, Delivery, Failure, Receiver, ReceiverSettings, Retry, Sender, SenderSettings, Worker,
};
use support::{Script, Store, text};
use tokio::time::{sleep, timeout};
use tracing::subscriber::DefaultGuard;

const MINUTE: Duration = Duration::from_secs(60);

/// What this thread's subscriber has written.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_target(false)
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || writer.clone());
        (log, tracing::subscriber::set_default(subscriber.finish()))
    }

    /// What was written, with `_` for each pause: they have jitter.
    fn text(&self) -> String {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| match line.split_once("next=in ") {
            Some((before, _)) => format!("{before}next=in _\n"),
            None => format!("{line}\n"),
        });
        lines.collect()
    }
}

/// Three attempts, and then `dead_letter`.
fn receiver(script: &Script, dead_letter: DeadLetter) -> Receiver {
    let mut settings = ReceiverSettings::new(dead_letter).named("billing");
    settings.retry = Retry::new(3, Backoff::new(Duration::from_secs(1), MINUTE));
    Receiver::new(Arc::new(script.clone()), settings).unwrap()
}

fn dead_letters(store: &Store) -> DeadLetter {
    let mut settings = SenderSettings::default();
    settings.name = "dead-orders".into();
    DeadLetter::Channel(Sender::new(Arc::new(store.clone()), settings).unwrap())
}

fn handle(delivery: &Delivery) -> Result<(), Failure> {
    match text(delivery.message()).as_str() {
        "hunter2" => Err(io::Error::other("no route to the bank"))?,
        "hunter3" => Err(Failure::reject("no such customer")),
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn the_life_of_a_message_that_fails() {
    let (log, _guard) = Log::begin();
    let (script, store) = (Script::log(), Store::default());
    let message = |text: &'static str, id| Message::new(text).with_id(Id::from_bytes([id; 16]));
    for message in [message("hunter1", 1), message("hunter2", 2), message("hunter3", 3)] {
        script.push_message(message.with_key("hunter"));
    }
    let worker = Worker::new(receiver(&script, dead_letters(&store))).stop_on(sleep(MINUTE));
    worker.run(async |delivery, _| handle(&delivery)).await.unwrap();
    assert_eq!(store.stored().len(), 2);
    assert_eq!(
        log.text(),
        " INFO a sender opens sender=dead-orders destinations=[]
 INFO a receiver opens receiver=billing provider=script source=test ordering=None
 WARN an attempt failed receiver=billing id=02020202-0202-0202-0202-020202020202 partition=\"p0\" position=1 \
attempt=1 attempts=3 reason=\"no route to the bank\" next=in _
 WARN an attempt failed receiver=billing id=03030303-0303-0303-0303-030303030303 partition=\"p0\" position=2 \
attempt=1 attempts=3 reason=\"no such customer\" next=dead letter
 WARN a message became a dead letter receiver=billing id=03030303-0303-0303-0303-030303030303 partition=\"p0\" position=2 \
attempts=1 reason=\"no such customer\" sender=dead-orders stored_at=1
 WARN an attempt failed receiver=billing id=02020202-0202-0202-0202-020202020202 partition=\"p0\" position=1 \
attempt=2 attempts=3 reason=\"no route to the bank\" next=in _
 WARN an attempt failed receiver=billing id=02020202-0202-0202-0202-020202020202 partition=\"p0\" position=1 \
attempt=3 attempts=3 reason=\"no route to the bank\" next=dead letter
 WARN a message became a dead letter receiver=billing id=02020202-0202-0202-0202-020202020202 partition=\"p0\" position=1 \
attempts=3 reason=\"no route to the bank\" sender=dead-orders stored_at=2
"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_discarded_is_told() {
    let (log, _guard) = Log::begin();
    let script = Script::default();
    script.push_message(Message::new("hunter3"));
    let worker = Worker::new(receiver(&script, DeadLetter::Discard)).stop_on(sleep(MINUTE));
    worker.run(async |delivery, _| handle(&delivery)).await.unwrap();
    assert_eq!(
        log.text(),
        " INFO a receiver opens receiver=billing provider=script source=test ordering=None
 WARN an attempt failed receiver=billing position=0 attempt=1 attempts=3 reason=\"no such customer\" next=dead letter
 WARN a message was discarded, as dead_letter = \"discard\" says receiver=billing position=0 attempts=1 \
reason=\"no such customer\"
"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_when_it_begins_and_when_it_ends() {
    let (log, _guard) = Log::begin();
    let script = Script::default();
    for _ in 0..3 {
        script.fail(ErrorKind::Unavailable);
    }
    script.push(&["a1"]);
    let receiver = receiver(&script, DeadLetter::Block);
    receiver.recv().await.unwrap().unwrap().ack();
    let store = Store::default();
    store.fail_with(Some(ErrorKind::Throttled));
    let sender = Sender::new(Arc::new(store.clone()), SenderSettings::default()).unwrap();
    let pending = sender.enqueue(Message::new("hunter2")).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    store.fail_with(None);
    timeout(MINUTE, pending).await.unwrap().into_result().unwrap();
    assert_eq!(
        log.text(),
        " INFO a receiver opens receiver=billing provider=script source=test ordering=None
 WARN cannot receive, and tries again receiver=billing error=as the script says
 INFO receives again receiver=billing failures=3
 INFO a sender opens sender=sender destinations=[]
 WARN cannot send, and tries again sender=sender error=as the test says
 INFO sends again sender=sender
"
    );
}

#[tokio::test(start_paused = true)]
async fn a_calm_hour_is_silent() {
    let (log, _guard) = Log::begin();
    let script = Script::default();
    script.push(&["a1", "a2", "b1"]);
    let receiver = receiver(&script, DeadLetter::Block);
    let opened = log.text();
    let worker = Worker::new(receiver).stop_on(sleep(60 * MINUTE));
    worker.run(async |_, _| Ok(())).await.unwrap();
    assert_eq!(log.text(), opened);
}
