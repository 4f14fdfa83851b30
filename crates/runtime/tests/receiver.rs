//! What a receiver does with what a consumer brings.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{sync::Arc, time::Duration};

use strait_core::{Budget, Consumer as _, ErrorKind, Measure, Message, Observer};
use strait_runtime::{Backoff, Batch, DeadLetter, Delivery, Failure, Meter, Receiver, ReceiverSettings, Retry, State};
use support::{Script, text};
use tokio::time::{Instant, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);

fn settings() -> ReceiverSettings {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
    ReceiverSettings::new(DeadLetter::Block).in_order().retry(Retry::new(3, backoff))
}

fn open(script: &Script, settings: ReceiverSettings) -> Receiver {
    Receiver::new(Arc::new(script.clone()), settings).unwrap()
}

async fn next(receiver: &Receiver) -> Delivery {
    timeout(MINUTE, receiver.recv()).await.expect("nothing came").unwrap().expect("closed")
}

async fn nothing_comes(receiver: &Receiver, within: Duration) {
    assert!(timeout(within, receiver.recv()).await.is_err(), "something came");
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_its_settlement_and_others_do_not() {
    let script = Script::default();
    script.push(&["a1", "a2", "b1"]);
    script.settling_takes(Duration::from_secs(5));
    let receiver = open(&script, settings());
    let a1 = next(&receiver).await;
    let b1 = next(&receiver).await;
    assert_eq!((text(a1.message()), text(b1.message())), ("a1".into(), "b1".into()));
    a1.ack();
    nothing_comes(&receiver, Duration::from_secs(4)).await;
    assert_eq!(text(next(&receiver).await.message()), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_its_pause_and_keeps_its_key_in_order() {
    let script = Script::default();
    script.push(&["a1", "a2"]);
    let receiver = open(&script, settings());
    next(&receiver).await.retry_after("not yet", Duration::from_secs(30));
    nothing_comes(&receiver, Duration::from_secs(29)).await;
    let again = next(&receiver).await;
    assert_eq!((text(again.message()), again.attempt()), ("a1".into(), 2));
    again.ack();
    assert_eq!(text(next(&receiver).await.message()), "a2");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_delivery_is_retried() {
    let script = Script::default();
    script.push(&["a1"]);
    let receiver = open(&script, settings());
    drop(next(&receiver).await);
    let again = next(&receiver).await;
    assert_eq!(again.attempt(), 2);
    again.ack_confirmed().await.unwrap();
    assert_eq!(script.settled(), [0]);
}

#[tokio::test(start_paused = true)]
async fn at_most_in_flight_are_out_and_at_most_the_buffer_is_held() {
    let script = Script::default();
    script.push(&["a1", "b1", "c1", "d1", "e1", "f1"]);
    let mut settings = settings().in_flight(2);
    (settings.buffer, settings.buffer_bytes) = (4, 100);
    let receiver = open(&script, settings);
    let (a, _b) = (next(&receiver).await, next(&receiver).await);
    nothing_comes(&receiver, Duration::from_secs(1)).await;
    assert_eq!(script.budgets(), [Budget::new(4, 100)], "the buffer is full, so nothing is asked for");
    assert_eq!(receiver.health().counts.buffered_messages, 4);
    a.ack();
    assert_eq!(text(next(&receiver).await.message()), "c1");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(script.budgets().len(), 2, "there is room again");
}

#[tokio::test(start_paused = true)]
async fn no_more_are_fetched_than_are_to_wait_and_what_is_paused_does_not_count() {
    let script = Script::default();
    (0..6).for_each(|number| script.push(&[&format!("{}1", char::from(b'a' + number))]));
    let mut settings = settings().in_flight(1);
    settings.prefetch = Some(2);
    let receiver = open(&script, settings);
    let first = next(&receiver).await;
    sleep(MINUTE).await;
    assert_eq!(receiver.health().counts.buffered_messages, 3, "one that runs and two that wait");
    first.retry_after("not yet", Duration::from_hours(1));
    for _ in 0..5 {
        next(&receiver).await.retry_after("not yet", Duration::from_hours(1));
    }
    let health = receiver.health();
    assert_eq!((health.state, health.paused, health.longest_pause), (State::Up, 6, Duration::from_hours(1)));
}

#[tokio::test(start_paused = true)]
async fn the_next_is_fetched_while_the_one_before_is_worked_on() {
    let script = Script::default();
    (0..6).for_each(|number| script.push(&[&format!("{}1", char::from(b'a' + number))]));
    let mut settings = settings().in_flight(1);
    settings.prefetch = Some(1);
    let receiver = open(&script, settings);
    for _ in 0..5 {
        let delivery = next(&receiver).await;
        sleep(Duration::from_millis(10)).await;
        assert_eq!(receiver.health().counts.buffered_messages, 2, "one that runs and one that waits");
        delivery.ack();
    }
}

#[tokio::test(start_paused = true)]
async fn what_keeps_a_receiver_from_working_shows_in_its_health() {
    let script = Script::log();
    script.push(&["a1", "b1"]);
    let mut settings = settings().in_flight(1);
    settings.buffer = 2;
    let receiver = open(&script, settings);
    next(&receiver).await.reject("not an order");
    let health = receiver.health();
    assert_eq!((health.state, health.paused, health.counts.stalled), (State::Degraded, 1, 1));
    let [stalled] = &health.stalled[..] else { panic!("{:?}", health.stalled) };
    assert_eq!((stalled.partition.as_deref(), stalled.reason.as_str()), (Some("p0"), "not an order"));
    assert_eq!(stalled.position, 0.into());

    let script = Script::default();
    script.push(&["a1", "b1", "c1"]);
    let mut settings = self::settings().in_flight(1);
    settings.buffer = 2;
    let receiver = open(&script, settings);
    next(&receiver).await.retry_after("not yet", Duration::from_hours(1));
    assert_eq!(receiver.health().state, State::Up);
    next(&receiver).await.retry_after("not yet", Duration::from_hours(1));
    let health = receiver.health();
    assert_eq!((health.state, health.paused), (State::Degraded, 2), "nothing comes in for an hour");
    assert!(health.stalled.is_empty());
}

const HOUR: Duration = Duration::from_secs(60 * 60);

#[tokio::test(start_paused = true)]
async fn long_pauses_go_back_to_a_provider_that_keeps_them() {
    let script = Script::default();
    script.postpones(HOUR);
    script.push(&["a1", "a2", "b1", "c1", "d1"]);
    let mut settings = settings().in_flight(1);
    settings.buffer = 3;
    let receiver = open(&script, settings);
    for expected in ["a1", "b1", "c1"] {
        let delivery = next(&receiver).await;
        assert_eq!(text(delivery.message()), expected);
        delivery.retry_after("not yet", HOUR);
    }
    let last = next(&receiver).await;
    assert_eq!(text(last.message()), "d1", "there is room for it");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(script.postponed(), [(0, HOUR), (2, HOUR), (3, HOUR)]);
    assert_eq!(script.given_back(), 1, "a2, to come after a1");
    let health = receiver.health();
    assert_eq!((health.state, health.paused, health.postponed), (State::Up, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_on_after_a_pause_that_the_provider_kept() {
    let script = Script::default();
    script.postpones(HOUR);
    let receiver = open(&script, settings());
    for entry in 0..3 {
        script.is_again(entry, 0);
        script.push(&["a1"]);
        let delivery = next(&receiver).await;
        assert_eq!(u64::from(delivery.attempt()), entry + 1);
        delivery.retry_after("not yet", HOUR);
        sleep(HOUR).await;
    }
    let health = receiver.health();
    assert_eq!(
        (script.postponed().len(), health.postponed, health.counts.stalled),
        (2, 0, 1),
        "the third was the last"
    );

    let script = Script::default();
    script.postpones(HOUR);
    script.is_again(1, 0);
    script.push(&["a1"]);
    let receiver = open(&script, settings());
    next(&receiver).await.retry_after("not yet", HOUR);
    sleep(MINUTE).await;
    script.push(&["a1"]);
    nothing_comes(&receiver, 58 * MINUTE).await;
    sleep(MINUTE).await;
    assert_eq!(next(&receiver).await.attempt(), 2, "it came early, and waited here");
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_provider_does_not_take_stays_here() {
    let script = Script::default();
    script.postpones(HOUR);
    script.push(&["a1", "b1", "c1"]);
    let receiver = open(&script, settings());
    script.postpone_with(&[ErrorKind::Unavailable]);
    let start = Instant::now();
    next(&receiver).await.retry_after("refused", HOUR);
    next(&receiver).await.retry_after("too long", 2 * HOUR);
    next(&receiver).await.retry_after("not worth it", MINUTE);
    sleep(Duration::from_millis(1)).await;
    let health = receiver.health();
    assert_eq!((health.paused, health.postponed, script.postponed().len()), (3, 0, 0));
    for (expected, pause) in [("c1", MINUTE), ("a1", HOUR), ("b1", 2 * HOUR)] {
        sleep((start + pause).saturating_duration_since(Instant::now())).await;
        let again = next(&receiver).await;
        assert_eq!((text(again.message()).as_str(), again.attempt()), (expected, 2));
        again.ack();
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_in_bytes() {
    let script = Script::default();
    for _ in 0..5 {
        script.push_message(Message::new(vec![0; 600]));
    }
    let mut settings = settings();
    settings.buffer_bytes = 1000;
    let receiver = open(&script, settings);
    let one = next(&receiver).await;
    let _two = next(&receiver).await;
    nothing_comes(&receiver, MINUTE).await;
    one.ack();
    next(&receiver).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_neither_handed_out_nor_settled() {
    let script = Script::default();
    script.push(&["a1", "a2", "b1"]);
    let receiver = open(&script, settings());
    let a1 = next(&receiver).await;
    let b1 = next(&receiver).await;
    (0..3).for_each(|entry| script.lose(entry));
    timeout(MINUTE, a1.lost()).await.unwrap();
    assert!(a1.is_lost());
    assert_eq!(a1.ack_confirmed().await.unwrap_err().kind(), ErrorKind::Lost);
    b1.retry("failed");
    nothing_comes(&receiver, MINUTE).await;
    assert!(script.settled().is_empty());
    assert_eq!(receiver.health().counts.buffered_messages, 0);
    assert_eq!(receiver.health().counts.claims_lost, 3);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_one_key_has_no_more_than_was_asked_for() {
    let script = Script::default();
    script.push(&["a1", "a2", "a3", "a4"]);
    let receiver = open(&script, settings());
    let first = timeout(MINUTE, receiver.recv_batch(2)).await.unwrap().unwrap().unwrap();
    assert_eq!(first.messages().map(text).collect::<Vec<_>>(), ["a1", "a2"]);
    first.ack();
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_behind_a_lost_message_stays() {
    let script = Script::log();
    script.push(&["a1", "a2", "b1"]);
    let receiver = open(&script, settings());
    let old = next(&receiver).await;
    script.regain();
    script.push(&["a1", "a2", "b1"]);
    let other = next(&receiver).await;
    assert_eq!(text(other.message()), "b1");
    assert!(!other.is_lost());
    nothing_comes(&receiver, MINUTE).await; // its key is still being worked on
    old.retry("it is lost by now");
    for expected in ["a1", "a2"] {
        let delivery = next(&receiver).await;
        assert_eq!(text(delivery.message()), expected);
        assert!(!delivery.is_lost());
        delivery.ack_confirmed().await.unwrap();
    }
    assert_eq!(script.claims(), 1, "b1, which runs");
    other.ack_confirmed().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_ends_by_itself_is_heard() {
    let script = Script::default();
    script.push_until("a1", Duration::from_secs(10));
    let receiver = open(&script, settings());
    let delivery = next(&receiver).await;
    let start = Instant::now();
    delivery.lost().await;
    assert!((9..=10).contains(&start.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn what_is_above_the_cut_is_given_back_while_handlers_are_busy() {
    let script = Script::log();
    script.push(&["a1", "b1", "c1", "d1"]);
    let receiver = open(&script, settings());
    let a1 = next(&receiver).await;
    next(&receiver).await.ack();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(script.claims(), 3);
    script.drain();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(script.claims(), 1, "only a1 is left, at the cut");
    a1.retry("failed");
    let again = next(&receiver).await;
    assert_eq!((text(again.message()), again.attempt()), ("a1".into(), 2), "below the cut it runs to settlement");
    again.ack();
    sleep(Duration::from_secs(1)).await;
    assert_eq!((script.settled(), script.claims()), (vec![1, 0], 0));
}

#[tokio::test(start_paused = true)]
async fn a_settlement_that_fails_is_tried_again_without_holding_up_others() {
    let script = Script::default();
    script.push(&["a1", "b1"]);
    script.settle_with(&[ErrorKind::Unavailable, ErrorKind::Denied]);
    let receiver = open(&script, settings());
    let (a1, b1) = (next(&receiver).await, next(&receiver).await);
    let confirmed = tokio::spawn(a1.ack_confirmed());
    sleep(Duration::from_millis(1)).await;
    b1.ack();
    confirmed.await.unwrap().unwrap();
    sleep(MINUTE).await;
    assert_eq!(script.settled().len(), 2);
    assert_eq!(receiver.health().counts.failures["settle"].0, 2);
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_settled_holds_up_no_close() {
    let script = Script::default();
    script.push(&["a1", "b1"]);
    script.settle_with(&[ErrorKind::Denied; 100]);
    let receiver = open(&script, settings());
    let (a1, b1) = (next(&receiver).await, next(&receiver).await);
    a1.ack();
    sleep(Duration::from_secs(1)).await;
    b1.ack();
    let start = Instant::now();
    receiver.close().await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((script.settled().len(), script.given_back()), (0, 2), "they come again");
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_in_hand_and_gives_back_the_rest() {
    let script = Script::default();
    script.push(&["a1", "b1", "c1"]);
    script.settling_takes(Duration::from_secs(1));
    let receiver = open(&script, settings());
    let (a1, b1) = (next(&receiver).await, next(&receiver).await);
    a1.ack();
    let closing = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.close().await }
    });
    sleep(Duration::from_secs(3)).await;
    assert!(!closing.is_finished(), "did not wait for the delivery in hand");
    assert_eq!(script.given_back(), 1);
    b1.ack();
    closing.await.unwrap().unwrap();
    assert_eq!((script.settled(), script.is_closed()), (vec![0, 1], true));
    assert!(receiver.recv().await.unwrap().is_none());
    assert_eq!(receiver.health().state, State::Closed);
    receiver.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_when_the_time_to_drain_is_over() {
    let script = Script::default();
    script.push(&["a1"]);
    let receiver = open(&script, settings());
    let a1 = next(&receiver).await;
    let start = Instant::now();
    receiver.close().await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 27, "three seconds are kept to close the consumer in");
    assert_eq!(a1.ack_confirmed().await.unwrap_err().kind(), ErrorKind::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_within_the_time_to_drain_whatever_hangs() {
    for (seconds, settles, closes) in [(5, 3600, 3600), (5, 0, 3600), (30, 3600, 2), (30, 0, 28)] {
        let script = Script::default();
        script.push(&["a1"]);
        script.settling_takes(Duration::from_secs(settles));
        script.closing_takes(Duration::from_secs(closes));
        let mut settings = settings();
        settings.drain = Duration::from_secs(seconds);
        let receiver = open(&script, settings);
        next(&receiver).await.ack();
        sleep(Duration::from_millis(1)).await;
        let start = Instant::now();
        let closed = receiver.close().await;
        assert!(start.elapsed() <= Duration::from_secs(seconds), "{:?} of {seconds} s", start.elapsed());
        assert_eq!(closed.is_err(), closes > seconds, "{closed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_does_not_wait_out_the_back_off_of_receiving() {
    let script = Script::default();
    (0..20).for_each(|_| script.fail(ErrorKind::Unavailable));
    let receiver = open(&script, settings());
    nothing_comes(&receiver, 2 * MINUTE).await;
    let (calls, start) = (script.budgets().len(), Instant::now());
    receiver.close().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(script.budgets().len(), calls, "what is closed is not asked for anything");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_retried_to_the_end_while_closing_and_a_queue_is_not() {
    for (script, expected) in [(Script::log(), 1), (Script::default(), 0)] {
        script.push(&["a1"]);
        let receiver = open(&script, settings());
        next(&receiver).await.retry("failed");
        let closing = tokio::spawn({
            let receiver = receiver.clone();
            async move { receiver.close().await }
        });
        if let Some(again) = timeout(MINUTE, receiver.recv()).await.unwrap().unwrap() {
            again.ack();
        }
        closing.await.unwrap().unwrap();
        assert_eq!(script.settled().len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_while_a_log_closes_is_handed_out_again() {
    for (script, comes_again) in [(Script::log(), true), (Script::default(), false)] {
        script.push(&["a1"]);
        let receiver = open(&script, settings());
        let a1 = next(&receiver).await;
        receiver.stop();
        let again = tokio::spawn({
            let receiver = receiver.clone();
            async move { receiver.recv().await.unwrap() }
        });
        sleep(Duration::from_millis(10)).await;
        assert_eq!(again.is_finished(), !comes_again, "a log hands out again what fails, a queue gives it back");
        a1.retry("failed");
        let again = timeout(MINUTE, again).await.expect("nobody takes it").unwrap();
        assert_eq!(again.as_ref().map(Delivery::attempt), comes_again.then_some(2));
        if let Some(again) = again {
            again.ack();
        }
        assert!(timeout(MINUTE, receiver.recv()).await.expect("it ends").unwrap().is_none());
        receiver.close().await.unwrap();
        assert_eq!(script.settled().len(), usize::from(comes_again));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_opened_is_reported_and_what_fails_later_is_not() {
    let script = Script::default();
    script.fail(ErrorKind::NotFound);
    let receiver = open(&script, settings());
    assert_eq!(receiver.recv().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(receiver.recv().await.unwrap().is_none());

    let script = Script::default();
    script.push(&["a1"]);
    for kind in [ErrorKind::Denied, ErrorKind::Unavailable, ErrorKind::Throttled] {
        script.fail(kind);
    }
    let receiver = open(&script, settings());
    next(&receiver).await.ack();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(receiver.health().state, State::Degraded);
    sleep(MINUTE).await;
    script.push(&["a2"]);
    assert_eq!(text(next(&receiver).await.message()), "a2");
    assert_eq!(receiver.health().state, State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_a_provider_asks_for_never_shortens_the_back_off_and_is_a_minute_at_most() {
    let script = Script::default();
    for _ in 0..8 {
        script.fail_asking_for(Duration::ZERO);
        script.settle_asking_for(Duration::ZERO);
    }
    script.push(&["a1"]);
    let receiver = open(&script, settings());
    let start = Instant::now();
    let a1 = next(&receiver).await;
    assert!(start.elapsed() >= Duration::from_secs(15), "{:?}: eight failures, and no back-off", start.elapsed());
    let start = Instant::now();
    a1.ack_confirmed().await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(8), "{:?}: eight failures, and no back-off", start.elapsed());

    for (asked, waited) in [(45, 45), (3600, 60)] {
        script.fail_asking_for(Duration::from_secs(asked));
        script.push(&["b1"]);
        script.settle_asking_for(Duration::from_secs(asked));
        let start = Instant::now();
        let b1 = timeout(MINUTE * 2, receiver.recv()).await.expect("an hour's pause").unwrap().unwrap();
        assert_eq!(start.elapsed().as_secs(), waited);
        b1.ack_confirmed().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 2 * waited);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_reply_counts_as_opened_and_ends_an_outage() {
    let script = Script::default();
    script.push(&[]);
    for _ in 0..3 {
        script.fail(ErrorKind::Denied);
    }
    let receiver = open(&script, settings());
    nothing_comes(&receiver, MINUTE / 4).await; // and no error is told: somebody may mend it
    assert_eq!(receiver.health().state, State::Down);
    script.push(&[]);
    nothing_comes(&receiver, Duration::from_millis(1)).await;
    assert_eq!((receiver.health().state, receiver.health().receive_failures), (State::Up, 0));
    script.push(&["a1"]);
    assert_eq!(text(next(&receiver).await.message()), "a1");
    assert_eq!(receiver.health().counts.received, 1);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_closed_ends_its_receiver_without_an_error() {
    let script = Script::default();
    let receiver = open(&script, settings());
    nothing_comes(&receiver, MINUTE).await;
    script.close().await.unwrap();
    assert!(timeout(MINUTE, receiver.recv()).await.expect("it ends").unwrap().is_none());
    receiver.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_ends_as_one_and_a_failure_takes_those_of_its_key_behind_it_along() {
    let script = Script::default();
    script.push(&["a1", "a2", "a3", "b1"]);
    let receiver = open(&script, settings());
    let mut batch = receiver.recv_batch(10).await.unwrap().unwrap();
    assert_eq!(batch.messages().map(text).collect::<Vec<_>>(), ["a1", "a2", "a3", "b1"]);
    batch.fail(1, Failure::retry("failed"));
    batch.ack();
    sleep(Duration::from_millis(1)).await;
    assert_eq!(script.settled(), [0, 3]);
    let a2 = next(&receiver).await;
    assert_eq!((text(a2.message()), a2.attempt()), ("a2".into(), 2));
    nothing_comes(&receiver, Duration::from_secs(1)).await;
    a2.ack();
    let a3 = next(&receiver).await;
    assert_eq!((text(a3.message()), a3.attempt()), ("a3".into(), 1), "its first attempt did not count");
}

#[tokio::test(start_paused = true)]
async fn what_is_behind_a_message_that_was_lost_in_a_batch_is_given_back_with_it() {
    for fail_both in [false, true] {
        let script = Script::default();
        script.push_until("a1", Duration::from_secs(10));
        script.push(&["a2", "b1"]);
        let receiver = open(&script, settings());
        sleep(Duration::from_millis(1)).await;
        let mut batch = receiver.recv_batch(10).await.unwrap().unwrap();
        assert_eq!(batch.messages().map(text).collect::<Vec<_>>(), ["a1", "a2", "b1"]);
        sleep(Duration::from_secs(11)).await; // a1 is redelivered by now
        batch.fail(0, Failure::retry("too late"));
        if fail_both {
            batch.fail(1, Failure::retry("failed"));
        }
        batch.ack();
        nothing_comes(&receiver, MINUTE).await;
        assert_eq!(script.settled(), [2], "b1, and a2 comes again behind a1");
        assert_eq!(receiver.health().counts.buffered_messages, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_names_no_message_of_a_batch_is_one_of_all_that_are_not_named() {
    let script = Script::default();
    script.push(&["a1", "b1"]);
    let receiver = open(&script, settings());
    let mut batch = receiver.recv_batch(10).await.unwrap().unwrap();
    batch.fail(2, Failure::retry("counted from 1"));
    batch.ack();
    nothing_comes(&receiver, Duration::from_millis(100)).await;
    assert!(script.settled().is_empty(), "which of them failed is not known");
    let (one, two) = (next(&receiver).await, next(&receiver).await);
    assert_eq!((one.attempt(), two.attempt()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_batch_is_retried_whole() {
    let script = Script::default();
    script.push(&["a1", "a2", "b1"]);
    let receiver = open(&script, settings());
    drop(receiver.recv_batch(10).await.unwrap().unwrap());
    let mut seen = Vec::new();
    for _ in 0..3 {
        let delivery = next(&receiver).await;
        seen.push(text(delivery.message()));
        delivery.ack();
    }
    seen.sort();
    assert_eq!(seen, ["a1", "a2", "b1"]);
}

/// Fails all batches as `fail` does, until none comes. Returns how large they were and at which attempt, and what was
/// settled.
async fn fail_batches(attempts: u32, fail: impl Fn(Batch)) -> (Vec<(usize, u32)>, Vec<u64>) {
    let script = Script::default();
    script.push(&["a1", "a2", "b1"]);
    let mut settings = settings();
    (settings.retry.attempts, settings.dead_letter) = (attempts, DeadLetter::Discard);
    let receiver = open(&script, settings);
    let mut batches = Vec::new();
    while let Ok(batch) = timeout(MINUTE, receiver.recv_batch(10)).await {
        let batch = batch.unwrap().unwrap();
        batches.push((batch.len(), batch.iter().next().unwrap().attempt()));
        fail(batch);
    }
    (batches, script.settled())
}

#[tokio::test(start_paused = true)]
async fn what_failed_as_a_batch_is_tried_alone_before_it_is_given_up() {
    let (batches, _) = fail_batches(1, drop).await;
    assert_eq!(batches, [(3, 1), (1, 1), (1, 1), (1, 1)], "the last attempt is one of its own");
    let (batches, _) = fail_batches(2, drop).await;
    assert_eq!(batches, [(3, 1), (1, 2), (1, 2), (1, 2)]);
    let rejects = |mut batch: Batch| {
        batch.fail(batch.len(), Failure::reject("one of them"));
        batch.ack();
    };
    let (batches, settled) = fail_batches(3, rejects).await;
    assert_eq!(batches, [(3, 1), (1, 1), (1, 1), (1, 1)], "which of them is rejected is not known");
    assert_eq!(settled.len(), 3);
}

#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn observe(&self, _: Measure<'_>) {
        panic!("on purpose, in an observer");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_harms_nobody() {
    let script = Script::default();
    script.push(&["a1", "b1"]);
    let mut settings = settings();
    settings.meter = Meter::over(Arc::new(Panics));
    let receiver = open(&script, settings);
    next(&receiver).await.retry("failed");
    let b1 = next(&receiver).await;
    assert_eq!(text(next(&receiver).await.message()), "a1", "again, and then dropped");
    script.fail(ErrorKind::Unavailable);
    b1.ack_confirmed().await.unwrap();
    next(&receiver).await.ack();
    let counts = receiver.health().counts;
    assert_eq!((counts.received, counts.retried), (2, 2), "what is counted here is counted all the same");
    receiver.close().await.unwrap();
    assert_eq!(script.settled(), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_used_are_refused_by_name() {
    let refused = |change: fn(&mut ReceiverSettings)| {
        let mut settings = settings().named("billing");
        change(&mut settings);
        Receiver::new(Arc::new(Script::default()), settings).unwrap_err().to_string()
    };
    assert_eq!(refused(|settings| settings.in_flight = 0), "billing: in_flight: must be at least 1");
    assert_eq!(refused(|settings| settings.buffer = 1), "billing: buffer: must be at least in_flight");
    assert_eq!(refused(|settings| settings.prefetch = Some(0)), "billing: prefetch: must be at least 1");
    assert_eq!(refused(|settings| settings.buffer_bytes = 0), "billing: buffer_bytes: must be at least 1");
    assert_eq!(refused(|settings| settings.retry.attempts = 0), "billing: retry.attempts: must be at least 1");
    let longer = |settings: &mut ReceiverSettings| settings.retry.backoff.first = MINUTE;
    assert_eq!(refused(longer), "billing: retry.first: must not be longer than retry.longest");
}

#[test]
fn outside_a_runtime_it_is_refused_and_a_runtime_that_ends_ends_it() {
    let error = Receiver::new(Arc::new(Script::default()), settings()).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Config, "receiver: needs a Tokio runtime"));

    let script = Script::default();
    script.push(&["a1", "b1"]);
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (receiver, delivery) = first.block_on(async {
        let receiver = open(&script, settings());
        let delivery = next(&receiver).await;
        (receiver, delivery)
    });
    drop(first);
    delivery.ack(); // nobody is left to settle it, and nothing panics
    let second = runtime();
    assert!(second.block_on(receiver.recv()).unwrap().is_none());
    assert_eq!(second.block_on(receiver.close()).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_runtime_that_ends_before_the_first_turn_of_its_task_leaves_nobody_waiting() {
    let script = Script::default();
    script.push(&["a1"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let receiver = runtime.block_on(async { open(&script, settings()) });
    drop(runtime);
    let later = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    later.block_on(async {
        assert!(timeout(MINUTE, receiver.recv()).await.expect("hangs").unwrap().is_none());
        let error = timeout(MINUTE, receiver.close()).await.expect("hangs").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed);
    });
}

#[tokio::test(start_paused = true)]
async fn pauses_longer_than_clocks_can_count_harm_nobody() {
    let script = Script::default();
    script.push(&["a1", "b1", "c1"]);
    let mut endless = settings();
    endless.drain = Duration::MAX;
    endless.retry = Retry::new(1, Backoff::new(Duration::from_secs(1), Duration::MAX));
    let receiver = open(&script, endless);
    next(&receiver).await.reject("blocked for the longest pause");
    let b1 = next(&receiver).await;
    assert_eq!(text(b1.message()), "b1");
    let closing = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.close().await }
    });
    tokio::task::yield_now().await;
    b1.ack();
    closing.await.unwrap().unwrap();

    let script = Script::default();
    script.push(&["a1", "b1"]);
    let receiver = open(&script, settings());
    next(&receiver).await.retry_after("never", Duration::MAX);
    next(&receiver).await.ack();
    nothing_comes(&receiver, MINUTE).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_is_told_each_time_also_where_one_that_was_told_is_cancelled() {
    let script = Script::default();
    let receiver = open(&script, settings());
    for _ in 0..4 {
        let mut first = Box::pin(receiver.recv());
        assert!(timeout(Duration::from_millis(1), &mut first).await.is_err(), "nothing is there");
        let other = receiver.clone();
        let other = tokio::spawn(async move { next(&other).await.ack() });
        sleep(Duration::from_millis(1)).await;
        script.push(&["a1"]);
        sleep(Duration::from_millis(1)).await;
        drop(first); // it was told, and has not come
        timeout(Duration::from_secs(1), other).await.expect("the other one is told").unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_receives_are_cancelled() {
    const COUNT: usize = 5_000;
    let script = Script::default();
    let receiver = open(&script, settings().in_flight(16));
    let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let (receiver, count) = (receiver.clone(), Arc::clone(&count));
            tokio::spawn(async move {
                while count.load(relaxed) < COUNT {
                    if let Ok(delivery) = timeout(Duration::from_micros(50), receiver.recv()).await {
                        delivery.unwrap().unwrap().ack();
                        count.fetch_add(1, relaxed);
                    }
                }
            })
        })
        .collect();
    for n in 0..COUNT {
        script.push_message(Message::new(n.to_string()));
        if n % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        timeout(MINUTE, task).await.expect("stuck").unwrap();
    }
    receiver.close().await.unwrap();
    assert_eq!(script.settled().len(), COUNT);
}
