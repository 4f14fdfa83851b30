//! What is no longer stored is told from what never was.

use strait_kit::{Page, Start};
use strait_testkit::kinesis::{Fault, StreamSettings};

use super::{
    super::reading::{ALL, HOUR, MINUTE, Scene, next, told},
    SECOND, TAKEN, kinds, plan,
};

/// Case 23: a place that is no longer stored is told, however the service answers.
#[tokio::test]
async fn a_place_that_is_no_longer_stored_is_told() {
    for settings in [StreamSettings::default(), StreamSettings::default().with_skips_trimmed()] {
        let scene = Scene::pushed(settings.clone()).await;
        scene.put(0..2).await;
        let last = next(&mut *scene.read(Start::Earliest).await, ALL).await.pop().unwrap().position;
        scene.stub.advance(25 * HOUR);
        scene.put(2..3).await;
        let page = scene.read(Start::After(last)).await.next(ALL).await.unwrap();
        let Page::Trimmed { oldest } = page else { panic!("{page:?}") };
        scene.stub.advance(TAKEN);
        let first = next(&mut *scene.read(Start::Earliest).await, ALL).await.remove(0);
        assert_eq!(first.message.payload, "2");
        assert_eq!(oldest, settings.skips_trimmed.then_some(first.position));
    }
}

/// A record that is stored may be missing in an event.
#[tokio::test]
async fn a_record_that_is_missing_once_is_not_taken_for_lost() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..2).await;
    let last = next(&mut *scene.read(Start::Earliest).await, ALL).await.pop().unwrap().position;
    scene.put(2..3).await;
    scene.stub.advance(TAKEN);
    plan(&scene.stub, [Fault::Empty]);
    assert_eq!(told(&next(&mut *scene.read(Start::After(last)).await, ALL).await), ["2"]);
}

/// Cases 23 and 40: a shard where nothing comes for longer than records are kept is renewed at the number of its last event,
/// and nothing is taken for lost.
#[tokio::test]
async fn an_idle_shard_is_renewed_for_longer_than_records_are_kept() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    scene.stub.advance(5 * SECOND);
    let Page::Records { records, caught_up: true, .. } = reader.next(ALL).await.unwrap() else { panic!() };
    assert!(records.is_empty());
    // It ends, and the record that it ended behind is forgotten.
    scene.stub.advance(25 * HOUR);
    let Page::Records { records, caught_up: true, .. } = reader.next(ALL).await.unwrap() else { panic!() };
    assert!(records.is_empty());
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
    assert_eq!(kinds(&scene.stub), ["TRIM_HORIZON", "AFTER_SEQUENCE_NUMBER"]);
}

/// Case 37: a subscription to the latest record that ends before anything came does not pass what comes meanwhile.
#[tokio::test]
async fn what_came_while_the_first_subscription_ended_is_read() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let mut reader = scene.read(Start::Latest).await;
    let Page::Records { records, caught_up, .. } = reader.next(ALL).await.unwrap() else { panic!("no records") };
    assert!(records.is_empty() && caught_up);
    scene.stub.advance(5 * MINUTE);
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
}

/// Also where the event had no number to go on at.
#[tokio::test]
async fn without_a_number_the_latest_record_is_a_time() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    // Further than seconds, which the service's clock is told in.
    scene.stub.advance(MINUTE);
    plan(&scene.stub, [Fault::Without("ContinuationSequenceNumber")]);
    let mut reader = scene.read(Start::Latest).await;
    let Page::Records { records, .. } = reader.next(ALL).await.unwrap() else { panic!("no records") };
    assert!(records.is_empty());
    scene.stub.advance(5 * MINUTE);
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
    assert_eq!(kinds(&scene.stub), ["LATEST", "AT_TIMESTAMP"]);
}

/// An idle shard says where it may be opened again, however long that is ago.
#[tokio::test]
async fn an_idle_shard_is_resumed_at_a_time() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    scene.stub.advance(23 * HOUR + 58 * MINUTE);
    let resume = loop {
        if let Page::Records { resume: Some(resume), .. } = reader.next(ALL).await.unwrap() {
            break resume;
        }
        scene.stub.advance(5 * SECOND);
    };
    let Start::At(time) = &resume else { panic!("{resume:?}") };
    // An event may have waited for more than a minute until it was read.
    assert!(*time + MINUTE <= scene.stub.now() && *time + 4 * MINUTE > scene.stub.now());
    scene.stub.advance(HOUR);
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *scene.read(resume.clone()).await, ALL).await), ["1"]);
    scene.stub.advance(25 * HOUR);
    let page = scene.read(resume).await.next(ALL).await.unwrap();
    assert!(matches!(page, Page::Trimmed { oldest: None }), "{page:?}");
}
