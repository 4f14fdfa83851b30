//! Opening, closing, and what is left of a handle then.

use std::{sync::Arc, thread};

use strait_core::{Budget, ErrorKind, Message};
use strait_runtime::{DeadLetter, Receiver, ReceiverSettings, Sender, SenderSettings, State, TryEnqueueError};
use tokio::{
    runtime::{Builder, Handle},
    time::{sleep, timeout},
};

use crate::{
    Fault, Faults, FaultyConsumer, Rig, Site,
    stage::{PATIENCE, Stage, expect, key, message, millis, next, receive, refused, secs, take, until},
};

/// Senders and receivers open and close twice over, and leave no task behind.
pub async fn c01_opens_and_closes_twice_and_leaves_no_task(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    // Connections to a real service are tasks of its client, which end some time after they were last used.
    let before = if stage.can.paused { tasks() } else { 0 };
    for round in 0..2 {
        let (sender, again) = (stage.sender(), stage.sender());
        let (open, other) = (stage.open().await, stage.open().await);
        sender.send(message("a", round)).await.unwrap();
        let (delivery, from) = tokio::select! {
            delivery = next(&open) => (delivery, &open),
            delivery = next(&other) => (delivery, &other),
        };
        delivery.ack_confirmed().await.unwrap();
        assert!(from.member.meter.counts().received > 0);
        for _ in 0..2 {
            sender.close().await.unwrap();
            again.close().await.unwrap();
            open.close().await.unwrap();
            other.close().await.unwrap();
        }
    }
    drop(stage.sender()); // also when it is dropped instead
    drop(stage.open().await);
    sleep(secs(2)).await;
    if !stage.can.paused {
        until("connections end", || tasks() == before).await;
    }
    assert_eq!(tasks(), before, "tasks after everything is closed");
}

/// A source that does not exist, or may not be read, is an error of the first `recv`, by kind. Later it is not the end.
pub async fn c02_a_missing_source_is_not_found_when_it_is_opened(rig: &dyn Rig) {
    if let Some(missing) = rig.missing().await {
        let kind = match missing {
            Err(error) => error.kind(),
            Ok(consumer) => {
                let receiver = Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block)).unwrap();
                refused(timeout(PATIENCE, receiver.recv()).await.expect("it is told at once"))
            }
        };
        assert_eq!(kind, ErrorKind::NotFound);
    }
    let stage = Stage::new(rig).await;
    let receiver = |consumer, faults: &Faults| {
        let consumer = FaultyConsumer::new(consumer, faults);
        Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block)).unwrap()
    };
    for kind in [ErrorKind::NotFound, ErrorKind::Denied] {
        let faults = Faults::scripted();
        faults.always(Site::Receive, Fault::Fail(kind));
        let receiver = receiver(stage.member().await.consumer, &faults);
        assert_eq!(refused(timeout(PATIENCE, receiver.recv()).await.expect("it is told at once")), kind);
        assert!(receiver.recv().await.unwrap().is_none(), "one caller is told, then it is closed");
        receiver.close().await.unwrap();
    }
    let faults = Faults::scripted();
    let later = receiver(stage.member().await.consumer, &faults);
    stage.send([message("a", 1)]).await;
    next(&later).await.ack();
    faults.script(Site::Receive, vec![Some(Fault::Fail(ErrorKind::Denied)); 4]);
    stage.send([message("a", 2), message("a", 3)]).await;
    let mut rest = take(&later, 2).await;
    rest.sort();
    assert_eq!(rest, ["a2", "a3"]);
}

/// A source with nothing in it is opened once the provider answers: what is denied from then on is the end of nothing.
pub async fn c02_an_empty_source_is_opened_by_its_first_answer(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    faults.script(Site::Receive, [None].into_iter().chain(vec![Some(Fault::Fail(ErrorKind::Denied)); 3]));
    let consumer = FaultyConsumer::new(stage.member().await.consumer, &faults);
    let receiver = Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block)).unwrap();
    until("the provider answers, and denies then", || faults.count(Site::Receive) == 3).await;
    until("it answers again", || receiver.health().state == State::Up).await;
    stage.send([message("a", 1)]).await;
    expect(&receiver, "a1").await.ack();
    stage.settled().await;
}

/// After a close, every handle says so: clones too, and what is beneath.
pub async fn c04_every_handle_is_closed(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let (sender, open) = (stage.sender(), stage.open().await);
    let (also_sender, also_receiver) = (sender.clone(), open.receiver.clone());
    sender.send_all([message("a", 1), message("b", 1)]).await;
    next(&open).await.ack();
    sender.close().await.unwrap();
    for sender in [&sender, &also_sender] {
        assert_eq!(refused(sender.enqueue(message("a", 2)).await), ErrorKind::Closed);
        assert_eq!(refused(sender.send(message("a", 2)).await), ErrorKind::Closed);
        let refusal = sender.try_enqueue(message("a", 2)).unwrap_err();
        assert!(matches!(refusal, TryEnqueueError::Refused(error) if error.kind() == ErrorKind::Closed));
        sender.flush().await.unwrap();
        sender.close().await.unwrap();
    }
    let outcomes = sender.producer().send(&[message("a", 2), message("b", 2)]).await;
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(refused(outcome), ErrorKind::Closed, "a producer that is closed sends nothing");
    }
    stage.left(1).await;
    open.close().await.unwrap();
    for receiver in [&open.receiver, &also_receiver] {
        assert!(receiver.recv().await.unwrap().is_none());
        assert!(receiver.recv_batch(10).await.unwrap().is_none());
        receiver.close().await.unwrap();
    }
    let rest = timeout(PATIENCE, open.consumer().receive(Budget::new(1, 1))).await.expect("it is closed");
    assert_eq!(refused(rest), ErrorKind::Closed);
}

