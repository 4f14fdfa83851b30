//! Readers: when they are opened, closed, and opened again.

use std::sync::Arc;

use strait_core::{Consumer as _, ErrorKind};
use strait_kit::{LogConsumer, LogSettings, Ownership, Partition, Start, Static, Trimmed};
use strait_runtime::{DeadLetter, Meter, Receiver, ReceiverSettings, State};
use tokio::time::{sleep, timeout};

use crate::scene::{SECOND, Scene, next, receive, settle, texts};

#[tokio::test(start_paused = true)]
async fn a_reader_is_closed_before_its_partition_is_released() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    scene.gain("b", 1, None);
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    scene.revoke("a");
    sleep(SECOND).await;
    assert!(scene.when("shut a") < scene.when("release a 1"), "{:?}", scene.journal());
    consumer.close().await.unwrap();
    let order = ["shut b", "release b 1", "close"].map(|entry| scene.when(entry));
    assert!(order.is_sorted(), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_close_holds_up_nothing_for_long() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    scene.hang("shut a");
    timeout(3 * SECOND, consumer.close()).await.expect("it closes").unwrap();
    assert!(scene.when("release a 1") < scene.when("close"));
}

#[tokio::test(start_paused = true)]
async fn an_opening_that_does_not_end_holds_up_nothing_for_long() {
    let scene = Scene::default();
    scene.hang("open a");
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    assert!(receive(&consumer).await.is_empty());
    timeout(3 * SECOND, consumer.close()).await.expect("it closes").unwrap();
    assert!(scene.when("release a 1") < scene.when("close"));
}

