//! Receiving, and what a verdict does.

use std::sync::Arc;

use strait_core::{ErrorKind, Message};
use strait_runtime::{DeadLetter, Failure, Receiver, ReceiverSettings, State, Worker};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Fault, Faults, FaultyConsumer, Needs, Rig, Site,
    stage::{
        PATIENCE, Stage, expect, key, message, messages, next, nothing, nothing_new, receive, refused, secs, take,
        take_each, text, until,
    },
};

/// In calm conditions everything that was sent comes, once: or more often where the service itself may repeat it.
pub async fn c28_everything_comes_once(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let open = stage.open().await;
    let all: Vec<_> = (0..600).map(|number| message(&format!("k{}-", number % 50), number)).collect();
    let mut sent: Vec<_> = all.iter().map(text).collect();
    sent.sort();
    stage.send(all).await;
    assert_eq!(take_each(&stage.can, &open, 600).await, sent);
    nothing_new(&stage.can, &open, stage.can.lease * 2, &sent).await;
    let counts = open.member.meter.counts();
    assert!(counts.received == 600 || (stage.can.repeats && counts.received > 600), "{counts:?}");
    assert_eq!(counts.settled, counts.received);
    stage.settled().await;
}

/// What is acknowledged does not come again: not after its lease, and not to another process.
pub async fn c29_what_is_acknowledged_is_gone(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send((0..20).map(|number| message(["a", "b", "c"][number % 3], number))).await;
    let open = stage.open().await;
    take(&open, 19).await;
    let last = next(&open).await;
    last.ack_confirmed().await.unwrap();
    nothing(&open, stage.can.lease * 2).await;
    open.close().await.unwrap();
    let again = stage.open().await;
    nothing(&again, stage.can.lease * 2).await;
    stage.settled().await;
}

/// A failed attempt is followed by another, which counts itself.
pub async fn c30_a_failed_attempt_is_followed_by_another(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send([message("a", 1)]).await;
    let open = stage.open().await;
    for attempt in 1..=3 {
        let delivery = expect(&open, "a1").await;
        assert_eq!(delivery.attempt(), attempt);
        delivery.retry("not yet");
    }
    let delivery = expect(&open, "a1").await;
    assert_eq!((delivery.attempt(), open.member.meter.counts().retried), (4, 3));
    delivery.ack();
    nothing(&open, stage.can.watch(secs(60))).await;
    stage.settled().await;
}

