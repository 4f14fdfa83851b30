//! Giving up a future, and closing while work is going on.

use std::{collections::HashSet, future::poll_fn, pin::pin, sync::Arc, task::Poll};

use strait_core::ErrorKind;
use strait_runtime::{
    DeadLetter, Delivery, Outcome, Receiver, ReceiverSettings, Retry, Sender, SenderSettings, Worker,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Fault, Faults, FaultyConsumer, FaultyProducer, Join, Needs, Rig, Site,
    stage::{PATIENCE, Stage, expect, message, millis, next, nothing, secs, take, take_sorted, text, until},
};

/// Polls a future so many times, some time apart, and drops it then.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
            return Some(output);
        }
        sleep(millis(7)).await;
    }
    None
}

/// Futures of a sender may be dropped anywhere: what was accepted is sent, once, and what was not is not.
pub async fn c05_a_dropped_send_loses_nothing_that_was_accepted(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    faults.always(Site::Send, Fault::Delay(millis(20)));
    let (sender, _) = stage.faulty_sender(&faults, |settings| {
        settings.buffer_bytes = 400; // two or three messages
        settings.requests = 1;
    });
    let (mut accepted, mut perhaps) = (HashSet::new(), HashSet::new());
    // More of them where all takes longer, so that enough is accepted to tell anything.
    let mut rounds = 0..;
    while let Some(round) = rounds.next().filter(|round| *round < 60 || accepted.len() <= 10) {
        let polls = round % 6;
        let name = format!("a{round}");
        if round % 2 == 0 {
            match drop_after(polls, sender.enqueue(message("a", round))).await {
                Some(pending) => {
                    drop_after(polls, pending.unwrap()).await; // and so may the answer
                    accepted.insert(name);
                }
                None => assert!(polls < 6),
            }
        } else {
            match drop_after(polls, sender.send(message("a", round))).await {
                Some(sent) => {
                    sent.unwrap();
                    accepted.insert(name);
                }
                None => drop(perhaps.insert(name)),
            }
        }
        drop_after(round % 3, sender.flush()).await;
    }
    for polls in 0..2 {
        drop_after(polls, sender.close()).await;
    }
    sender.close().await.unwrap();
    let open = stage.open().await;
    let mut seen = Vec::new();
    while let Ok(delivery) = timeout(secs(5) + stage.can.slack(), open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        seen.push(text(delivery.message()));
        delivery.ack();
    }
    assert!(!stage.can.is_ordered() || seen.is_sorted_by_key(|name| name[1..].parse::<usize>().unwrap()), "{seen:?}");
    let set: HashSet<_> = seen.iter().cloned().collect();
    assert_eq!(set.len(), seen.len(), "nothing is sent twice: {seen:?}");
    assert!(set.is_superset(&accepted), "{:?}", accepted.difference(&set));
    assert!(set.iter().all(|name| accepted.contains(name) || perhaps.contains(name)));
    stage.settled().await;
}

/// Futures of a receiver may be dropped anywhere: nothing is taken that was not returned. Those of a worker too: what was
/// in hand comes again.
pub async fn c05_a_dropped_receive_loses_nothing(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let open = stage.open_with(|settings| settings.in_flight = 1).await;
    let mut done = Vec::new();
    for round in 0..40 {
        stage.send([message("a", round)]).await;
        let polls = round % 4;
        if round % 2 == 0 {
            if let Some(delivery) = drop_after(polls, open.recv()).await {
                let delivery = delivery.unwrap().unwrap();
                done.push(text(delivery.message()));
                drop_after(polls, delivery.ack_confirmed()).await;
            }
        } else if let Some(batch) = drop_after(polls, open.recv_batch(2)).await {
            let batch = batch.unwrap().unwrap();
            done.extend(batch.messages().map(text));
            batch.ack();
        }
    }
    // An `ack_confirmed` that was never polled is a drop: its message comes again.
    let mut seen: HashSet<String> = done.into_iter().collect();
    while let Ok(delivery) = timeout(stage.can.watch(secs(20)), open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        seen.insert(text(delivery.message()));
        delivery.ack();
    }
    assert_eq!(seen.len(), 40, "{seen:?}");
    stage.settled().await;

    stage.send((0..4).map(|number| message(["a", "b", "c", "d"][number], 100))).await;
    let worker = Worker::new(open.receiver.clone()).run(|_, _| std::future::pending());
    assert!(drop_after(20, worker).await.is_none());
    for polls in 0..2 {
        drop_after(polls, open.close()).await;
    }
    open.close().await.unwrap();
    let again = stage.open().await;
    assert_eq!(take_sorted(&again, 4).await, ["a100", "b100", "c100", "d100"]);
    stage.settled().await;
}

