//! Leases: how long they last, and what is lost with them.

use std::sync::Arc;

use strait_core::{ClaimState, ErrorKind, Received};
use strait_runtime::{DeadLetter, Receiver, ReceiverSettings};
use tokio::time::{Instant, advance, sleep, timeout};

use crate::{
    Fault, Faults, FaultyConsumer, Join, Needs, Rig, Site,
    stage::{
        PATIENCE, Stage, expect, message, messages, millis, next, nothing, receive, receives_nothing, refused, secs,
        take, text, until,
    },
};

fn state(received: &Received) -> ClaimState {
    received.claim.state(|| Instant::now().into_std())
}

/// A handler may take many leases: the message comes to nobody else meanwhile. Where there is a longest time, it ends
/// it, and the handler can hear of it.
pub async fn c35_a_slow_handler_keeps_its_message(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let (one, two) = (stage.open().await, stage.open().await);
    sleep(secs(5)).await; // until the two have shared what there is
    stage.send([message("a", 1)]).await;
    let (delivery, other) = tokio::select! {
        delivery = next(&one) => (delivery, &two),
        delivery = next(&two) => (delivery, &one),
    };
    nothing(other, stage.can.lease * 10).await;
    assert!(!delivery.is_lost());
    delivery.ack_confirmed().await.unwrap();
    stage.settled().await;

    let Some(longest) = stage.can.longest else { return };
    stage.send([message("a", 2)]).await;
    let either = async || tokio::select! { delivery = next(&one) => delivery, delivery = next(&two) => delivery };
    let delivery = either().await;
    let start = Instant::now();
    timeout(longest * 2, delivery.lost()).await.expect("it ends");
    let held = start.elapsed();
    assert!(held + secs(1) >= longest && held <= longest + stage.can.lease, "held for {held:?}");
    assert!(delivery.is_lost());
    // Whoever gets it in the same process waits until this one has ended: a key does not overlap with itself.
    assert_eq!(refused(delivery.ack_confirmed().await), ErrorKind::Lost);
    let again = either().await;
    assert_eq!(text(again.message()), "a2");
    again.ack_confirmed().await.unwrap();
    stage.settled().await;
}

/// When one claim of a key is lost, so are those behind it: the key starts over in order. Other keys never notice.
pub async fn c76_claims_of_a_key_are_lost_together(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    let faults = Faults::scripted();
    stage.send(messages("a", 1..4)).await;
    stage.holds(3).await;
    let member = stage.join(Join::with(&faults)).await;
    let held = receive(&member, 3).await;
    assert!(held.iter().all(|received| state(received) == ClaimState::Held));
    faults.script(if stage.can.is_log() { Site::Own } else { Site::Extend }, [Some(Fault::Lose)]);
    let revoked = timeout(stage.can.lease, held[0].claim.revoked()).await;
    revoked.expect("the provider takes the first away");
    let states: Vec<_> = held.iter().map(state).collect();
    if !stage.can.is_ordered() {
        // Without order each stands for itself, and asking for order is refused.
        assert_eq!(states, [ClaimState::Lost, ClaimState::Held, ClaimState::Held]);
        assert_eq!(refused(super::order::asking_for_order(&stage).await), ErrorKind::Unsupported);
        return;
    }
    assert_eq!(states, [ClaimState::Lost; 3]);
    let tokens: Vec<_> = held.iter().map(|received| received.claim.token()).collect();
    for outcome in member.consumer.settle(&tokens).await {
        assert_eq!(refused(outcome), ErrorKind::Lost);
    }
    drop(held);
    let again: Vec<_> = receive(&member, 3).await.iter().map(|received| text(&received.message)).collect();
    assert_eq!(again, ["a1", "a2", "a3"]);
}

/// As above, with a receiver: what is behind a lost message does not start before it was done again.
pub async fn c76_what_is_behind_a_lost_message_waits_for_it(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    if !stage.can.is_ordered() {
        assert_eq!(refused(super::order::asking_for_order(&stage).await), ErrorKind::Unsupported);
        return;
    }
    let faults = Faults::scripted();
    let open = stage.open_as(Join::with(&faults), |_| {}).await;
    stage.send(messages("a", 1..4)).await;
    let first = expect(&open, "a1").await;
    faults.script(if stage.can.is_log() { Site::Own } else { Site::Extend }, [Some(Fault::Lose)]);
    timeout(stage.can.lease, first.lost()).await.expect("the provider takes it away");
    first.ack();
    assert_eq!(take(&open, 3).await, ["a1", "a2", "a3"]);
    stage.settled().await;
    open.close().await.unwrap();

    // Also where only the settlement tells, and the claims behind it are still held.
    let faults = Faults::scripted();
    let member = stage.member().await;
    let consumer = FaultyConsumer::new(Arc::clone(&member.consumer), &faults);
    stage.send(messages("a", 4..7)).await; // before it receives: of a key that is in hand, no more may come
    stage.holds(3).await;
    let receiver = Receiver::new(consumer, ReceiverSettings::new(DeadLetter::Block).in_order()).unwrap();
    until("all are in hand", || receiver.health().counts.received == 3).await;
    faults.script(Site::Settle, [Some(Fault::Fail(ErrorKind::Lost))]);
    expect(&receiver, "a4").await.ack();
    assert_eq!(take(&receiver, 3).await, ["a4", "a5", "a6"]);
    stage.settled().await;
}

