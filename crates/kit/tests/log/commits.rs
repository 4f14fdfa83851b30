//! Progress is stored an interval after it was made, however it was made, and nothing is asked for while there is none.

use strait_core::{ErrorKind, Received};
use strait_kit::{LogConsumer, Quarantine};
use tokio::{runtime::Handle, time::sleep};

use crate::scene::{SECOND, Scene, receive, settle};

/// Opens it, and lets it rest until whatever was under way at first has ended.
async fn rested(scene: &Scene) -> LogConsumer {
    let consumer = scene.open(|settings| {
        (settings.commit_interval, settings.page) = (SECOND, 1);
    });
    sleep(100 * SECOND).await;
    consumer
}

/// What was stored of `a`.
fn commits(scene: &Scene) -> Vec<String> {
    scene.journal().into_iter().filter(|entry| entry.starts_with("commit a")).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_stored_after_the_interval_each_time() {
    let scene = Scene::default();
    scene.gain("a", 0, None);
    let consumer = rested(&scene).await;
    for number in 1..=3 {
        scene.append("a");
        settle(&consumer, receive(&consumer).await).await;
        sleep(SECOND / 2).await;
        assert_eq!(commits(&scene).len(), number - 1, "progress is gathered for an interval");
        sleep(SECOND).await;
        assert_eq!(commits(&scene).len(), number);
        sleep(100 * SECOND).await;
    }
    assert_eq!(commits(&scene), ["commit a 1", "commit a 2", "commit a 3"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_skipped_as_it_arrives_is_stored_though_nothing_is_handed_out() {
    let scene = Scene::default();
    scene.gain("a", 2, None);
    let consumer = rested(&scene).await;
    let mut batch = receive(&consumer).await;
    let second = batch.split_off(1);
    settle(&consumer, second).await;
    scene.slow("read a", 20 * SECOND);
    drop(batch); // it is read again, and what was settled is skipped once that comes again
    settle(&consumer, receive_slowly(&consumer).await).await;
    sleep(5 * SECOND).await;
    assert_eq!(commits(&scene), ["commit a 1"]);
    sleep(20 * SECOND).await;
    assert_eq!(commits(&scene), ["commit a 1", "commit a 2"]);
}

async fn receive_slowly(consumer: &LogConsumer) -> Vec<Received> {
    loop {
        let batch = receive(consumer).await;
        if !batch.is_empty() {
            return batch;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_while_a_commit_is_under_way_is_stored_after_it() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = rested(&scene).await;
    scene.slow("commit a", 10 * SECOND);
    settle(&consumer, receive(&consumer).await).await;
    sleep(5 * SECOND).await;
    scene.append("a");
    settle(&consumer, receive(&consumer).await).await;
    sleep(20 * SECOND).await;
    assert_eq!(commits(&scene), ["commit a 1", "commit a 2"]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_is_made_again_though_no_more_is_settled() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = rested(&scene).await;
    scene.fail("commit a", ErrorKind::Unavailable, 3);
    settle(&consumer, receive(&consumer).await).await;
    sleep(10 * SECOND).await;
    assert_eq!(commits(&scene).last().map(String::as_str), Some("commit a 1"));
}

#[tokio::test(start_paused = true)]
async fn one_that_rests_hands_over_at_once() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = rested(&scene).await;
    settle(&consumer, receive(&consumer).await).await;
    scene.revoke("a");
    sleep(SECOND / 4).await;
    assert!(scene.when("commit a 1") < scene.when("release a 1"), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn one_that_rests_hands_over_once_what_is_below_the_cut_is_settled() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = rested(&scene).await;
    let started = receive(&consumer).await;
    assert!(started[0].claim.start(std::time::Instant::now));
    scene.revoke("a");
    sleep(10 * SECOND).await;
    assert!(!scene.has("release a 1"));
    settle(&consumer, started).await;
    sleep(SECOND / 4).await;
    assert!(scene.when("commit a 1") < scene.when("release a 1"), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn one_that_rests_finishes_what_ends() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = rested(&scene).await;
    settle(&consumer, receive(&consumer).await).await;
    sleep(100 * SECOND).await;
    scene.split("a");
    sleep(SECOND / 4).await;
    assert!(scene.has("finish a 1"), "{:?}", scene.journal());
    drop(consumer);
}

#[tokio::test(start_paused = true)]
async fn one_that_rests_names_what_comes_in_quarantine() {
    let scene = Scene::default();
    let consumer = rested(&scene).await;
    scene.gain("a", 2, Some(Quarantine::new(None)));
    for number in 1..=2 {
        sleep(SECOND / 4).await;
        assert_eq!(scene.named().last().map(|named| named.1), Some(number));
        settle(&consumer, receive(&consumer).await).await;
    }
    sleep(2 * SECOND).await;
    assert_eq!(commits(&scene).last().map(String::as_str), Some("commit a 2"));
}

/// But for the sweep: twice a second, and up to twice more each time for the timer wheel.
#[tokio::test(start_paused = true)]
async fn one_that_has_nothing_to_do_sleeps() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND / 50);
    settle(&consumer, receive(&consumer).await).await;
    scene.slow("read a", 1000 * SECOND);
    sleep(100 * SECOND).await;
    let metrics = Handle::current().metrics();
    let before = metrics.worker_park_count(0);
    sleep(100 * SECOND).await;
    let wakes = metrics.worker_park_count(0) - before;
    assert!(wakes <= 700, "{wakes} in 100 s");
    drop(consumer);
}
