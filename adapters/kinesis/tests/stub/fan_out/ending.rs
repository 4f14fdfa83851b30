//! A subscription ends, breaks off, falls silent, is refused or taken over, and reading goes on.

use std::time::Duration;

use strait_core::ErrorKind;
use strait_kit::{Log as _, Page, Start};
use strait_testkit::kinesis::{Fault, StreamSettings};

use super::{
    super::reading::{ALL, FIRST, MINUTE, Scene, next, take, told},
    SECOND, TAKEN, kinds, plan, wait,
};

/// After five minutes it is renewed, and nothing is missing or comes twice.
#[tokio::test]
async fn a_subscription_is_renewed_after_five_minutes() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    let mut reader = scene.read(Start::Earliest).await;
    for number in 0..3 {
        scene.put(number..number + 1).await;
        assert_eq!(told(&next(&mut *reader, ALL).await), [number.to_string()]);
        scene.stub.advance(5 * MINUTE);
        wait(SECOND).await;
    }
    scene.put(3..4).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["3"]);
    let at = "AT_SEQUENCE_NUMBER";
    assert_eq!(kinds(&scene.stub), ["TRIM_HORIZON", at, at, at]);
}

/// Renewing counts as no failure, however often in half a minute.
#[tokio::test]
async fn renewing_is_no_failure() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    let mut reader = scene.read(Start::Earliest).await;
    for number in 0..4 {
        scene.put(number..number + 1).await;
        assert_eq!(told(&next(&mut *reader, ALL).await), [number.to_string()]);
        scene.stub.advance(5 * MINUTE);
        wait(15 * SECOND).await;
    }
}

/// Case 38: the event at the end has no number to go on at. First the records, then the end.
#[tokio::test]
async fn a_shard_ends_with_its_children_behind_its_last_record() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..2).await;
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0", "1"]);
    let children = scene.stub.split("orders", FIRST);
    for _ in 0..2 {
        let Page::End { children: found } = reader.next(ALL).await.unwrap() else { panic!("it does not end") };
        assert_eq!(found.iter().map(|child| &*child.id).collect::<Vec<_>>(), children);
        assert!(found.iter().all(|child| child.parents == [FIRST.into()] && child.hashes.is_some()));
    }
}

/// Case 15: a reader that begins behind the last record, or in the middle, comes to the same end.
#[tokio::test]
async fn the_end_comes_again_wherever_it_is_resumed() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..2).await;
    let all = take(&mut *scene.read(Start::Earliest).await, 2).await;
    scene.stub.split("orders", FIRST);
    for (index, record) in all.iter().enumerate() {
        scene.stub.advance(TAKEN);
        let mut reader = scene.read(Start::After(record.position.clone())).await;
        let rest = if index == 0 { next(&mut *reader, ALL).await } else { Vec::new() };
        assert_eq!(told(&rest), told(&all[index + 1..]));
        assert!(matches!(reader.next(ALL).await.unwrap(), Page::End { children } if children.len() == 2));
    }
}

/// An event that lacks its children, and a connection that breaks, are no end.
#[tokio::test]
async fn what_breaks_off_is_not_the_end() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..2).await;
    scene.stub.split("orders", FIRST);
    plan(&scene.stub, [Fault::Without("ChildShards")]);
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0", "1"]);
    scene.stub.advance(TAKEN);
    assert!(matches!(reader.next(ALL).await.unwrap(), Page::End { children } if children.len() == 2));
    assert_eq!(kinds(&scene.stub).len(), 2);
}

/// A connection that breaks in the middle of an event loses nothing, and brings nothing twice.
#[tokio::test]
async fn reading_goes_on_where_a_connection_broke() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    plan(&scene.stub, [Fault::Cut(1), Fault::Cut(0)]);
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    scene.put(1..2).await;
    let breaks = async {
        for subscription in 2..4 {
            scene.stub.until(|stub| stub.subscriptions() == 0).await;
            scene.stub.advance(TAKEN);
            scene.stub.until(|stub| stub.seen("SubscribeToShard").len() == subscription).await;
        }
    };
    let (records, ()) = tokio::join!(next(&mut *reader, ALL), breaks);
    assert_eq!(told(&records), ["1"]);
    assert_eq!(kinds(&scene.stub)[1..], ["AT_SEQUENCE_NUMBER", "AT_SEQUENCE_NUMBER"]);
}

/// Where nothing comes for 15 s nothing will: an event comes at least every five.
#[tokio::test]
async fn a_silent_subscription_is_made_anew() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    plan(&scene.stub, [Fault::Silence(1)]);
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    scene.put(1..2).await;
    scene.stub.advance(TAKEN);
    wait(14 * SECOND).await;
    assert_eq!(scene.stub.subscriptions(), 1);
    wait(2 * SECOND).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
    assert_eq!(kinds(&scene.stub), ["TRIM_HORIZON", "AT_SEQUENCE_NUMBER"]);
}

/// Nor may the first event be waited for for ever, which the SDK waits for without a time-out.
#[tokio::test]
async fn a_subscription_that_never_begins_is_made_anew() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    plan(&scene.stub, [Fault::Silence(0)]);
    let mut reader = scene.read(Start::Earliest).await;
    let silent = async {
        scene.stub.until(|stub| stub.subscriptions() == 1).await;
        scene.stub.advance(TAKEN);
        wait(16 * SECOND).await;
    };
    let (records, ()) = tokio::join!(next(&mut *reader, ALL), silent);
    assert_eq!(told(&records), ["0"]);
}

