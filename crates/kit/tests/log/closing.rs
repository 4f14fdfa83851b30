//! The end of a consumer.

use strait_core::{Consumer as _, ErrorKind};
use tokio::time::{sleep, timeout};

use crate::scene::{SECOND, Scene, next, receive, settle};

#[tokio::test(start_paused = true)]
async fn what_is_reported_while_closing_is_not_the_end() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|_| {});
    let batch = receive(&consumer).await;
    settle(&consumer, batch).await;
    scene.fail("commit a", ErrorKind::Unavailable, 1);
    let close = consumer.close();
    let report = async {
        sleep(SECOND / 20).await;
        scene.report(ErrorKind::Unsupported);
    };
    let (closed, ()) = tokio::join!(timeout(10 * SECOND, close), report);
    closed.expect("it closes").unwrap();
    let order = ["commit a 3", "release a 1", "close"].map(|entry| scene.when(entry));
    assert!(order.is_sorted(), "{:?}", scene.journal());
}

#[tokio::test(start_paused = true)]
async fn reports_hold_up_no_close() {
    let scene = Scene::default();
    scene.gain("a", 3, None);
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    for _ in 0..8 {
        scene.report(ErrorKind::Unsupported);
    }
    sleep(SECOND / 10).await;
    timeout(10 * SECOND, consumer.close()).await.expect("it closes").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_close_that_was_given_up_leaves_nothing_behind() {
    let scene = Scene::default();
    scene.gain("a", 1, None);
    let consumer = scene.open(|_| {});
    drop(receive(&consumer).await);
    scene.hang("release a");
    assert!(timeout(5 * SECOND, consumer.close()).await.is_err());
    assert!(timeout(SECOND, consumer.close()).await.is_err(), "it goes on");
    drop(consumer);
    sleep(SECOND).await;
    assert_eq!(scene.handles(), 1, "a task holds on to it");
}

#[tokio::test(start_paused = true)]
async fn an_ownership_that_ends_by_itself_ends_the_consumer() {
    let scene = Scene::default();
    let consumer = scene.open(|_| {});
    strait_kit::Ownership::close(&scene).await.unwrap();
    let received = timeout(SECOND, next(&consumer)).await.expect("nothing comes any more");
    assert_eq!(received.unwrap_err().kind(), ErrorKind::Closed);
}