/// A delivery that outlives its receiver settles nothing, and says so.
pub async fn c04_a_delivery_that_outlives_its_receiver_is_lost(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send([message("a", 1)]).await;
    let open = stage.open_with(|settings| settings.drain = secs(8)).await; // the last three are for the close
    let delivery = expect(&open, "a1").await;
    open.close().await.unwrap();
    let refused = refused(delivery.ack_confirmed().await);
    assert!(matches!(refused, ErrorKind::Lost | ErrorKind::Closed), "{refused:?}");
    stage.left(1).await;
    let member = stage.member().await;
    let received = receive(&member, 1).await;
    member.consumer.close().await.unwrap();
    let late = member.consumer.settle(&[received[0].claim.token()]).await;
    assert_eq!(late.len(), 1);
    stage.left(1).await;
}

/// Handles work on any runtime, are dropped outside of one, and end with the runtime that drives them.
pub async fn c08_handles_may_move_between_runtimes_and_outlive_theirs(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let member = stage.member().await;
    let (producer, consumer) = (stage.channel.producer(), Arc::clone(&member.consumer));
    let settings = || ReceiverSettings::new(DeadLetter::Block);
    let (outside, other) = {
        let (producer, consumer) = (Arc::clone(&producer), Arc::clone(&consumer));
        thread::spawn(move || {
            let outside = (
                refused(Sender::new(Arc::clone(&producer), SenderSettings::default())),
                refused(Receiver::new(consumer, settings())),
            );
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let sender = runtime.block_on(async { Sender::new(producer, SenderSettings::default()).unwrap() });
            (outside, (runtime, sender))
        })
        .join()
        .unwrap()
    };
    assert_eq!(outside, (ErrorKind::Config, ErrorKind::Config), "outside of a runtime it is refused");
    let (runtime, sender) = other;
    let pending = sender.enqueue(message("a", 1)).await.unwrap();
    // A paused clock would run ahead while the other runtime works, if this one had nothing to do.
    while sender.health().messages > 0 {
        tokio::task::yield_now().await;
    }
    assert!(pending.await.is_sent(), "a sender that another runtime drives");
    let receiver = Receiver::new(consumer, settings()).unwrap();
    let delivery = expect(&receiver, "a1").await;
    thread::spawn(move || delivery.ack()).join().unwrap();
    stage.settled().await;

    // What a runtime drives ends with it, and says so.
    let also = Arc::clone(&stage.member().await.consumer);
    let orphan = thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let orphan = runtime.block_on(async { Receiver::new(also, settings()).unwrap() });
        drop(runtime); // waits until its tasks are dropped
        orphan
    });
    let orphan = orphan.join().unwrap();
    thread::spawn(move || drop(runtime)).join().unwrap();
    let ended = timeout(PATIENCE, orphan.close()).await.expect("it ends with its runtime");
    assert_eq!(refused(ended), ErrorKind::Closed);
    assert!(timeout(PATIENCE, orphan.recv()).await.expect("it is closed").unwrap().is_none());
    let ended = timeout(PATIENCE, sender.send(message("a", 2))).await.expect("it ends with its runtime");
    assert_eq!(refused(ended), ErrorKind::Closed);
    thread::spawn(move || drop((sender, orphan, receiver, producer))).join().unwrap();
}

/// Nothing of what is said of errors, or shown of handles, holds a payload, a key or the value of a header.
pub async fn c03_nothing_that_is_shown_holds_content(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let secret = || Message::new("hunter2").with_key(key("hunter2")).with_header("token", "hunter2");
    let (sender, open) = (stage.sender(), stage.open().await);
    let pending = sender.enqueue(secret()).await.unwrap();
    let shown = format!("{sender:?} {pending:?}");
    pending.await;
    let delivery = next(&open).await;
    let shown = format!("{shown} {open:?} {delivery:?} {:?} {:?}", sender.health(), open.health());
    delivery.retry("it failed");
    until("it waits", || open.member.meter.counts().retried == 1).await;
    sleep(millis(10)).await;
    let batch = timeout(PATIENCE, open.recv_batch(3)).await.unwrap().unwrap().unwrap();
    let shown = format!("{shown} {open:?} {batch:?}");
    sender.close().await.unwrap();
    let error = sender.enqueue(secret()).await.unwrap_err();
    let shown = format!("{shown} {error} {error:?} {:?}", stage.channel);
    assert!(!shown.contains("hunter2"), "{shown}");
    batch.ack();
    stage.settled().await;
}
