//! Order of keys, and what is settled out of order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use strait_core::{ErrorKind, Ordering, Result};
use strait_runtime::{DeadLetter, Failure, Receiver, ReceiverSettings, Worker};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Fault, Faults, Join, Needs, Rig, Site,
    stage::{Open, PATIENCE, Stage, expect, message, messages, millis, next, nothing, refused, secs, take, text},
};

/// Opens a receiver that asks for order by key, whatever is declared.
pub(super) async fn asking_for_order(stage: &Stage) -> Result<Receiver> {
    let member = stage.member().await;
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.ordering = Ordering::Key;
    Receiver::new(member.consumer, settings)
}

/// Whether order is declared. If not, asking for it is refused, and that is all there is to show.
async fn is_ordered(stage: &Stage) -> bool {
    if !stage.can.is_ordered() {
        assert_eq!(refused(asking_for_order(stage).await), ErrorKind::Unsupported);
    }
    stage.can.is_ordered()
}

/// Each key in order: first come, first processed.
pub(super) fn assert_in_order(done: &[String], count: usize) {
    let mut of_key: HashMap<&str, Vec<usize>> = HashMap::new();
    for text in done {
        let numbers = of_key.entry(&text[..1]).or_default();
        let number: usize = text[1..].parse().unwrap();
        if numbers.contains(&number) {
            assert!(numbers.last().is_some_and(|last| number <= *last), "a replay starts over: {done:?}");
            numbers.retain(|other| *other < number);
        }
        numbers.push(number);
    }
    assert_eq!(of_key.values().map(Vec::len).sum::<usize>(), count, "{done:?}");
    for (key, numbers) in of_key {
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

/// Order of a key in calm, after failed attempts, after requests that were sent again, and in another process.
pub async fn c43_each_key_stays_in_order(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    if !is_ordered(&stage).await {
        return;
    }
    let faults = Faults::scripted();
    let (sender, _) = stage.faulty_sender(&faults, |_| {});
    let some = |failing: &[usize]| Some(Fault::These(failing.to_vec(), ErrorKind::Throttled));
    faults.script(Site::Send, [some(&[0, 3]), None, some(&[1]), some(&[0]), None, Some(Fault::Ambiguous)]);
    let all: Vec<_> = (0..90).map(|number| message(["a", "b", "c", "d"][number % 4], number)).collect();
    for chunk in all.chunks(10) {
        for outcome in sender.send_all(chunk.iter().cloned()).await {
            assert!(outcome.is_sent(), "{outcome:?}");
        }
    }
    let mut done = Vec::new();
    let open = stage.open().await;
    let mut failures = 0;
    while done.len() < 60 {
        let delivery = next(&open).await;
        let number: usize = text(delivery.message())[1..].parse().unwrap();
        if number % 7 == 3 && delivery.attempt() < 3 {
            failures += 1;
            delivery.retry("as planned");
        } else {
            done.push(text(delivery.message()));
            delivery.ack();
        }
    }
    assert!(failures > 5);
    let waiting = next(&open).await;
    waiting.retry_after("it is to be the first in the next process", secs(30));
    open.close().await.unwrap();
    let open = stage.open().await;
    // Some may have been stored twice, since an answer was lost.
    while let Ok(delivery) = timeout(stage.can.watch(secs(30)), open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        done.push(text(delivery.message()));
        delivery.ack();
    }
    assert_in_order(&done, 90);
    stage.settled().await;
}

/// Messages of different keys are worked on at once, those of one key never: nor before the one before is settled.
pub async fn c44_keys_overlap_and_a_key_never_does(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let ordered = is_ordered(&stage).await;
    let open = stage.open_with(|settings| settings.in_flight = 8).await;
    for round in 0..16 {
        // Of one call, a sender may send key by key.
        stage.send((0..4).map(|key| message(["a", "b", "c", "d"][key], 4 * round + key))).await;
    }
    let running = Arc::new(Mutex::new((HashMap::<String, usize>::new(), 0)));
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = Worker::new(open.receiver.clone()).stop_on(stop.clone().cancelled_owned());
    let working = tokio::spawn(worker.run({
        let running = Arc::clone(&running);
        move |delivery, _| {
            let (running, tell) = (Arc::clone(&running), tell.clone());
            async move {
                let text = text(delivery.message());
                let key = text[..1].to_owned();
                {
                    let (of_key, most) = &mut *running.lock().unwrap();
                    let here = of_key.entry(key.clone()).or_default();
                    *here += 1;
                    let _ = tell.send((text, *here));
                    *most = of_key.values().filter(|count| **count > 0).count().max(*most);
                }
                tokio::time::sleep(millis(fastrand::u64(1..50))).await;
                *running.lock().unwrap().0.get_mut(&key).unwrap() -= 1;
                if fastrand::u8(..8) == 0 { Err(Failure::retry("as planned")) } else { Ok(()) }
            }
        }
    }));
    stage.settled().await;
    stop.cancel();
    working.await.unwrap().unwrap();
    told.close();
    let mut started = Vec::new();
    while let Some((text, here)) = told.recv().await {
        assert!(here == 1 || !ordered, "{text} starts while another of its key runs");
        started.push(text);
    }
    if ordered {
        assert_in_order(&started, 64);
    }
    let most = running.lock().unwrap().1;
    assert!(most >= 4, "different keys overlap, and at most {most} did");
}

/// Progress never passes what is not settled: whatever is settled above, what was not comes again after a crash.
pub async fn c45_progress_never_passes_what_is_not_settled(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    stage.send((0..20).map(|number| message(&format!("k{number}-"), number))).await;
    let open = stage.open().await;
    let mut held = None;
    for _ in 0..20 {
        let delivery = next(&open).await;
        if text(delivery.message()) == "k5-5" {
            held = Some(delivery);
        } else {
            delivery.ack();
        }
    }
    let left = if stage.can.is_log() { 15 } else { 1 };
    stage.left(left).await;
    open.member.kill();
    let held = held.unwrap();
    let other = stage.open().await;
    let mut again = Vec::new();
    for _ in 0..left {
        let delivery = next(&other).await;
        again.push(text(delivery.message()));
        delivery.ack();
    }
    assert!(again.contains(&"k5-5".into()), "{again:?}");
    assert!(held.is_lost());
    drop(held);
    stage.settled().await;
}

/// What a receiver may hold where a key fails: little, so that a service soon fills it.
const BUFFER: usize = 64;

/// A key that fails, or a partition, starves no other, though it has all that it may have of the buffer.
pub async fn c81_a_failing_key_starves_no_other(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 2, ..Needs::default() }).await;
    // Several, since nobody knows which partition each goes to.
    let others = ["b", "c", "d", "e", "f"].map(|key| message(key, 1));
    // More than is held where the engine of a log or a queue in order is to hold some back; else all that there is room
    // for beside the others.
    let is_held_back = stage.can.is_ordered() && stage.can.paused;
    let count = if is_held_back { 3 * BUFFER } else { BUFFER - others.len() };
    stage.send(messages("a", 0..count)).await;
    let join = Join { buffer: Some(BUFFER), ..Join::default() };
    let open = stage.open_as(join, |settings| (settings.in_flight, settings.buffer) = (4, BUFFER)).await;
    let fail = async || {
        let delivery = next(&open).await;
        if text(delivery.message()).starts_with('a') {
            return delivery.retry("down");
        }
        delivery.ack();
    };
    // On a log its partition's share, without order all of it; a queue in order may hold back more.
    let share = if stage.can.is_log() { BUFFER / 2 } else { count };
    let is_full = || open.member.meter.counts().buffered_messages >= share as u64;
    let fills = async {
        while !is_full() {
            fail().await;
        }
    };
    if stage.can.is_log() || !stage.can.is_ordered() {
        timeout(PATIENCE, fills).await.expect("it fills its share");
    }
    let fails = async {
        loop {
            fail().await;
        }
    };
    assert!(timeout(stage.can.watch(secs(60)), fails).await.is_err(), "it goes on failing");
    let settled = open.member.meter.counts().settled;
    assert_eq!(settled, 0, "only the failing key is there");
    stage.send(others).await;
    let served = async {
        while open.member.meter.counts().settled == 0 {
            fail().await;
        }
    };
    timeout(secs(60), served).await.expect("others are served while a key fails");
}

