//! Partitions that are split and merged.

use std::sync::{Arc, Mutex};

use strait_core::ErrorKind;
use strait_kit::Start;
use tokio::time::{sleep, timeout};

use super::order::assert_in_order;
use crate::{
    Join, Needs, Reshard, Rig,
    stage::{Open, Stage, message, millis, receive, refused, secs, text},
};

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Sends a round of messages to every key.
async fn send(stage: &Stage, round: usize) {
    for number in 5 * round..5 * (round + 1) {
        stage.send(KEYS.map(|key| message(key, number))).await;
    }
}

/// Works until nothing comes any more, and says what was done.
async fn work(open: &Open) -> Vec<String> {
    let mut done = Vec::new();
    while let Ok(delivery) = timeout(secs(60), open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        done.push(text(delivery.message()));
        delivery.ack();
    }
    done
}

/// While messages come and go, partitions are split and merged: a child is read once all of its parents is settled, so
/// that the order of a key holds, and nothing is lost or done twice.
pub async fn c56_a_parent_is_settled_before_its_children(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    if !stage.can.reshards {
        return assert_eq!(refused(stage.channel.reshard(Reshard::Split).await), ErrorKind::Unsupported);
    }
    let done: Arc<Mutex<Vec<String>>> = Arc::default();
    let work = async || {
        let open = stage.open().await;
        while let Ok(delivery) = timeout(secs(60), open.recv()).await {
            let delivery = delivery.unwrap().unwrap();
            let text = text(delivery.message());
            // One that waits keeps the children of its partition waiting, whoever is to have them.
            if text.ends_with('3') && delivery.attempt() == 1 {
                delivery.retry_after("not yet", secs(4));
            } else {
                done.lock().unwrap().push(text);
                delivery.ack();
            }
        }
    };
    let change = async {
        for (round, how) in
            [Reshard::Split, Reshard::Split, Reshard::Merge, Reshard::Split, Reshard::Merge].iter().enumerate()
        {
            send(&stage, round).await;
            stage.channel.reshard(*how).await.unwrap();
            sleep(millis(1500)).await;
        }
    };
    tokio::join!(work(), work(), change);
    stage.settled().await;
    let done = done.lock().unwrap();
    assert_in_order(&done, 150);
    assert_eq!(done.len(), 150, "nothing comes twice");
}

/// What a partition holds that was closed while nobody consumed is delivered, before what its children hold: to a group
/// that was there, and to a new one.
pub async fn c57_what_a_closed_parent_holds_is_delivered(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    if !stage.can.reshards {
        return assert_eq!(refused(stage.channel.reshard(Reshard::Merge).await), ErrorKind::Unsupported);
    }
    for (round, how) in [Reshard::Split, Reshard::Merge, Reshard::Merge].into_iter().enumerate() {
        send(&stage, round).await;
        stage.channel.reshard(how).await.unwrap();
    }
    send(&stage, 3).await;
    let new = stage.open_as(Join::group("new").starting(Start::Earliest), |_| {}).await;
    for open in [new, stage.open().await] {
        let done = work(&open).await;
        assert_in_order(&done, 120);
        assert_eq!(done.len(), 120, "nothing comes twice");
    }
    stage.settled().await;
}

/// A process that leaves has read a closed partition to its end, and delivered little of it: the next delivers the rest.
pub async fn c57_what_was_read_to_its_end_and_not_delivered_is_delivered(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    if !stage.can.reshards {
        return assert_eq!(refused(stage.channel.reshard(Reshard::Split).await), ErrorKind::Unsupported);
    }
    send(&stage, 0).await;
    stage.channel.reshard(Reshard::Split).await.unwrap();
    // Without a receiver, which would have the next in hand.
    let one = stage.member().await;
    let first = receive(&one, 1).await;
    let mut done: Vec<_> = first.iter().map(|received| text(&received.message)).collect();
    let tokens: Vec<_> = first.iter().map(|received| received.claim.token()).collect();
    assert!(one.consumer.settle(&tokens).await.iter().all(Result::is_ok));
    drop(first);
    sleep(secs(2)).await;
    one.consumer.close().await.unwrap();
    done.extend(work(&stage.open().await).await);
    assert_in_order(&done, 30);
    assert_eq!(done.len(), 30, "nothing is missing, and nothing comes twice");
    stage.settled().await;
}