/// What is given back comes again oldest first, and not before the running message of its key has ended.
pub async fn c77_giving_back_is_oldest_first(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, per_key: 10, ..Needs::default() }).await;
    let faults = Faults::scripted();
    stage.send(messages("a", 1..5)).await;
    stage.holds(4).await;
    let member = stage.join(Join::with(&faults)).await;
    let mut held = receive(&member, 4).await;
    let at_once: Vec<_> = held.iter().map(|received| text(&received.message)).collect();
    assert_eq!(at_once, ["a1", "a2", "a3", "a4"], "several of a key are handed out at once");
    let first = held.remove(0);
    drop(held.remove(1)); // a3
    if stage.can.is_ordered() && !stage.can.is_log() {
        sleep(stage.can.lease / 6).await; // in all less than what is left of a lease that nobody extends
        assert!(faults.released().is_empty(), "a3 waits for a1 and a2, which are in hand");
        drop(held);
        receives_nothing(&member, stage.can.lease / 4).await;
        assert!(faults.released().is_empty(), "all wait for a1, which runs");
        member.consumer.settle(&[first.claim.token()]).await.pop().unwrap().unwrap();
        drop(first);
        let again: Vec<_> = receive(&member, 3).await;
        assert_eq!(again.iter().map(|received| text(&received.message)).collect::<Vec<_>>(), ["a2", "a3", "a4"]);
        assert_eq!(faults.released(), [1, 2, 3], "oldest first");
        let tokens: Vec<_> = again.iter().map(|received| received.claim.token()).collect();
        assert!(member.consumer.settle(&tokens).await.iter().all(Result::is_ok));
        stage.settled().await;
        return;
    }
    if stage.can.is_log() {
        member.consumer.settle(&[first.claim.token()]).await.pop().unwrap().unwrap();
        drop(first);
        let again: Vec<_> = receive(&member, 3).await;
        assert_eq!(again.iter().map(|received| text(&received.message)).collect::<Vec<_>>(), ["a2", "a3", "a4"]);
        assert!(held.iter().all(|received| state(received) == ClaimState::Lost), "they are lost together");
        return;
    }
    let again = receive(&member, 1).await;
    assert_eq!(text(&again[0].message), "a3");
    drop((again, held));
    sleep(secs(2)).await;
    assert_eq!(faults.released()[1..], [1, 3, 4], "oldest first");
    assert_eq!(refused(super::order::asking_for_order(&stage).await), ErrorKind::Unsupported);
}

/// A lease counts from the request that got it, not from the answer: what another process has is lost to the first.
pub async fn c79_a_lease_counts_from_its_request(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let faults = Faults::scripted();
    stage.send([message("a", 1)]).await;
    let slow = stage.join(Join::with(&faults)).await;
    faults.always(Site::Receive, Fault::Delay(stage.can.lease.mul_f64(0.8)));
    let received = receive(&slow, 1).await;
    slow.kill();
    let next = stage.member().await;
    receive(&next, 1).await;
    assert_eq!(state(&received[0]), ClaimState::Lost, "another process has it");
}

/// A process that was frozen: at its first look everything it held is lost, it settles nothing, and others have it.
pub async fn c79_a_frozen_process_settles_nothing(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send(["a", "b", "c", "d"].map(|key| message(key, 1))).await;
    let open = stage.open_with(|settings| settings.in_flight = 2).await;
    let (one, two) = (next(&open).await, next(&open).await);
    while open.member.meter.counts().received < 4 {
        sleep(millis(10)).await;
    }
    open.member.kill();
    let frozen = stage.can.lease * 3;
    if stage.can.paused {
        advance(frozen).await;
    } else {
        sleep(frozen).await;
    }
    assert!(one.is_lost() && two.is_lost(), "lost at the first look");
    let (late, later) = (one.ack_confirmed(), two.ack_confirmed());
    assert_eq!(refused(timeout(PATIENCE, late).await.expect("it is told")), ErrorKind::Lost);
    assert_eq!(refused(timeout(PATIENCE, later).await.expect("it is told")), ErrorKind::Lost);
    nothing(&open, secs(1)).await;
    let other = stage.open().await;
    let mut again = take(&other, 4).await;
    again.sort();
    assert_eq!(again, ["a1", "b1", "c1", "d1"]);
    nothing(&open, stage.can.watch(secs(30))).await;
    stage.settled().await;
}