/// Closing a sender sends what was accepted, without lingering; what cannot be sent is reported in time.
pub async fn c06_closing_a_sender_sends_or_reports_everything(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let (sender, _) = stage.faulty_sender(&Faults::none(), |settings| settings.linger = secs(60));
    let mut pending = Vec::new();
    for number in 0..30 {
        pending.push(sender.enqueue(message(["a", "b", "c"][number % 3], number)).await.unwrap());
    }
    let start = Instant::now();
    sender.close().await.unwrap();
    assert!(start.elapsed() < secs(1) + stage.can.slack());
    for pending in pending {
        assert!(pending.await.is_sent());
    }
    stage.left(30).await;

    let faults = Faults::scripted();
    faults.always(Site::Send, Fault::Hang);
    let (sender, _) = stage.faulty_sender(&faults, |settings| {
        settings.deadline = secs(5);
        settings.requests = 1;
    });
    let under_way = sender.enqueue(message("a", 100)).await.unwrap();
    sleep(millis(10)).await;
    let behind = sender.enqueue(message("b", 100)).await.unwrap();
    let start = Instant::now();
    sender.close().await.unwrap();
    assert!(start.elapsed() <= secs(7), "{:?}", start.elapsed());
    assert!(matches!(under_way.await, Outcome::Unknown(_)), "it may have been sent");
    assert!(!behind.await.is_sent());
}

/// A close stops fetching, lets handlers finish and settle, and gives the rest back for others to have at once.
pub async fn c07_a_drain_finishes_what_runs_and_gives_the_rest_back(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send((0..20).map(|number| message(&format!("k{number}-"), number))).await;
    let open = stage.open_with(|settings| settings.in_flight = 3).await;
    let running = [next(&open).await, next(&open).await, next(&open).await];
    let closing = tokio::spawn({
        let receiver = open.receiver.clone();
        async move { receiver.close().await }
    });
    sleep(secs(2)).await;
    assert!(!closing.is_finished(), "it waits for handlers");
    let [first, second, third] = running;
    let mut done: Vec<_> = [&first, &second, &third].iter().map(|delivery| text(delivery.message())).collect();
    assert!(![&first, &second, &third].iter().any(|delivery| delivery.is_lost()));
    first.ack_confirmed().await.unwrap();
    if let Ok(received) = timeout(millis(200), open.recv()).await {
        assert!(received.unwrap().is_none(), "nothing new is handed out");
    }
    second.ack_confirmed().await.unwrap();
    third.ack();
    let start = Instant::now();
    timeout(secs(5) + stage.can.slack(), closing).await.expect("nothing is left to wait for").unwrap().unwrap();
    assert!(open.recv().await.unwrap().is_none());
    let received = open.member.meter.counts().received;
    let other = stage.open().await;
    done.extend(take(&other, 17).await);
    // At the last, a lease was extended when a third of it was over.
    let soon = if stage.can.paused { stage.can.lease / 2 } else { stage.can.lease.mul_f64(0.66) };
    assert!(start.elapsed() < soon, "not before leases ran out: {:?}", start.elapsed());
    done.sort();
    done.dedup();
    assert_eq!(done.len(), 20, "each once");
    nothing(&other, stage.can.lease * 2).await;
    assert_eq!(open.member.meter.counts().received, received, "it fetches nothing any more");
    stage.settled().await;
}

/// A message that is blocked while its receiver closes is given back at once.
pub async fn c07_what_is_blocked_holds_no_close(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send([message("a", 1)]).await;
    let open = stage.open_with(|settings| settings.drain = secs(20)).await;
    let delivery = next(&open).await;
    open.stop();
    delivery.reject("bad");
    let start = Instant::now();
    open.close().await.unwrap();
    assert!(start.elapsed() <= secs(3) + stage.can.slack(), "{:?}", start.elapsed());
    let other = stage.open().await;
    expect(&other, "a1").await.ack_confirmed().await.unwrap();
    stage.settled().await;
}

/// A close with hundreds of messages in its buffer leaves none of them leased, also of those that are being released when
/// it comes: others have them at once.
pub async fn c07_a_close_gives_back_all_of_a_full_buffer(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let count = if stage.can.paused { 400 } else { 150 };
    let faults = Faults::scripted();
    stage.send((0..count).map(|number| message(&format!("k{number}-"), number))).await;
    stage.holds(count).await;
    let open = stage.open_as(Join::with(&faults), |settings| {
        (settings.in_flight, settings.buffer, settings.prefetch) = (4, count, Some(count));
    });
    let open = open.await;
    let running = [next(&open).await, next(&open).await, next(&open).await, next(&open).await];
    until("all are in hand", || open.health().counts.buffered_messages == count as u64).await;
    faults.always(Site::Release, Fault::Delay(millis(700)));
    open.stop();
    sleep(secs(1)).await; // what waited is being released
    running.into_iter().for_each(Delivery::ack);
    timeout(PATIENCE, open.close()).await.expect("it closes").unwrap();
    let start = Instant::now();
    let other = stage.open().await;
    take(&other, count - 4).await;
    assert!(start.elapsed() < stage.can.lease / 2, "after leases ran out: {:?}", start.elapsed());
    stage.settled().await;
}

