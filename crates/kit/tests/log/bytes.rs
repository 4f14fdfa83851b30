//! What an engine holds, in bytes.

use tokio::time::{sleep, timeout};

use crate::scene::{SECOND, Scene, next, receive, settle};

const MESSAGE: usize = 1000;

#[tokio::test(start_paused = true)]
async fn what_is_delivered_counts_until_it_is_settled() {
    let scene = Scene::default();
    scene.store_sized("a", 100, MESSAGE);
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|settings| settings.buffer_bytes = 8 * MESSAGE);
    let mut held = Vec::new();
    while let Ok(batch) = timeout(SECOND, next(&consumer)).await {
        held.extend(batch.unwrap());
    }
    assert!((8..=9).contains(&held.len()), "{} messages are held", held.len());
    sleep(SECOND).await;
    assert!((8 * MESSAGE..=9 * MESSAGE).contains(&scene.held()), "{} bytes are measured", scene.held());
    // Out of order: it is bytes that make room, also behind what is not settled.
    let last = held.split_off(1);
    let count = last.len();
    settle(&consumer, last).await;
    assert!(!receive(&consumer).await.is_empty(), "{count} messages have made room");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_larger_than_the_share_comes_by_itself() {
    let scene = Scene::default();
    scene.store_sized("a", 3, MESSAGE);
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|settings| settings.buffer_bytes = 1);
    for _ in 0..3 {
        let batch = receive(&consumer).await;
        assert_eq!(batch.len(), 1);
        settle(&consumer, batch).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_may_hold_that_is_pushed_to_counts() {
    let scene = Scene::default();
    scene.push();
    scene.store_sized("a", 100, MESSAGE);
    scene.gain_in("a", 1, None);
    let consumer = scene.open(|settings| settings.buffer_bytes = 8 * MESSAGE);
    let mut held = Vec::new();
    while let Ok(batch) = timeout(SECOND, next(&consumer)).await {
        held.extend(batch.unwrap());
    }
    assert!((6..=7).contains(&held.len()), "{} messages beside a quarter of the share", held.len());
    sleep(SECOND).await;
    assert!((8 * MESSAGE..=9 * MESSAGE).contains(&scene.held()), "{} bytes are measured", scene.held());
}