/// A message that is dropped without a verdict is not processed: by hand, in a batch, in a handler that panics or fails.
pub async fn c32_what_is_dropped_comes_again(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send([message("a", 1)]).await;
    let open = stage.open().await;
    drop(expect(&open, "a1").await);
    let delivery = expect(&open, "a1").await;
    assert_eq!(delivery.attempt(), 2);
    delivery.ack();
    stage.settled().await;
    stage.send([message("a", 2)]).await;
    let batch = timeout(PATIENCE, open.recv_batch(5)).await.unwrap().unwrap().unwrap();
    drop(batch);
    let delivery = expect(&open, "a2").await;
    assert_eq!(delivery.attempt(), 2);
    delivery.ack();
    stage.settled().await;

    stage.send(messages("b", 0..4)).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(open.receiver.clone()).timeout(secs(5)).stop_on(stop.clone().cancelled_owned());
    let working = tokio::spawn(worker.run(move |delivery, context| {
        let tell = tell.clone();
        async move {
            let text = text(delivery.message());
            if context.attempt() > 1 {
                tell.send(text).unwrap();
                return Ok(());
            }
            drop(delivery);
            match text.as_str() {
                "b0" => panic!("as planned"),
                "b1" => Err(Failure::retry("as planned")),
                "b2" => std::future::pending().await,
                _ => {
                    tell.send(text).unwrap();
                    Ok(()) // the handler's word counts
                }
            }
        }
    }));
    let mut done = Vec::new();
    for _ in 0..4 {
        done.push(timeout(PATIENCE, told.recv()).await.expect("it is tried again").unwrap());
    }
    done.sort();
    assert_eq!(done, ["b0", "b1", "b2", "b3"]);
    stage.settled().await;
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// A settlement that is refused for want of a permission is told to who waits for it, and to health. Once it is allowed,
/// the message is settled without coming again.
pub async fn c34_a_settlement_that_is_denied_is_told(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    faults.always(Site::Settle, Fault::Fail(ErrorKind::Denied));
    let member = stage.member().await;
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.meter = member.meter.clone();
    let receiver = Receiver::new(FaultyConsumer::new(Arc::clone(&member.consumer), &faults), settings).unwrap();
    stage.send([message("a", 1)]).await;
    let delivery = expect(&receiver, "a1").await;
    let told = timeout(stage.can.lease / 2, delivery.ack_confirmed()).await.expect("it is told");
    assert_eq!(refused(told), ErrorKind::Denied);
    assert_eq!(receiver.health().state, State::Degraded);
    nothing(&receiver, stage.can.lease * 2).await;
    faults.heal();
    stage.settled().await;
    until("it is well again", || receiver.health().state == State::Up).await;
}

/// Settling twice is harmless: a second verdict does not compile, and by the contract it has no effect on anything else.
pub async fn c33_settling_twice_is_harmless(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    stage.send(["a", "b", "c"].map(|key| message(key, 1))).await;
    let member = stage.member().await;
    let mut received = receive(&member, 3).await;
    let first = received[0].claim.token();
    let name = text(&received[0].message);
    for tokens in [vec![first], vec![first], vec![first, first]] {
        let outcomes = member.consumer.settle(&tokens).await;
        assert_eq!(outcomes.len(), tokens.len());
        for outcome in outcomes {
            assert!(outcome.as_ref().is_ok_and(|()| true) || outcome.unwrap_err().kind() == ErrorKind::Lost);
        }
    }
    drop(received.remove(0));
    sleep(secs(3)).await;
    // Of the two that are left one is given back: it comes again, and nothing was settled but what was named.
    drop(received.remove(0));
    let again = receive(&member, 1).await;
    assert_ne!(text(&again[0].message), name);
    drop((again, received));
    member.consumer.close().await.unwrap();
    stage.left(2).await;

    // A verdict of its own wins over the handler's.
    let open = stage.open().await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(open.receiver.clone()).stop_on(stop.clone().cancelled_owned());
    let working = tokio::spawn(worker.run(move |delivery, _| {
        tell.send(text(delivery.message())).unwrap();
        delivery.ack();
        async { Err(Failure::retry("too late")) }
    }));
    for _ in 0..2 {
        timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
    }
    stage.settled().await;
    assert!(timeout(stage.can.watch(secs(30)), told.recv()).await.is_err(), "neither comes again");
    stop.cancel();
    working.await.unwrap().unwrap();
}

/// A settlement that fails is counted and tried again, and the subscription goes on.
pub async fn c34_a_settlement_that_fails_is_seen_and_tried_again(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    // Beneath the engine, and above it.
    let open = stage.open_as(crate::Join::with(&faults), |_| {}).await;
    stage.send([message("a", 1)]).await;
    faults.script(Site::Delete, vec![Some(Fault::Fail(ErrorKind::Unavailable)); 3]);
    faults.script(Site::Commit, vec![Some(Fault::Fail(ErrorKind::Unavailable)); 3]);
    expect(&open, "a1").await.ack_confirmed().await.unwrap();
    stage.settled().await;
    let failures = open.member.meter.counts().failures;
    let call = if stage.can.is_log() { "commit" } else { "settle" };
    assert_eq!(failures.get(call), Some(&(3, ErrorKind::Unavailable)), "{failures:?}");
    stage.send([message("a", 2)]).await;
    expect(&open, "a2").await.ack();
    stage.settled().await;
    open.close().await.unwrap();

    let faults = Faults::scripted();
    let member = stage.member().await;
    let mut settings = strait_runtime::ReceiverSettings::new(strait_runtime::DeadLetter::Block);
    settings.meter = member.meter.clone();
    let consumer = FaultyConsumer::new(Arc::clone(&member.consumer), &faults);
    let receiver = Receiver::new(consumer, settings).unwrap();
    faults.script(Site::Settle, vec![Some(Fault::Fail(ErrorKind::Unavailable)); 2]);
    stage.send([Message::new("1").with_key(key("a"))]).await;
    expect(&receiver, "1").await.ack_confirmed().await.unwrap();
    assert_eq!(member.meter.counts().failures.get("settle"), Some(&(2, ErrorKind::Unavailable)));
    nothing(&receiver, stage.can.lease * 2).await;
    stage.settled().await;
}
