//! Pauses between attempts.

use std::sync::Arc;

use strait_core::{ClaimState, ErrorKind};
use strait_runtime::{Backoff, Retry, State};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    Fault, Faults, Join, Rig, Site,
    stage::{Stage, expect, message, millis, next, nothing, receive, secs, take_each, text, until},
};

/// A message that asks for a pause does not come earlier, and others come meanwhile.
pub async fn c31_not_before_its_pause_is_over(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let pause = if stage.can.paused { secs(40) } else { stage.can.lease * 3 };
    let open = stage.open().await;
    stage.send([message("a", 1)]).await;
    let start = Instant::now();
    expect(&open, "a1").await.retry_after("later", pause);
    for number in 0..5 {
        stage.send([message("b", number)]).await;
        let delivery = next(&open).await;
        assert_eq!(text(delivery.message()), format!("b{number}"));
        delivery.ack();
    }
    assert!(start.elapsed() < pause / 2, "others wait for it: {:?}", start.elapsed());
    let delivery = expect(&open, "a1").await;
    assert!(start.elapsed() >= pause, "too early: {:?}", start.elapsed());
    delivery.retry_after("later", secs(60));
    // After a crash the message survives; the pause need not.
    open.member.kill();
    let other = stage.open().await;
    expect(&other, "a1").await.ack();
    stage.settle_rest(&other).await;
}

/// Where the provider keeps long pauses, a buffer full of them keeps nothing else from being worked on, and each message
/// comes again after its pause. Where it does not, it says so, and the claim is as it was.
pub async fn c31_long_pauses_keep_nothing_else_from_being_worked_on(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let pause = stage.can.long_pause();
    let member = stage.member().await;
    if member.consumer.guarantees().postpones.is_none() {
        stage.send([message("a", 1)]).await;
        let received = receive(&member, 1).await;
        let outcomes = member.consumer.postpone(&[(received[0].claim.token(), pause)]).await;
        let [Err(refused)] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        assert_eq!(received[0].claim.state(|| Instant::now().into_std()), ClaimState::Held);
        return;
    }
    member.consumer.close().await.unwrap();
    let open = stage.open_with(|settings| (settings.in_flight, settings.buffer) = (4, 4)).await;
    let waiting = ["a", "b", "c", "d"];
    stage.send(waiting.map(|key| message(key, 1))).await;
    let start = Instant::now();
    for _ in waiting {
        next(&open).await.retry_after("not yet", pause);
    }
    let others = ["e", "f", "g", "h", "i", "j"].map(|key| message(key, 1));
    let expected: Vec<_> = others.iter().map(text).collect();
    stage.send(others).await;
    assert_eq!(take_each(&stage.can, &open, expected.len()).await, expected);
    assert!(start.elapsed() < pause, "others waited for it: {:?}", start.elapsed());
    assert_eq!(open.health().state, State::Up);
    sleep_until(start + pause - secs(1)).await;
    let mut again = Vec::new();
    while again.len() < waiting.len() {
        let delivery = next(&open).await;
        assert!(start.elapsed() >= pause, "too early: {:?}", start.elapsed());
        again.push(text(delivery.message()));
        delivery.ack();
    }
    again.sort();
    assert_eq!(again, waiting.map(|key| format!("{key}1")));
    stage.settled().await;
}

/// Pauses grow up to the longest, whoever fails.
pub async fn c31_pauses_grow(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let retry = Retry::new(8, Backoff::new(secs(1), secs(4)));
    let open = stage.open_with(|settings| settings.retry = retry).await;
    stage.send([message("a", 1)]).await;
    let mut last: Option<Instant> = None;
    for attempt in 1..=6u32 {
        let delivery = expect(&open, "a1").await;
        if let Some(last) = last {
            let whole = secs(1 << (attempt - 2).min(2));
            let pause = last.elapsed();
            assert!(
                pause >= whole / 2 && pause <= whole + millis(100) + stage.can.slack(),
                "before attempt {attempt}: {pause:?}"
            );
        }
        last = Some(Instant::now());
        delivery.retry("again");
    }
    expect(&open, "a1").await.ack();
    stage.settled().await;
}

/// A provider that fails is asked again for ever, after pauses that grow; how it is can be seen, and it recovers.
pub async fn c66_a_subscription_recovers_for_ever(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let member = stage.join(Join::default()).await;
    let consumer = crate::FaultyConsumer::new(Arc::clone(&member.consumer), &faults);
    let mut settings = strait_runtime::ReceiverSettings::new(strait_runtime::DeadLetter::Block);
    settings.meter = member.meter.clone();
    let receiver = strait_runtime::Receiver::new(consumer, settings).unwrap();
    stage.send([message("a", 1)]).await;
    expect(&receiver, "a1").await.ack();
    assert_eq!(receiver.health().state, State::Up);
    // So long that it is asked so often, after pauses that grow.
    let (outage, least) = if stage.can.paused { (secs(10 * 60), 20) } else { (secs(15), 5) };
    let mut failures = 0;
    for round in 0..3 {
        faults.always(Site::Receive, Fault::Fail(ErrorKind::Unavailable));
        stage.send([message("a", 2 + round), message("b", 2 + round)]).await;
        // What was asked for before the outage may still come.
        let mut seen = Vec::new();
        while let Ok(delivery) = timeout(outage, receiver.recv()).await {
            let delivery = delivery.unwrap().expect("it is not closed");
            seen.push(text(delivery.message()));
            delivery.ack();
        }
        let health = receiver.health();
        assert_eq!(health.state, State::Down);
        assert!(health.receive_failures >= least, "{}", health.receive_failures);
        let (count, kind) = health.counts.failures["receive"];
        assert!(count > failures && count - failures < 60 && kind == ErrorKind::Unavailable, "{count}");
        failures = count;
        faults.heal();
        while seen.len() < 2 {
            let delivery = next(&receiver).await;
            seen.push(text(delivery.message()));
            delivery.ack();
        }
        seen.sort();
        assert_eq!(seen, [format!("a{}", 2 + round), format!("b{}", 2 + round)]);
        until("it is up again", || receiver.health().state == State::Up).await;
    }
    stage.settled().await;
}

/// As above, with what fails beneath the engine: reads, opening, committing, extending, deleting.
pub async fn c66_an_engine_recovers_for_ever(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    let open = stage.open_as(Join::with(&faults), |_| {}).await;
    stage.send([message("a", 1)]).await;
    expect(&open, "a1").await.ack();
    stage.settled().await;
    for site in [Site::Receive, Site::Read, Site::Open, Site::Commit, Site::Delete, Site::Extend, Site::Release] {
        faults.always(site, Fault::Fail(ErrorKind::Unavailable));
    }
    stage.send([message("a", 2)]).await;
    // What was asked for before the outage may still come; it is to come to its end then too.
    if let Ok(delivery) = timeout(secs(10), open.recv()).await {
        delivery.unwrap().expect("it is not closed").ack();
    }
    let failures = || open.health().counts.failures;
    until("calls fail again and again", || failures().values().any(|(count, _)| *count > 5)).await;
    stage.send([message("a", 3)]).await;
    nothing(&open, stage.can.watch(secs(60))).await;
    faults.heal();
    while let Ok(delivery) = timeout(stage.can.lease * 4, open.recv()).await {
        delivery.unwrap().expect("it is not closed").ack();
    }
    stage.settled().await;
}
