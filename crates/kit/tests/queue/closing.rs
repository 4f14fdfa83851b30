//! What a close finds in hand is released, or reported.

use std::time::Duration;

use strait_core::{Budget, Consumer as _, ErrorKind, Received};
use strait_kit::{QueueConsumer, QueueSettings};
use tokio::time::{Instant, sleep, timeout};

use crate::stub::Stub;

const SECOND: Duration = Duration::from_secs(1);
const COUNT: u64 = 350;

async fn open(stub: &Stub) -> (QueueConsumer<Stub>, Vec<Received>) {
    let consumer = QueueConsumer::new(stub.clone(), QueueSettings::default());
    let received = consumer.receive(Budget::new(1000, 1 << 20)).await.unwrap();
    assert_eq!(received.len() as u64, COUNT);
    (consumer, received)
}

/// Each is released exactly once, in order.
fn all_released(stub: &Stub) {
    assert_eq!(stub.released(), (0..COUNT).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_release_under_way_is_waited_for_and_the_rest_is_released_by_the_close() {
    let stub = Stub::of(COUNT);
    stub.release_takes(3 * SECOND);
    let (consumer, mut received) = open(&stub).await;
    let running = received.split_off(340);
    drop(received);
    sleep(SECOND).await;
    assert_eq!(stub.released(), [0; 0], "they are being released");
    consumer.close().await.unwrap();
    drop(running);
    all_released(&stub);
    assert!(stub.calls().iter().all(|count| *count <= 100), "{:?}", stub.calls());
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_broken_off_goes_on_where_it_was() {
    let stub = Stub::of(COUNT);
    stub.release_takes(SECOND);
    let (consumer, _received) = open(&stub).await;
    assert!(timeout(SECOND * 5 / 2, consumer.close()).await.is_err());
    assert_eq!(stub.released().len(), 200);
    consumer.close().await.unwrap();
    all_released(&stub);
    consumer.close().await.unwrap();
    assert_eq!(stub.calls().len(), 5, "nothing is released after all of it");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_released_for_a_moment_is_tried_again() {
    let stub = Stub::of(COUNT);
    let (consumer, received) = open(&stub).await;
    stub.release_fails([ErrorKind::Unavailable, ErrorKind::Throttled, ErrorKind::Unavailable]);
    consumer.close().await.unwrap();
    drop(received);
    all_released(&stub);

    let stub = Stub::of(COUNT);
    let (_consumer, received) = open(&stub).await;
    stub.release_fails([ErrorKind::Unavailable]);
    drop(received);
    sleep(10 * SECOND).await;
    let mut released = stub.released();
    released.sort_unstable();
    assert_eq!(released, (0..COUNT).collect::<Vec<_>>(), "also what was dropped while it is open");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_released_at_all_is_counted_and_reported() {
    let stub = Stub::of(COUNT);
    let (consumer, received) = open(&stub).await;
    stub.release_fails(vec![ErrorKind::Unavailable; 9]);
    let start = Instant::now();
    let error = consumer.close().await.unwrap_err();
    assert!(start.elapsed() < 3 * SECOND, "{:?}", start.elapsed());
    let text = "stub: 350 messages of \"orders\" could not be released, and come again when their leases end: as told";
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, text));
    assert_eq!(consumer.close().await.unwrap_err().to_string(), text, "however often it is asked for");
    drop(received);

    let stub = Stub::of(COUNT);
    let (consumer, _received) = open(&stub).await;
    stub.release_fails([ErrorKind::Denied]);
    let error = consumer.close().await.unwrap_err();
    assert!(error.to_string().starts_with("stub: 100 messages"), "{error}");
    assert_eq!((error.kind(), stub.calls().len()), (ErrorKind::Denied, 4), "what is refused is not tried again");
}
