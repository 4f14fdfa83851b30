//! Sending: batches, outcomes, retries, and what is refused.

use std::{collections::HashSet, sync::Arc};

use strait_core::{ErrorKind, Message};
use strait_kit::Start;
use strait_runtime::{
    AfterFailure, Backoff, DeadLetter, Outcome, Oversize, Receiver, ReceiverSettings, Retry, Sender, SenderSettings,
    TryEnqueueError,
};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Fault, Faults, Join, Needs, Rig, Site,
    stage::{PATIENCE, Stage, failed, key, message, messages, millis, refused, secs, take, take_sorted, text, until},
};

/// One message, and many: no request is larger than the provider allows, and everything arrives.
pub async fn c17_batches_stay_within_the_limits(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let (sender, producer) = stage.faulty_sender(&faults, |_| {});
    let open = stage.open().await;
    sender.send(message("a", 0)).await.unwrap();
    assert_eq!(take(&open, 1).await, ["a0"]);

    let limits = sender.limits();
    let count = 2 * limits.messages + 7;
    let all: Vec<_> = (0..count).map(|number| Message::new(format!("{number:09}"))).collect();
    let outcomes = sender.send_all(all.clone()).await;
    assert!(outcomes.len() == count && outcomes.iter().all(Outcome::is_sent));
    let requests: Vec<_> = producer.requests().into_iter().map(|(_, batch)| batch).collect();
    assert!(requests.iter().any(|batch| batch.len() == limits.messages), "one is full by count");
    assert!(requests.iter().all(|batch| batch.len() <= limits.messages));
    let mut sent: Vec<_> = all.iter().map(text).collect();
    sent.sort();
    assert_eq!(take_sorted(&open, count).await, sent);

    let (size, full) = large_messages(&sender);
    let count = 3 * full + 1;
    let large = |number: usize| Message::new(vec![u8::try_from(number).unwrap(); size]);
    let outcomes = sender.send_all((0..count).map(large)).await;
    assert!(outcomes.iter().all(Outcome::is_sent));
    let requests: Vec<_> = producer.requests().into_iter().map(|(_, batch)| batch).collect();
    for batch in &requests {
        let bytes: usize = batch.iter().map(|message| sender.producer().plan(message).unwrap().bytes).sum();
        assert!(bytes <= limits.request_bytes, "a request of {bytes} bytes");
    }
    assert!(requests.iter().any(|batch| batch.len() == full && batch[0].payload.len() == size), "one is full by bytes");
    assert_eq!(take(&open, count).await.len(), count);
    stage.settled().await;
}

/// The size of payloads of which a few fill a request by bytes, and how many do: no message is larger than it may be.
fn large_messages(sender: &Sender) -> (usize, usize) {
    let limits = sender.limits();
    let size = limits.message_bytes.min(limits.request_bytes / 3) - 200;
    let full = limits.request_bytes / sender.producer().plan(&Message::new(vec![1; size])).unwrap().bytes;
    assert!(full < limits.messages, "{full} fill a request by bytes");
    (size, full)
}

/// Each message has its own outcome, in the order given; what failed for good is not stored, and nothing is sent twice.
pub async fn c18_each_message_has_its_own_outcome(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let (sender, producer) = stage.faulty_sender(&faults, |settings| settings.linger = millis(20));
    let open = stage.open().await;
    faults.script(Site::Send, [Some(Fault::These(vec![2, 4], ErrorKind::Invalid))]);
    // Without keys: where each key has requests of its own, these share one.
    let outcomes = sender.send_all("abcdef".chars().map(|name| Message::new(format!("{name}1")))).await;
    let sent: Vec<_> = outcomes.iter().map(Outcome::is_sent).collect();
    assert_eq!(sent, [true, true, false, true, false, true]);
    assert!(matches!(&outcomes[2], Outcome::NotSent(error) if error.kind() == ErrorKind::Invalid));
    assert_eq!(take_sorted(&open, 4).await, ["a1", "b1", "d1", "f1"]);

    // Only what failed is sent again.
    faults.script(Site::Send, [Some(Fault::These(vec![1], ErrorKind::Unavailable))]);
    let outcomes = sender.send_all("abc".chars().map(|name| Message::new(format!("{name}2")))).await;
    assert!(outcomes.iter().all(Outcome::is_sent));
    assert_eq!(take_sorted(&open, 3).await, ["a2", "b2", "c2"]);
    let stored: Vec<_> = producer.stored().iter().map(|message| message.id).collect();
    assert_eq!(stored.iter().collect::<HashSet<_>>().len(), stored.len(), "nothing is stored twice");

    // Later messages of a key fail with the first, and those of other keys do not.
    faults.script(Site::Send, [Some(Fault::These(vec![0], ErrorKind::Invalid))]);
    let outcomes = sender.send_all([message("a", 3), message("b", 3), message("a", 4)]).await;
    let sent: Vec<_> = outcomes.iter().map(Outcome::is_sent).collect();
    assert_eq!(sent, [false, true, false]);
    assert_eq!(take(&open, 1).await, ["b3"]);
    stage.settled().await;
}

