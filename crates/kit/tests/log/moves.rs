//! Partitions that are handed over to another member.

use std::sync::Arc;

use strait_core::ErrorKind;
use strait_kit::{Change, Start};
use strait_runtime::{DeadLetter, Meter, Receiver, ReceiverSettings};
use tokio::time::{Instant, sleep};

use crate::scene::{SECOND, Scene, receive, settle, texts};

#[tokio::test(start_paused = true)]
async fn a_partition_is_not_released_before_its_progress_is_committed() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|_| {});
    let batch = receive(&consumer).await;
    settle(&consumer, batch).await;
    scene.fail("commit a", ErrorKind::Unavailable, 2);
    scene.fail("commit a", ErrorKind::Denied, 1);
    scene.revoke("a");
    sleep(10 * SECOND).await;
    assert!(scene.when("commit a 3") < scene.when("release a 1"), "{:?}", scene.journal());
}

/// The seventh failure is followed by a pause of 12.8 s.
#[tokio::test(start_paused = true)]
async fn a_hand_over_waits_for_no_pause_that_grew_before_it() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    let batch = receive(&consumer).await;
    settle(&consumer, batch).await;
    scene.fail("commit a", ErrorKind::Unavailable, 7);
    sleep(15 * SECOND).await;
    assert!(!scene.has("commit a 3"), "{:?}", scene.journal());
    scene.revoke("a");
    sleep(2 * SECOND).await;
    assert!(scene.when("commit a 3") < scene.when("release a 1"), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_committed_is_released_after_the_grace() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|settings| settings.grace = 20 * SECOND);
    let batch = receive(&consumer).await;
    settle(&consumer, batch).await;
    scene.fail("commit a", ErrorKind::Unavailable, 1000);
    scene.revoke("a");
    sleep(19 * SECOND).await;
    assert!(!scene.has("release a 1"));
    sleep(2 * SECOND).await;
    assert!(scene.has("release a 1"), "the next owner waits no longer than that");
}

#[tokio::test(start_paused = true)]
async fn what_was_settled_before_a_claim_was_dropped_is_committed() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|_| {});
    let mut batch = receive(&consumer).await;
    let dropped = batch.pop();
    settle(&consumer, batch).await;
    drop(dropped);
    sleep(2 * SECOND).await; // it is read again from there, and nobody asks for what comes
    scene.revoke("a");
    sleep(SECOND).await;
    assert!(scene.when("commit a 2") < scene.when("release a 1"), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_dropped_during_a_commit_holds_up_no_call() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    scene.slow("commit a", 3 * SECOND);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    let mut batch = receive(&consumer).await;
    let dropped = batch.pop();
    settle(&consumer, batch).await;
    sleep(2 * SECOND).await;
    assert!(scene.has("commit a 2"), "it is under way");
    drop(dropped);
    sleep(5 * SECOND).await; // it is read again, and the commit has ended
    scene.revoke("a");
    sleep(SECOND).await;
    assert!(scene.has("release a 1"), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn a_slow_commit_holds_up_no_other_partition() {
    let scene = Scene::default();
    scene.hang("commit a");
    scene.gain("a", 1, None);
    scene.gain("b", 1, None);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    let mut held = Vec::new();
    while held.len() < 2 {
        held.extend(receive(&consumer).await);
    }
    settle(&consumer, held).await;
    sleep(2 * SECOND).await;
    assert!(scene.has("commit a 1"), "it is under way");
    scene.append("b");
    let batch = receive(&consumer).await;
    settle(&consumer, batch).await;
    sleep(2 * SECOND).await;
    assert!(scene.has("commit b 2"), "{:?}", scene.journal());
    scene.revoke("b");
    sleep(SECOND).await;
    assert!(scene.has("release b 1"), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn a_slow_release_holds_up_no_other_partition() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    scene.gain("b", 1, None);
    let consumer = scene.open(|_| {});
    scene.hang("release a");
    scene.revoke("a");
    sleep(SECOND).await;
    scene.revoke("b");
    sleep(SECOND).await;
    assert!(scene.has("release b 1"), "{:?}", scene.journal());
    drop(consumer);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_is_tried_again() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    scene.fail("release a", ErrorKind::Denied, 1);
    scene.revoke("a");
    sleep(2 * SECOND).await;
    assert!(scene.has("release a 1"), "else it is owned by this member as long as that lives: {:?}", scene.journal());
    drop(consumer);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_counted_once() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let meter = Meter::default();
    let consumer = scene.open(|settings| settings.observer = Arc::new(meter.clone()));
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.meter = meter;
    let receiver = Receiver::new(Arc::new(consumer), settings).unwrap();
    let running = receiver.recv().await.unwrap().unwrap();
    scene.say(Ok(Change::Lost { partition: "a".into(), epoch: 1 }));
    running.lost().await;
    running.ack();
    sleep(SECOND).await;
    assert_eq!(receiver.health().counts.claims_lost, 3);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_is_heard_late_moves_no_end_back() {
    let scene = Scene::default();
    scene.store("a", 1);
    let now = Instant::now().into_std();
    let until = Some(now + 5 * SECOND);
    let gained = Change::Gained {
        partition: "a".into(),
        epoch: 1,
        start: Start::Earliest,
        settled: None,
        until,
        quarantine: None,
    };
    scene.say(Ok(gained));
    let consumer = scene.open(|_| {});
    let batch = receive(&consumer).await;
    for seconds in [20, 10] {
        scene.say(Ok(Change::Renewed { until: now + seconds * SECOND }));
    }
    sleep(15 * SECOND).await;
    assert_eq!(batch[0].claim.until(), Some(now + 20 * SECOND));
    settle(&consumer, batch).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_read_to_its_end_and_not_delivered_is_not_finished() {
    let scene = Scene::default();
    scene.store("a", 3);
    scene.split("a");
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|_| {});
    sleep(SECOND).await;
    scene.revoke("a");
    sleep(SECOND).await;
    assert_eq!(scene.journal(), ["open a 1", "shut a", "release a 1"], "else its records are lost");
    drop(consumer);
}

#[tokio::test(start_paused = true)]
async fn what_is_read_to_its_end_and_settled_is_committed_and_finished() {
    let scene = Scene::default();
    scene.store("a", 3);
    scene.split("a");
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|_| {});
    let batch = receive(&consumer).await;
    settle(&consumer, batch).await;
    sleep(SECOND).await;
    assert_eq!(scene.journal(), ["open a 1", "shut a", "commit a 3", "finish a 1"]);
}

/// What ends without children has not ended: what became of it is looked for, and it is read again.
#[tokio::test(start_paused = true)]
async fn an_end_without_children_is_in_doubt_until_they_are_known() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    scene.split_into("a", false);
    scene.fail("finish a", ErrorKind::Unavailable, 3);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    settle(&consumer, receive(&consumer).await).await;
    sleep(SECOND).await;
    assert!(scene.has("finish a 1 unknown fails") && !scene.has("finish a 1"));
    // Something came after all, and what it became is told.
    scene.append("a");
    scene.split_into("a", true);
    let batch = receive(&consumer).await;
    assert_eq!(texts(&batch), ["a2"], "it is read again behind what is settled");
    settle(&consumer, batch).await;
    sleep(30 * SECOND).await;
    assert!(scene.when("commit a 2") < scene.when("finish a 1"));
    assert!(!scene.has("finish a 1 unknown"));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_was_removed_ends_alone() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    scene.remove("a");
    let consumer = scene.open(|_| {});
    settle(&consumer, receive(&consumer).await).await;
    sleep(SECOND).await;
    assert!(scene.has("finish a 1 removed"));
}
