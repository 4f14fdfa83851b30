//! Partitions whose owners died: one message at a time, each named before it is handed out.

use strait_core::ErrorKind;
use strait_kit::{Quarantine, Suspect};
use tokio::time::sleep;

use crate::scene::{SECOND, Scene, receive, settle, texts};

fn name(partition: &str, position: u64, attempts: u32, settled: Option<u64>) -> (String, u64, u32, Option<u64>) {
    (partition.to_owned(), position, attempts, settled)
}

#[tokio::test(start_paused = true)]
async fn each_message_is_named_and_comes_alone() {
    let scene = Scene::default();
    let suspect = Suspect { position: 1.into(), attempts: 2 };
    scene.gain("a", 3, Some(Quarantine::new(Some(suspect))));
    let consumer = scene.open(|_| {});
    let first = receive(&consumer).await;
    assert_eq!((texts(&first), first[0].origin.crashes()), (vec!["a1".to_owned()], 2));
    assert_eq!(scene.named(), [name("a", 1, 3, None)], "it counts before it is handed out");
    assert!(receive(&consumer).await.is_empty(), "the first is in hand");
    settle(&consumer, first).await;
    let second = receive(&consumer).await;
    assert_eq!((texts(&second), second[0].origin.crashes()), (vec!["a2".to_owned()], 0));
    assert_eq!(scene.named()[1..], [name("a", 2, 1, Some(1))]);
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_is_stored_before_another_partition_is_tried() {
    let scene = Scene::default();
    scene.gain("a", 1, Some(Quarantine::default()));
    scene.gain("b", 1, Some(Quarantine::default()));
    let consumer = scene.open(|_| {});
    let first = receive(&consumer).await;
    settle(&consumer, first).await;
    assert_eq!(texts(&receive(&consumer).await), ["b1"]);
    assert!(scene.when("commit a 1") < scene.when("suspect b 1"), "else a1 is blamed for what b1 does");
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_the_tip() {
    let scene = Scene::default();
    scene.gain("a", 1, Some(Quarantine::default()));
    let consumer = scene.open(|_| {});
    let first = receive(&consumer).await;
    settle(&consumer, first).await;
    sleep(SECOND).await;
    (0..3).for_each(|_| scene.append("a"));
    assert_eq!(texts(&receive(&consumer).await), ["a2", "a3", "a4"]);
    assert_eq!(scene.named().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_ends_after_as_many_as_may_have_been_in_hand() {
    let scene = Scene::default();
    scene.gain("a", 20, Some(Quarantine::default()));
    let consumer = scene.open(|settings| settings.buffer = 4);
    for number in 1..=4 {
        let alone = receive(&consumer).await;
        assert_eq!(texts(&alone), [format!("a{number}")]);
        settle(&consumer, alone).await;
    }
    assert!(receive(&consumer).await.len() > 1);
    assert_eq!(scene.named().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_named_waits_and_others_do_not() {
    let scene = Scene::default();
    scene.fail("suspect a", ErrorKind::Unavailable, 6);
    scene.gain("a", 1, Some(Quarantine::default()));
    scene.gain("b", 1, None);
    let consumer = scene.open(|_| {});
    let other = receive(&consumer).await;
    assert_eq!(texts(&other), ["b1"]);
    assert!(receive(&consumer).await.is_empty());
    assert_eq!(texts(&receive(&consumer).await), ["a1"], "the store is back");
}

#[tokio::test(start_paused = true)]
async fn one_is_in_hand_over_all_partitions_unless_it_takes_too_long() {
    let scene = Scene::default();
    scene.gain("a", 1, Some(Quarantine::default()));
    scene.gain("b", 1, Some(Quarantine::default()));
    let consumer = scene.open(|settings| settings.grace = 25 * SECOND);
    let first = receive(&consumer).await;
    assert_eq!(first.len(), 1);
    assert!(receive(&consumer).await.is_empty() && receive(&consumer).await.is_empty());
    assert_eq!(receive(&consumer).await.len(), 1, "the first did not kill the process");
    assert_eq!(scene.named().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_is_named_again_with_the_same_count() {
    let scene = Scene::default();
    scene.gain("a", 2, Some(Quarantine::default()));
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    assert_eq!(texts(&receive(&consumer).await), ["a1"]);
    assert_eq!(scene.named(), [name("a", 1, 1, None), name("a", 1, 1, None)]);
}