/// A lost answer is an unknown outcome, and never one that says that it was not sent.
pub async fn c18_a_lost_answer_is_an_unknown_outcome(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let (sender, _) = stage.faulty_sender(&faults, |settings| settings.deadline = secs(2));
    faults.script(Site::Send, [Some(Fault::Ambiguous)]);
    faults.always(Site::Send, Fault::Fail(ErrorKind::Unavailable));
    let outcome = timeout(secs(4), sender.enqueue(message("a", 1)).await.unwrap()).await.expect("it is told in time");
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert!(outcome.into_result().unwrap_err().is_ambiguous());
    faults.heal();
    let faults = Faults::scripted();
    let (sender, _) = stage.faulty_sender(&faults, |settings| settings.deadline = secs(2));
    faults.script(Site::Send, [Some(Fault::Short)]);
    let outcomes = sender.send_all([message("b", 1), message("c", 1)]).await;
    assert!(!outcomes.iter().any(|outcome| matches!(outcome, Outcome::NotSent(_))), "{outcomes:?}");
    faults.always(Site::Send, Fault::Fail(ErrorKind::Unavailable));
    let outcome = sender.enqueue(message("d", 1)).await.unwrap().await;
    assert!(matches!(outcome, Outcome::NotSent(_)), "{outcome:?}");
    // What is unknown may be stored, and what is not sent is not.
    let open = stage.open().await;
    let mut seen = HashSet::new();
    while let Ok(delivery) = timeout(secs(30), open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        seen.insert(text(delivery.message()));
        delivery.ack();
    }
    assert_eq!(seen, HashSet::from(["a1", "b1", "c1"].map(str::to_owned)));
}

/// A request goes out when it is full by count or by bytes, and a lone message leaves within the linger.
pub async fn c19_a_request_goes_when_it_is_full_or_has_lingered(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let linger = secs(10);
    let soon = secs(1) + stage.can.slack() + stage.can.request;
    let (sender, producer) = stage.faulty_sender(&faults, |settings| settings.linger = linger);
    let limits = sender.limits();

    let start = Instant::now();
    let pending = sender.enqueue(message("a", 1)).await.unwrap();
    assert!(pending.await.is_sent());
    assert!((linger..linger + soon).contains(&start.elapsed()), "a lone message: {:?}", start.elapsed());

    let start = Instant::now();
    let outcomes = sender.send_all((0..limits.messages).map(|number| Message::new(number.to_string()))).await;
    assert!(outcomes.iter().all(Outcome::is_sent) && start.elapsed() < soon, "by count: {:?}", start.elapsed());

    let start = Instant::now();
    let mut pending = Vec::new();
    let (size, full) = large_messages(&sender);
    for _ in 0..=full {
        pending.push(sender.enqueue(Message::new(vec![1; size])).await.unwrap());
    }
    let last = pending.pop().unwrap();
    for pending in pending {
        assert!(pending.await.is_sent() && start.elapsed() < soon, "by bytes: {:?}", start.elapsed());
    }
    assert!(last.await.is_sent() && start.elapsed() >= linger, "what is left of it lingers");

    let start = Instant::now();
    let pending = sender.enqueue(message("a", 2)).await.unwrap();
    sender.flush().await.unwrap();
    assert!(start.elapsed() < soon, "a flush does not linger");
    assert!(pending.await.is_sent());
    assert!(producer.requests().len() >= 4);
}

