//! What becomes of messages that failed for good.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{sync::Arc, time::Duration};

use strait_core::{ErrorKind, reserved};
use strait_runtime::{
    Backoff, DeadLetter, Delivery, Oversize, Receiver, ReceiverSettings, Retry, Sender, SenderSettings, State,
};
use support::{Script, Store, text};
use tokio::time::{Instant, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

fn settings(dead_letter: DeadLetter) -> ReceiverSettings {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    ReceiverSettings::new(dead_letter).in_order().retry(Retry::new(3, backoff))
}

fn channel(store: &Store) -> DeadLetter {
    DeadLetter::Channel(Sender::new(Arc::new(store.clone()), SenderSettings::default()).unwrap())
}

fn open(script: &Script, dead_letter: DeadLetter) -> Receiver {
    Receiver::new(Arc::new(script.clone()), settings(dead_letter)).unwrap()
}

async fn next(receiver: &Receiver) -> Delivery {
    timeout(MINUTE, receiver.recv()).await.expect("nothing came").unwrap().expect("closed")
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_goes_to_the_dead_letters_before_it_is_settled() {
    let (script, store) = (Script::default(), Store::default());
    script.push(&["a1", "a2"]);
    store.fail_with(Some(ErrorKind::Unavailable));
    let receiver = open(&script, channel(&store));
    for attempt in 1..=3 {
        let delivery = next(&receiver).await;
        assert_eq!((text(delivery.message()), delivery.attempt()), ("a1".into(), attempt));
        delivery.retry("card declined");
    }
    sleep(10 * MINUTE).await;
    assert!(script.settled().is_empty(), "settled although no dead letter is stored");
    store.fail_with(None);
    let a2 = next(&receiver).await;
    assert_eq!(text(a2.message()), "a2");
    assert_eq!(script.settled(), [0]);
    let letter = &store.stored()[0];
    assert_eq!(letter.headers.get_str(reserved::REASON), Some("card declined"));
    assert_eq!(letter.headers.get_str(reserved::ATTEMPTS), Some("3"));
    assert_eq!(letter.headers.get_str(reserved::SOURCE), Some("script:test"));
    assert_eq!(letter.headers.get_str(reserved::RECEIVER), Some("receiver"));
    let time = humantime::parse_rfc3339(letter.headers.get_str(reserved::TIME).unwrap()).unwrap();
    assert!(time.elapsed().unwrap().as_secs() < 600, "{time:?}");
    assert_eq!(receiver.health().counts.dead_lettered, 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_goes_there_at_once() {
    let (script, store) = (Script::default(), Store::default());
    script.push(&["a1"]);
    let receiver = open(&script, channel(&store));
    next(&receiver).await.reject("not an order");
    sleep(Duration::from_secs(1)).await;
    assert_eq!((store.stored().len(), script.settled()), (1, vec![0]));
    assert_eq!(store.stored()[0].headers.get_str(reserved::ATTEMPTS), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_refused_stalls_visibly_and_holds_no_close() {
    let (script, store) = (Script::default(), Store::default());
    script.push(&["a1", "b1"]);
    store.fail_with(Some(ErrorKind::Invalid));
    let receiver = open(&script, channel(&store));
    next(&receiver).await.reject("not an order");
    next(&receiver).await.ack();
    sleep(MINUTE).await;
    let health = receiver.health();
    assert_eq!((health.state, health.counts.stalled), (State::Degraded, 1));
    assert_eq!(script.settled(), [1], "b goes on, and a is not settled");
    let start = Instant::now();
    receiver.close().await.unwrap();
    assert_eq!((start.elapsed().as_secs(), script.settled()), (0, vec![1]));
}

#[tokio::test(start_paused = true)]
async fn discarding_and_blocking_do_what_they_say() {
    let script = Script::default();
    script.push(&["a1"]);
    let receiver = open(&script, DeadLetter::Discard);
    next(&receiver).await.reject("not an order");
    sleep(Duration::from_secs(1)).await;
    assert_eq!((script.settled(), receiver.health().counts.dead_lettered), (vec![0], 1));

    let script = Script::default();
    script.push(&["a1", "a2"]);
    let receiver = open(&script, DeadLetter::Block);
    for attempt in 1..=10 {
        let delivery = next(&receiver).await;
        assert_eq!((text(delivery.message()), delivery.attempt()), ("a1".into(), attempt));
        delivery.retry("failed");
    }
    assert_eq!(receiver.health().counts.stalled, 1);
    next(&receiver).await.ack();
    assert_eq!(text(next(&receiver).await.message()), "a2");
    assert_eq!(receiver.health().counts.stalled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_too_small_is_refused_unless_truncation_is_allowed() {
    /// Holds less than the source's largest message; its requests hold many of them.
    #[derive(Debug)]
    struct Small(Store);
    #[async_trait::async_trait]
    impl strait_core::Producer for Small {
        fn limits(&self) -> strait_core::Limits {
            strait_core::Limits::new(10, 10 << 20).with_message_bytes((1 << 20) - 1)
        }
        fn destinations(&self) -> Vec<String> {
            Vec::new()
        }

        fn plan(&self, message: &strait_core::Message) -> strait_core::Result<strait_core::Plan> {
            self.0.plan(message)
        }
        async fn send(&self, batch: &[strait_core::Message]) -> Vec<strait_core::Result<strait_core::Receipt>> {
            self.0.send(batch).await
        }
        async fn close(&self) -> strait_core::Result<()> {
            Ok(())
        }
    }
    let small =
        || DeadLetter::Channel(Sender::new(Arc::new(Small(Store::default())), SenderSettings::default()).unwrap());
    let refused = Receiver::new(Arc::new(Script::default()), settings(small())).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "receiver: dead_letter: its channel holds messages of 1048575 bytes, but \"test\" may bring 1048576; choose \
         another channel, or oversize = \"truncate\""
    );
    let mut settings = settings(small());
    settings.oversize = Oversize::Truncate;
    assert!(Receiver::new(Arc::new(Script::default()), settings).is_ok());
}

#[tokio::test(start_paused = true)]
async fn processes_that_ended_count_as_attempts() {
    let (script, store) = (Script::default(), Store::default());
    script.crashed(0, 2);
    script.crashed(1, 3);
    script.push(&["a1", "a2", "a3"]);
    let receiver = open(&script, channel(&store));
    let a1 = next(&receiver).await;
    assert_eq!((text(a1.message()), a1.attempt()), ("a1".into(), 3));
    a1.ack();
    let a3 = next(&receiver).await;
    assert_eq!((text(a3.message()), a3.attempt()), ("a3".into(), 1), "a2 is not worked on again");
    a3.ack_confirmed().await.unwrap();
    assert_eq!(script.settled(), [0, 1, 2]);
    let letter = &store.stored()[0];
    assert_eq!(letter.headers.get_str(reserved::REASON), Some("3 processes ended while they worked on it"));
    assert_eq!(letter.headers.get_str(reserved::ATTEMPTS), Some("3"));
}

#[tokio::test(start_paused = true)]
async fn what_processes_ended_of_blocks_its_key_unopened() {
    let script = Script::default();
    script.crashed(0, 3);
    script.push(&["a1", "a2", "b1"]);
    let receiver = open(&script, DeadLetter::Block);
    let b1 = next(&receiver).await;
    assert_eq!(text(b1.message()), "b1");
    b1.ack();
    assert!(timeout(MINUTE, receiver.recv()).await.is_err(), "it is worked on");
    let health = receiver.health();
    assert_eq!((health.state, health.counts.stalled), (State::Degraded, 1));
}
