//! What is pushed is what a call would bring.

use std::time::Duration;

use strait_core::{Budget, ErrorKind, Lag, Position};
use strait_kinesis::KinesisLog;
use strait_kit::{Log as _, Page, Start};
use strait_testkit::kinesis::{Fault, StreamSettings};

use super::{
    super::{
        connect,
        reading::{ALL, FIRST, MINUTE, Scene, next, take, told},
    },
    SECOND, TAKEN, plan,
};

/// Cases 20, 21: positions are those of polling, and each can be resumed at.
#[tokio::test]
async fn reading_goes_on_behind_any_message() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..5).await;
    scene.put(5..6).await;
    let all = take(&mut *scene.read(Start::Earliest).await, 6).await;
    assert_eq!(told(&all), ["0", "1", "2", "3", "4", "5"]);
    let polled = KinesisLog::open(&connect(&scene.stub).await, "orders", "billing", MINUTE).await.unwrap();
    let polled = take(&mut *polled.open(FIRST, &Start::Earliest, 1, 1 << 20).await.unwrap(), 6).await;
    for (record, polled) in all.iter().zip(&polled) {
        assert_eq!((&record.position, &record.message), (&polled.position, &polled.message));
        assert!(record.stored_at.is_some() && record.stored_at == polled.stored_at);
    }
    for (index, record) in all[..5].iter().enumerate() {
        scene.stub.advance(TAKEN);
        let rest = take(&mut *scene.read(Start::After(record.position.clone())).await, 5 - index).await;
        assert_eq!(told(&rest), told(&all[index + 1..]));
    }
}

/// What comes by and by is pushed, without another call.
#[tokio::test]
async fn what_is_stored_later_is_pushed() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    let mut reader = scene.read(Start::Earliest).await;
    for number in 0..3 {
        scene.put(number..number + 1).await;
        assert_eq!(told(&next(&mut *reader, ALL).await), [number.to_string()]);
    }
    assert_eq!((scene.stub.seen("SubscribeToShard").len(), scene.stub.seen("GetRecords").len()), (1, 0));
    assert_eq!(scene.stub.subscriptions(), 1);
    reader.close().await.unwrap();
    scene.stub.until(|stub| stub.subscriptions() == 0).await;
}

/// An event of what is stored says how far behind it is, and one of nothing that all has come.
#[tokio::test]
async fn lag_is_what_an_event_says() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    // An event has a thousand records.
    for number in 0..1001 {
        scene.stub.put("orders", "k", format!("{number}"));
    }
    scene.stub.advance(MINUTE);
    let mut reader = scene.read(Start::Earliest).await;
    let all = Budget::new(1000, 1 << 20);
    let mut lags = Vec::new();
    for _ in 0..3 {
        let Page::Records { records, lag, caught_up, resume } = reader.next(all).await.unwrap() else { panic!() };
        assert_eq!(caught_up, resume.is_some());
        lags.push((records.len(), lag, caught_up));
        scene.stub.advance(5 * SECOND);
    }
    let behind = |seconds| Some(Lag::Time(Duration::from_secs(seconds)));
    assert_eq!((lags[0].0, lags[1], lags[2]), (1000, (1, behind(0), false), (0, behind(0), true)));
    assert_eq!((lags[0].1, lags[0].2), (behind(60), false));
}

/// What an event brought beyond a budget is handed out by and by.
#[tokio::test]
async fn what_an_event_brought_is_handed_out_within_each_budget() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..40).await;
    let mut reader = scene.log.open(FIRST, &Start::Earliest, 1, 0).await.unwrap();
    let mut all = Vec::new();
    while all.len() < 40 {
        let records = next(&mut *reader, Budget::new(7, 1 << 20)).await;
        assert!(all.len() + records.len() == 40 || reader.ahead() > 0, "it says what it holds");
        assert!(records.len() <= 7);
        all.extend(told(&records));
    }
    assert_eq!(all, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(reader.ahead(), 0);
    // Where records are pushed all of it may be held at any time.
    let reader = scene.log.open(FIRST, &Start::Earliest, 1, 1 << 20).await.unwrap();
    assert_eq!(reader.ahead(), 1 << 20);
}

/// Case 24: a time that has not come yet by the service's clock is waited for.
#[tokio::test]
async fn a_time_that_has_not_come_yet_is_waited_for() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    let mut reader = scene.read(Start::At(scene.stub.now() + MINUTE)).await;
    let Page::Records { records, caught_up, .. } = reader.next(ALL).await.unwrap() else { panic!("no records") };
    assert!(records.is_empty() && !caught_up);
    scene.stub.advance(2 * MINUTE);
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
}

/// Neither what is not found nor what is refused is the end of a shard; and a position of another shard is refused.
#[tokio::test]
async fn nothing_else_is_the_end_of_a_shard() {
    let scene = Scene::pushed(StreamSettings::default().with_shards(2)).await;
    let (missing, invalid) = ("ResourceNotFoundException", "InvalidArgumentException");
    for fault in [Fault::Refuse(400, missing), Fault::Refuse(400, invalid), Fault::Throw(0, missing)] {
        plan(&scene.stub, [fault]);
        scene.stub.advance(TAKEN);
        let error = scene.read(Start::Earliest).await.next(ALL).await.unwrap_err();
        assert!([ErrorKind::NotFound, ErrorKind::Invalid].contains(&error.kind()), "{error}");
    }
    let of_the_other = Position::from(&*format!("4960{:012}{:040}", 1, 0));
    let error = scene.read(Start::After(of_the_other)).await.next(ALL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "case 14: {error}");
}

/// What only others can mend is told at once, also in the middle.
#[tokio::test]
async fn a_key_that_may_not_be_used_is_told() {
    let scene = Scene::pushed(StreamSettings::default()).await;
    scene.put(0..1).await;
    plan(&scene.stub, [Fault::Throw(1, "KMSDisabledException")]);
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
    let error = reader.next(ALL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("its KMS key is disabled"), "{error}");
}