/// What is throttled is sent again after pauses that grow, under the same id, and the order of a key stays.
pub async fn c20_throttling_is_waited_out_in_order(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let (sender, producer) = stage.faulty_sender(&faults, |_| {});
    let fail = |failing: &[usize]| Some(Fault::These(failing.to_vec(), ErrorKind::Throttled));
    faults.script(Site::Send, [fail(&[0]), fail(&[0, 1]), fail(&[0]), fail(&[1]), fail(&[0]), fail(&[2])]);
    let all: Vec<_> = (0..40).map(|number| message(["a", "b", "c"][number % 3], number)).collect();
    let outcomes = sender.send_all(all).await;
    assert!(outcomes.iter().all(Outcome::is_sent));
    assert!(faults.count(Site::Send) == 6);
    let requests = producer.requests();
    let mut attempts: Vec<(Option<strait_core::Id>, Instant)> = Vec::new();
    for (at, batch) in &requests {
        attempts.extend(batch.iter().filter(|message| text(message) == "a0").map(|message| (message.id, *at)));
    }
    assert!(attempts.len() >= 2, "the first was sent again");
    assert!(attempts.iter().all(|(id, _)| *id == attempts[0].0 && id.is_some()), "under the same id");
    assert!(attempts.windows(2).all(|pair| pair[1].1 - pair[0].1 >= millis(50)), "after a pause");
    for of_key in ["a", "b", "c"] {
        let stored: Vec<usize> = producer
            .stored()
            .iter()
            .filter(|message| message.key == Some(key(of_key)))
            .map(|message| text(message)[1..].parse().unwrap())
            .collect();
        assert!(stored.is_sorted(), "{of_key}: {stored:?}");
    }
    assert_eq!(producer.stored().len(), 40);

    // While a message waits to be sent again, nothing of its key overtakes it in another request.
    faults.script(Site::Send, [fail(&[0])]);
    let mut pending = Vec::new();
    for number in 40..50 {
        pending.push(sender.enqueue(message("a", number)).await.unwrap());
        sleep(millis(5)).await;
    }
    for pending in pending {
        assert!(pending.await.is_sent());
    }
    let stored: Vec<_> = producer.stored().iter().skip(40).map(text).collect();
    assert_eq!(stored, (40..50).map(|number| format!("a{number}")).collect::<Vec<_>>());
}

/// Many senders at once, and a store that is full: senders wait within their bounds, and nothing is lost.
pub async fn c21_publishers_wait_within_their_bounds(rig: &dyn Rig) {
    let room = 100_000;
    let stage = Stage::with(rig, Needs { room: Some(room), message_bytes: Some(4096), ..Needs::default() }).await;
    let faults = Faults::scripted();
    faults.script(Site::Send, [Some(Fault::Delay(secs(5)))]);
    let buffer = 20_000;
    let (sender, _) = stage.faulty_sender(&faults, |settings| {
        settings.buffer_bytes = buffer;
        settings.requests = 1;
    });
    // While a request takes long, the buffer fills, and then the application waits.
    let mut held = Vec::new();
    let full = loop {
        match sender.try_enqueue(Message::new(vec![0; 1000])) {
            Ok(pending) => held.push(pending),
            Err(TryEnqueueError::Full(message)) => break message,
            Err(refused) => panic!("{refused}"),
        }
        assert!(held.len() <= buffer / 1000, "more is accepted than the buffer holds");
        tokio::task::yield_now().await;
    };
    assert_eq!(full.payload.len(), 1000, "the message is given back");
    assert!(sender.health().bytes <= buffer);
    assert!(timeout(secs(1), sender.enqueue(full)).await.is_err(), "it waits for room");
    for pending in held.drain(..) {
        assert!(pending.await.is_sent());
    }
    // Ten publishers send twice as much as the store holds.
    let mut publishers = tokio::task::JoinSet::new();
    for publisher in 0..10 {
        let sender = stage.sender();
        publishers.spawn(async move {
            for number in 0..20 {
                let payload = format!("{publisher}.{number}.{}", " ".repeat(1000));
                sender.send(Message::new(payload).with_key(key(&publisher.to_string()))).await.unwrap();
            }
        });
    }
    let before = timeout(secs(60), async { while publishers.join_next().await.is_some() {} }).await;
    if stage.can.bounded {
        assert!(before.is_err(), "the store is full, so that publishers wait");
        let stored = stage.channel.left(crate::GROUP).await;
        assert!(stored * 1000 <= room, "{stored} messages are stored");
    } else {
        before.expect("there is room for all");
    }
    let open = stage.open().await;
    let mut seen = HashSet::new();
    while seen.len() < 200 {
        for payload in take(&open, 1).await {
            if payload.contains('.') {
                seen.insert(payload);
            }
        }
    }
    while let Some(publisher) = timeout(PATIENCE, publishers.join_next()).await.expect("they go on") {
        publisher.unwrap();
    }
    open.close().await.unwrap();
}