/// The claims of one key never run ahead of what was lost before them.
pub async fn c43_a_receive_whose_answer_is_lost_does_not_reorder(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    if !is_ordered(&stage).await {
        return;
    }
    let faults = Faults::scripted();
    faults.script(Site::Receive, [Some(Fault::Ambiguous)]);
    faults.script(Site::Read, [Some(Fault::Fail(ErrorKind::Unavailable)), None, Some(Fault::Fail(ErrorKind::Other))]);
    stage.send(messages("a", 0..5)).await;
    let open: Open = stage.open_as(Join::with(&faults), |_| {}).await;
    let mut done = take(&open, 5).await;
    // A second delivery of what is in hand, along with something else.
    stage.send(messages("a", 5..7)).await;
    let held = expect(&open, "a5").await;
    faults.always(Site::Receive, Fault::Duplicate);
    for number in 0..20 {
        stage.send([message("b", number)]).await;
        assert_eq!(take(&open, 1).await, [format!("b{number}")], "while a5 is in hand, no more of it comes");
    }
    assert!(faults.count(Site::Receive) > 20 || stage.can.is_log());
    done.push(text(held.message()));
    held.ack_confirmed().await.unwrap();
    done.extend(take(&open, 1).await);
    assert_eq!(done, (0..7).map(|number| format!("a{number}")).collect::<Vec<_>>());
    nothing(&open, stage.can.watch(secs(30))).await;
    stage.settled().await;
}
