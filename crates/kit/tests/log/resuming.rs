//! Partitions of which nothing comes for long: where they go on is stored in place of a position that is forgotten.

use strait_core::Consumer as _;
use strait_kit::Quarantine;
use tokio::time::sleep;

use crate::scene::{SECOND, Scene, receive, settle, texts};

fn resumed(scene: &Scene) -> usize {
    scene.journal().iter().filter(|entry| *entry == "resume a").count()
}

#[tokio::test(start_paused = true)]
async fn an_idle_partition_stores_where_it_goes_on_every_hour_and_when_it_is_handed_over() {
    let scene = Scene::default();
    scene.resume();
    scene.gain("a", 1, None);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    settle(&consumer, receive(&consumer).await).await;
    sleep(1800 * SECOND).await;
    assert_eq!((scene.has("commit a 1"), resumed(&scene)), (true, 0));
    sleep(1900 * SECOND).await;
    assert_eq!(resumed(&scene), 1);
    sleep(3600 * SECOND).await;
    assert_eq!(resumed(&scene), 2);
    // What comes is progress again, and the hour begins anew.
    scene.append("a");
    settle(&consumer, receive(&consumer).await).await;
    sleep(3500 * SECOND).await;
    assert_eq!((scene.has("commit a 2"), resumed(&scene)), (true, 2));
    consumer.close().await.unwrap();
    assert_eq!(resumed(&scene), 3);
    let journal = scene.journal();
    assert!(journal.iter().rposition(|entry| entry == "resume a") < Some(scene.when("release a 1")), "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn it_is_never_beyond_what_is_unsettled_or_was_dropped_unread() {
    let scene = Scene::default();
    scene.resume();
    scene.gain("a", 3, None);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    let mut batch = receive(&consumer).await;
    let held = batch.pop().unwrap();
    settle(&consumer, batch).await;
    sleep(3 * 3600 * SECOND).await;
    assert_eq!((scene.has("commit a 2"), resumed(&scene)), (true, 0), "a3 is in hand");
    settle(&consumer, vec![held]).await;
    sleep(2 * SECOND).await;
    scene.append("a");
    sleep(SECOND).await; // it is read, and waits to be handed out
    consumer.close().await.unwrap();
    assert_eq!((scene.has("commit a 3"), resumed(&scene)), (true, 0), "a4 was dropped unread");
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_and_comes_again_is_not_delivered() {
    let scene = Scene::default();
    scene.store("a", 2);
    scene.gain_settled("a", 2);
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    assert!(receive(&consumer).await.is_empty());
    scene.append("a");
    let batch = receive(&consumer).await;
    assert_eq!(texts(&batch), ["a3"]);
    settle(&consumer, batch).await;
    sleep(2 * SECOND).await;
    assert_eq!(scene.journal(), ["open a 1", "commit a 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_in_quarantine_stores_no_place_before_it_is_known_to_have_caught_up() {
    let scene = Scene::default();
    scene.resume();
    scene.unsure();
    scene.gain("a", 1, Some(Quarantine::default()));
    let consumer = scene.open(|settings| settings.commit_interval = SECOND);
    settle(&consumer, receive(&consumer).await).await;
    sleep(3 * 3600 * SECOND).await;
    assert_eq!((scene.has("commit a 1"), resumed(&scene)), (true, 0), "what the owner before died of may be to come");
    consumer.close().await.unwrap();
    assert_eq!(resumed(&scene), 0);
}