/// Closing while settlements and burials are under way and a retry waits: what was acknowledged is settled, the rest
/// comes again.
pub async fn c80_closing_while_settling_burying_and_waiting(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let bytes = stage.channel.producer().limits().message_bytes + 4096;
    let dead = Stage::with(rig, Needs { message_bytes: Some(bytes), ..Needs::default() }).await;
    let faults = Faults::scripted();
    faults.always(Site::Settle, Fault::Delay(secs(1)));
    faults.always(Site::Send, Fault::Delay(secs(2)));
    let member = stage.join(Join::default()).await;
    let producer = FaultyProducer::new(dead.channel.producer(), faults.clone());
    let letters = Sender::new(producer, SenderSettings::default()).unwrap();
    let mut settings = ReceiverSettings::new(DeadLetter::Channel(letters)).retry(Retry::default());
    settings.oversize = strait_runtime::Oversize::Truncate;
    settings.ordering = stage.can.ordering;
    settings.meter = member.meter.clone();
    let receiver = Receiver::new(FaultyConsumer::new(Arc::clone(&member.consumer), &faults), settings).unwrap();
    stage.send((0..6).map(|number| message(&format!("k{number}-"), number))).await;
    let mut running = Vec::new();
    for _ in 0..6 {
        running.push(next(&receiver).await);
    }
    running.pop().unwrap().ack(); // settling
    sleep(millis(10)).await;
    running.pop().unwrap().ack(); // waits for that
    running.pop().unwrap().reject("bad"); // burying
    let waiting = running.pop().unwrap();
    let waits = text(waiting.message());
    waiting.retry_after("later", secs(3));
    let late = running.pop().unwrap();
    let closing = tokio::spawn({
        let receiver = receiver.clone();
        async move { receiver.close().await }
    });
    sleep(millis(100)).await;
    running.pop().unwrap().ack();
    // On a log, what was started goes on to its end; a queue gives it to somebody else.
    let mut again = Vec::new();
    let last = async {
        sleep(millis(1500)).await;
        late.ack();
    };
    let rest = async {
        while let Some(delivery) = receiver.recv().await.unwrap() {
            again.push(text(delivery.message()));
            delivery.ack();
        }
    };
    timeout(PATIENCE, async { tokio::join!(last, rest) }).await.expect("it closes");
    timeout(PATIENCE, closing).await.expect("it closes").unwrap().unwrap();
    let other = stage.open().await;
    if again.is_empty() {
        again.extend(take(&other, 1).await);
    }
    assert_eq!(again, [waits]);
    nothing(&other, stage.can.lease * 2).await;
    stage.settled().await;
    let buried = dead.open().await;
    next(&buried).await.ack();
    nothing(&buried, secs(10)).await;
}

/// What fails while it closes is tried again in place on a log, where a gap would replay what was settled behind it, and is
/// given to others by a queue. `recv` ends after that.
pub async fn c07_what_fails_while_closing_comes_again(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send([message("a", 1)]).await;
    let open = stage.open().await;
    let failing = expect(&open, "a1").await;
    open.stop();
    let receiver = open.receiver.clone();
    let rest = tokio::spawn(async move {
        let mut again = Vec::new();
        while let Some(delivery) = receiver.recv().await.unwrap() {
            again.push(text(delivery.message()));
            delivery.ack();
        }
        again
    });
    sleep(millis(100)).await;
    failing.retry("failed");
    open.close().await.unwrap();
    let again = timeout(PATIENCE, rest).await.expect("it ends").unwrap();
    if stage.can.is_log() {
        assert_eq!(again, ["a1"]);
    } else {
        assert!(again.is_empty(), "{again:?}");
        let other = stage.open().await;
        expect(&other, "a1").await.ack_confirmed().await.unwrap();
    }
    stage.settled().await;
}

/// A close does not wait until a provider that fails would be asked again.
pub async fn c07_a_close_waits_out_no_back_off(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    faults.always(Site::Receive, Fault::Fail(ErrorKind::Unavailable));
    let member = stage.member().await;
    let consumer = FaultyConsumer::new(Arc::clone(&member.consumer), &faults);
    let receiver = Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block)).unwrap();
    until("the pause is 3 s at least", || receiver.health().receive_failures >= 6).await;
    let start = Instant::now();
    receiver.close().await.unwrap();
    assert!(start.elapsed() < secs(3), "{:?}", start.elapsed());
}

/// A close that does not end in time gives up what is in hand: it comes again, and nothing panics.
pub async fn c07_a_drain_that_takes_too_long_gives_up(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send([message("a", 1), message("b", 1)]).await;
    let open = stage.open_with(|settings| settings.drain = secs(8)).await;
    let held = [next(&open).await, next(&open).await];
    let start = Instant::now();
    open.close().await.unwrap();
    assert!((secs(5)..secs(8) + stage.can.slack()).contains(&start.elapsed()), "{:?}", start.elapsed());
    let [one, two] = held;
    one.ack();
    assert!(matches!(two.ack_confirmed().await.unwrap_err().kind(), ErrorKind::Lost | ErrorKind::Closed));
    let other = stage.open().await;
    assert_eq!(take_sorted(&other, 2).await, ["a1", "b1"]);
    stage.settled().await;
    stage.send([message("c", 1)]).await;
    expect(&other, "c1").await.ack();
}