/// Case 13: a handler that takes longer than a minute has its subscription given up, not parked, and loses nothing.
#[tokio::test]
async fn what_nobody_reads_for_a_minute_is_given_up() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let mut reader = scene.log.open(FIRST, &Start::Earliest, 1, 0).await.unwrap();
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    scene.put(1..2).await;
    while reader.ahead() == 0 {
        tokio::task::yield_now().await;
    }
    wait(59 * SECOND).await;
    assert_eq!(scene.stub.subscriptions(), 1);
    wait(2 * SECOND).await;
    scene.stub.until(|stub| stub.subscriptions() == 0).await;
    scene.put(2..3).await;
    scene.stub.advance(TAKEN);
    assert_eq!(told(&take(&mut *reader, 2).await), ["1", "2"]);
    assert_eq!(kinds(&scene.stub), ["TRIM_HORIZON", "AT_SEQUENCE_NUMBER"]);
}

/// Case 39: a member that takes a shard over waits for the five seconds in which it is another's, and wins.
#[tokio::test]
async fn a_shard_is_taken_over_after_five_seconds() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.stub.run_clock();
    scene.put(0..1).await;
    let mut before = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *before, ALL).await), ["0"]);
    let mut after = scene.read(Start::Earliest).await;
    let begun = tokio::time::Instant::now();
    let refused = async {
        scene.stub.until(|stub| stub.seen("SubscribeToShard").len() == 2 && stub.connections() == 1).await;
        wait(4 * SECOND).await;
        wait(Duration::ZERO).await;
        assert_eq!(scene.stub.seen("SubscribeToShard").len(), 2, "it waits for five seconds");
        wait(2 * SECOND).await;
    };
    let (records, ()) = tokio::join!(next(&mut *after, ALL), refused);
    assert_eq!(told(&records), ["0"]);
    assert!(begun.elapsed() >= 5 * SECOND && begun.elapsed() < 9 * SECOND, "{:?}", begun.elapsed());
    assert_eq!(scene.stub.seen("SubscribeToShard").len(), 3, "it was refused once");
    // The one before is told, and does not take it back at once.
    scene.put(1..2).await;
    tokio::select! {
        biased;
        records = next(&mut *before, ALL) => panic!("{records:?}"),
        records = next(&mut *after, ALL) => assert_eq!(told(&records), ["1"]),
    }
}

/// A call too many is no failure.
#[tokio::test]
async fn a_refused_call_is_no_failure() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let codes = [("LimitExceededException", 2 * SECOND), ("ResourceInUseException", TAKEN)];
    for (count, (code, pause)) in codes.into_iter().enumerate() {
        let calls = 2 * count + 1;
        scene.stub.advance(TAKEN);
        plan(&scene.stub, [Fault::Refuse(400, code)]);
        let mut reader = scene.read(Start::Earliest).await;
        let refused = async {
            scene.stub.until(|stub| stub.seen("SubscribeToShard").len() == calls && stub.connections() == 0).await;
            wait(pause).await;
        };
        let (records, ()) = tokio::join!(next(&mut *reader, ALL), refused);
        assert_eq!((told(&records), scene.stub.seen("SubscribeToShard").len()), (vec!["0".to_owned()], calls + 1));
        reader.close().await.unwrap();
        scene.stub.until(|stub| stub.connections() == 0).await;
    }
}

/// What is refused, or breaks off, for half a minute is one.
#[tokio::test]
async fn what_does_not_get_on_for_thirty_seconds_is_a_failure() {
    let faults = [
        (Fault::Refuse(400, "LimitExceededException"), ErrorKind::Throttled, "throttled"),
        (Fault::Cut(0), ErrorKind::Unavailable, "breaks off"),
        (Fault::Throw(0, "InternalFailureException"), ErrorKind::Unavailable, "breaks off"),
    ];
    for (fault, kind, text) in faults {
        let scene = Scene::pushed(StreamSettings::default()).await;
        scene.put(0..1).await;
        plan(&scene.stub, [fault.clone(), fault]);
        let mut reader = scene.read(Start::Earliest).await;
        let again = async {
            scene.stub.until(|stub| stub.seen("SubscribeToShard").len() == 1 && stub.connections() == 0).await;
            scene.stub.advance(TAKEN);
            wait(31 * SECOND).await;
        };
        let (page, ()) = tokio::join!(reader.next(ALL), again);
        let error = page.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        // Then it goes on.
        scene.stub.advance(TAKEN);
        assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    }
}

/// So is a subscription that brings no more than what was known, and breaks: as LocalStack's do at the end of a shard.
#[tokio::test]
async fn bringing_what_was_known_is_not_getting_on() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let last = next(&mut *scene.read(Start::Earliest).await, ALL).await.pop().unwrap().position;
    scene.stub.advance(TAKEN);
    plan(&scene.stub, std::iter::repeat_n(Fault::Cut(1), 3));
    let mut reader = scene.read(Start::After(last)).await;
    for _ in 0..3 {
        let page = reader.next(ALL).await;
        assert!(matches!(&page, Ok(Page::Records { records, .. }) if records.is_empty()), "{page:?}");
        // The next event, of nothing, is due, and cut off.
        scene.stub.advance(TAKEN);
        scene.stub.until(|stub| stub.connections() == 0).await;
        wait(16 * SECOND).await;
    }
    let error = reader.next(ALL).await.unwrap_err();
    assert!(error.to_string().contains("breaks off"), "{error}");
}