/// A setting, and what makes it one that cannot be meant.
type Wrong<'a, S> = (&'static str, &'a dyn Fn(&mut S));

/// What the provider cannot keep, or cannot be meant, is refused when it is asked for, and the error names it.
pub async fn c22_what_cannot_be_kept_is_refused(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let member = stage.member().await;
    let open = |change: &dyn Fn(&mut ReceiverSettings)| {
        let mut settings = ReceiverSettings::new(DeadLetter::Discard);
        change(&mut settings);
        Receiver::new(Arc::clone(&member.consumer), settings)
    };
    let ordered = open(&|settings| settings.ordering = strait_core::Ordering::Key);
    if stage.can.is_ordered() {
        drop(ordered.unwrap());
    } else {
        let error = ordered.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("ordering"), "{error}");
    }
    let started = stage.channel.join(Join::group("new").starting(Start::Latest)).await;
    assert!(stage.can.has_starts() || refused(started) == ErrorKind::Unsupported, "a start that nobody can choose");

    let largest = stage.channel.producer().limits().message_bytes;
    let dead = Stage::with(rig, Needs { message_bytes: Some(largest / 2), ..Needs::default() }).await;
    let small = dead.sender();
    let opened = open(&|settings| settings.dead_letter = DeadLetter::Channel(small.clone()));
    if small.limits().message_bytes < largest {
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("dead_letter: its channel holds"), "{error}");
    } else {
        drop(opened.unwrap()); // where no size can be chosen
    }
    let truncated = open(&|settings| {
        settings.dead_letter = DeadLetter::Channel(small.clone());
        settings.oversize = Oversize::Truncate;
    });
    drop(truncated.unwrap());

    let named: [Wrong<ReceiverSettings>; 5] = [
        ("in_flight", &|settings| settings.in_flight = 0),
        ("buffer", &|settings| settings.buffer = 1),
        ("buffer_bytes", &|settings| settings.buffer_bytes = 0),
        ("retry.attempts", &|settings| settings.retry.attempts = 0),
        ("retry.first", &|settings| settings.retry = Retry::new(3, Backoff::new(secs(2), secs(1)))),
    ];
    for (field, change) in named {
        let error = open(change).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(field), "{error}");
    }
    let named: [Wrong<SenderSettings>; 4] = [
        ("buffer_bytes", &|settings| settings.buffer_bytes = 0),
        ("requests", &|settings| settings.requests = 0),
        ("deadline", &|settings| settings.deadline = secs(0)),
        ("linger", &|settings| settings.linger = secs(1000)),
    ];
    for (field, change) in named {
        let mut settings = SenderSettings::default();
        change(&mut settings);
        let error = Sender::new(stage.channel.producer(), settings).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(field), "{error}");
    }
}

/// After a failure, later messages of the key go on, or wait to be resumed; those of other keys never notice.
pub async fn c20_a_key_is_paused_after_a_failure_if_it_is_asked_for(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let (sender, _) = stage.faulty_sender(&faults, |settings| settings.after_failure = AfterFailure::Pause);
    faults.script(Site::Send, [Some(Fault::Fail(ErrorKind::Invalid))]);
    let [first, behind] = messages("a", 1..3).try_into().unwrap();
    let (first, behind) = (sender.enqueue(first).await.unwrap(), sender.enqueue(behind).await.unwrap());
    assert_eq!(failed(first.await), ErrorKind::Invalid);
    assert!(matches!(behind.await, Outcome::NotSent(_)));
    assert!(sender.enqueue(message("a", 3)).await.is_err(), "its key is paused");
    sender.send(message("b", 1)).await.unwrap();
    sender.resume(&key("a"));
    sender.resume(&key("a"));
    sender.send(message("a", 4)).await.unwrap();
    until("nothing is held", || sender.health().messages == 0).await;
    let open = stage.open().await;
    assert_eq!(take_sorted(&open, 2).await, ["a4", "b1"]);
    stage.settled().await;
}