#[tokio::test(start_paused = true)]
async fn a_tenure_is_lost_that_the_provider_gave_to_somebody_else() {
    for call in ["read a", "open a"] {
        let scene = Scene::default();
        scene.store("a", 1);
        scene.gain("b", 1, None);
        let consumer = scene.open(|_| {});
        let others = receive(&consumer).await;
        scene.fail(call, ErrorKind::Lost, 1);
        scene.gain_in("a", 1, None);
        sleep(SECOND).await;
        assert_eq!(scene.journal().iter().filter(|entry| *entry == "returned a 1").count(), 1, "{:?}", scene.journal());
        assert!(!scene.has("release a 1"), "it is not ours to release");
        if call == "read a" {
            assert!(scene.when("shut a") < scene.when("returned a 1"));
        }
        scene.gain_in("a", 2, None);
        assert_eq!(texts(&receive(&consumer).await), ["a1"], "it is gained anew");
        settle(&consumer, others).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_panics_while_it_reads_has_failed_to_and_the_partition_is_opened_again() {
    for (call, journal) in [
        ("open a", &["open a panics", "open a 1"][..]),
        ("read a", &["open a 1", "read a panics", "shut a", "open a 1"]),
    ] {
        let scene = Scene::default();
        scene.panic(call, 1);
        scene.gain("a", 1, None);
        let consumer = scene.open(|_| {});
        let told = timeout(SECOND, next(&consumer)).await.expect("it is told").unwrap_err();
        assert_eq!(told.kind(), ErrorKind::Other);
        assert_eq!(texts(&receive(&consumer).await), ["a1"]);
        let measured = [Some(ErrorKind::Other), None].map(|failed| ("a".to_owned(), failed));
        assert_eq!(scene.measured(), measured);
        assert_eq!(scene.journal(), journal);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_panics_while_it_closes_holds_up_nothing() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    settle(&consumer, receive(&consumer).await).await;
    scene.panic("shut a", 1);
    timeout(SECOND, consumer.close()).await.expect("it closes").unwrap();
    let order = ["shut a panics", "release a 1", "close"].map(|entry| scene.when(entry));
    assert!(order.is_sorted(), "{:?}", scene.journal());
}

/// An ownership that panics is one that failed: nothing that follows from it is left undone.
#[tokio::test(start_paused = true)]
async fn calls_for_what_is_owned_that_panic_are_tried_again() {
    let scene = Scene::default();
    scene.gain("a", 2, None);
    scene.gain("b", 1, None);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    for call in ["commit a", "release a", "finish b", "leave", "close"] {
        scene.panic(call, 1);
    }
    for _ in ["a", "b"] {
        settle(&consumer, receive(&consumer).await).await;
    }
    scene.split("b");
    sleep(10 * SECOND).await;
    assert!(scene.when("commit a panics") < scene.when("commit a 2"));
    assert!(scene.when("finish b panics") < scene.when("finish b 1"));
    timeout(10 * SECOND, consumer.close()).await.expect("it closes").unwrap_err();
    assert!(scene.when("leave panics") < scene.when("leave"));
    assert!(scene.when("release a panics") < scene.when("release a 1"));
    assert!(scene.has("close panics"), "and that is how it was closed");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_failed_is_closed_before_it_is_opened_again() {
    let scene = Scene::default();
    scene.fail("read a", ErrorKind::Unavailable, 1);
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    assert_eq!(texts(&receive(&consumer).await), ["a1"]);
    assert_eq!(scene.journal(), ["open a 1", "shut a", "open a 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_is_read_again_by_one_reader_at_a_time() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    assert_eq!(texts(&receive(&consumer).await), ["a1"]);
    assert_eq!(scene.journal(), ["open a 1", "shut a", "open a 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_partition_is_read_again_until_somebody_mends_it() {
    let scene = Scene::default();
    scene.store("a", 5);
    scene.trim("a", 3);
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|_| {});
    for _ in 0..3 {
        let failed = timeout(60 * SECOND, next(&consumer)).await.expect("it says so again");
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
    }
    scene.trim("a", 0);
    let mended = timeout(60 * SECOND, next(&consumer)).await.expect("it is noticed");
    assert_eq!(mended.unwrap().len(), 5);
    let measured = scene.measured();
    let (last, failures) = measured.split_last().unwrap();
    assert!(failures.len() >= 3 && failures.iter().all(|(_, failed)| *failed == Some(ErrorKind::NotFound)));
    assert_eq!(*last, ("a".to_owned(), None));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_failed_and_is_read_again_by_another_reader_fails_no_more() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|_| {});
    let batch = receive(&consumer).await;
    scene.fail("read a", ErrorKind::Unavailable, 4);
    sleep(17 * SECOND / 10).await; // the pause after the last goes on
    assert_eq!(scene.measured().last(), Some(&("a".to_owned(), Some(ErrorKind::Unavailable))));
    drop(batch);
    sleep(SECOND).await;
    assert_eq!(receive(&consumer).await.len(), 3);
    assert_eq!(scene.measured().last(), Some(&("a".to_owned(), None)));
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_trimmed_wherever_it_is_read_is_not_read_without_a_pause() {
    let scene = Scene::default();
    scene.store("a", 5);
    scene.trim("a", 3);
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|settings| settings.trimmed = Trimmed::Skip);
    sleep(10 * SECOND).await;
    let opened = scene.journal().iter().filter(|entry| entry.starts_with("open")).count();
    assert!(opened < 10, "{opened} times");
    drop(consumer);
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_once_a_partition() {
    let scene = Scene::default();
    scene.fail("open a", ErrorKind::Denied, 1000);
    scene.fail("open b", ErrorKind::NotFound, 1000);
    scene.gain("a", 1, None);
    scene.gain("b", 1, None);
    let consumer = scene.open(|_| {});
    sleep(3600 * SECOND).await;
    let mut told = Vec::new();
    while let Ok(failed) = timeout(SECOND / 100, next(&consumer)).await {
        told.push(failed.unwrap_err().kind());
    }
    assert_eq!(told, [ErrorKind::Denied, ErrorKind::NotFound], "the newest of each");
}

#[tokio::test(start_paused = true)]
async fn health_is_not_up_while_a_partition_cannot_be_read() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let meter = Meter::default();
    let consumer = scene.open(|settings| settings.observer = Arc::new(meter.clone()));
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.meter = meter;
    let receiver = Receiver::new(Arc::new(consumer), settings).unwrap();
    receiver.recv().await.unwrap().unwrap().ack();
    scene.store("b", 5);
    scene.trim("b", 3);
    scene.gain_in("b", 1, None);
    for _ in 0..100 {
        scene.append("a");
        receiver.recv().await.unwrap().unwrap().ack();
        sleep(SECOND).await;
        let health = receiver.health();
        assert_ne!(health.state, State::Up);
        assert_eq!(health.counts.failing.get("b"), Some(&ErrorKind::NotFound));
    }
    scene.trim("b", 0);
    for _ in 0..5 {
        timeout(60 * SECOND, receiver.recv()).await.expect("it is noticed").unwrap().unwrap().ack();
    }
    assert_eq!(receiver.health().state, State::Up);
}

#[tokio::test(start_paused = true)]
async fn a_fixed_ownership_gives_a_lost_tenure_again_from_where_it_came() {
    let scene = Scene::default();
    scene.store("a", 3);
    let ownership = Arc::new(Static::new([(Partition::new("a"), Start::Earliest)]));
    let mut settings = LogSettings::default();
    settings.buffer = 2;
    let consumer = LogConsumer::new(Arc::new(scene.clone()), Arc::clone(&ownership) as Arc<dyn Ownership>, settings);
    let batch = receive(&consumer).await;
    assert_eq!(texts(&batch), ["a1", "a2"]);
    settle(&consumer, batch).await;
    let third = receive(&consumer).await;
    sleep(2 * SECOND).await;
    assert_eq!(ownership.progress(), [("a".into(), 2.into())].into());
    scene.fail("read a", ErrorKind::Lost, 1);
    third[0].claim.revoked().await;
    drop(third);
    assert_eq!(texts(&receive(&consumer).await), ["a3"]);
    assert!(scene.when("open a 1") < scene.when("open a 2"), "in a new epoch: {:?}", scene.journal());
}
