//! What the service does to who reads and who sends for a while.

use std::time::{Duration, Instant};

use fe2o3_amqp::{Connection, Sender, Session, sasl_profile::SaslProfile};
use fe2o3_amqp_types::{
    messaging::{Message as Wire, Outcome},
    primitives::Value,
};
use strait_core::{ErrorKind, Position, Producer as _};
use strait_eventhubs::Routing;
use strait_eventhubs_emulator::{Access, Config, HubSettings, Retention};
use strait_kit::{Log as _, Page, Start};

use crate::{AHEAD, Scene, after, message, open, page, read, send};

/// How soon a peer that is silent has to be noticed.
const NOTICED: Duration = Duration::from_secs(90);

/// azure-sdk-for-java#11003, azure-webjobs-sdk#1434: events are lost where the service throttles.
#[tokio::test]
async fn a_share_of_busy_answers_loses_nothing_and_doubles_nothing() {
    let scene = Scene::new().await;
    let producer = scene.producer(Routing::Partition).await;
    scene.emulator.faults().busy(0.1);
    let mut throttled = 0;
    for number in 0..300 {
        while let Err(error) = send(&producer, message("a", number)).await {
            assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Throttled, false), "{error}");
            throttled += 1;
        }
    }
    assert!(throttled > 0, "a tenth of 300 is none with a chance of 1 in 10^13");
    let log = scene.log().await;
    let partition = scene.holder();
    let mut reader = open(&log, &partition, Start::Earliest, 1).await;
    for (number, record) in read(&mut *reader, 300).await.iter().enumerate() {
        assert_eq!(record.message.payload, format!("a-{number}"));
    }
    reader.close().await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_busy_throughout_says_so_at_once() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 3).await;
    let producer = scene.producer(Routing::Partition).await;
    scene.emulator.faults().busy(1.0);
    let start = Instant::now();
    for number in 3..20 {
        let error = send(&producer, message("a", number)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(Duration::from_secs(4))));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Reading goes on meanwhile, and sending once it is over.
    let log = scene.log().await;
    let mut reader = open(&log, &partition, Start::Earliest, 1).await;
    assert_eq!(read(&mut *reader, 3).await.len(), 3);
    scene.emulator.faults().busy(0.0);
    send(&producer, message("a", 3)).await.unwrap();
    assert_eq!(read(&mut *reader, 1).await[0].message.payload, "a-3");
    reader.close().await.unwrap();
}

/// azure-sdk-for-java#15164, azure-sdk-for-python#35948: a partition silently stops being read.
#[tokio::test]
async fn a_frozen_peer_is_noticed_by_who_reads() {
    // On another thread, since the time of this one is to run ahead.
    let scene = Scene::apart(Config::default());
    let partition = scene.fill("a", 3).await;
    let log = scene.log().await;
    let mut reader = open(&log, &partition, Start::Earliest, 1).await;
    read(&mut *reader, 3).await;
    scene.emulator.faults().freeze(true);
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = loop {
        match reader.next(strait_core::Budget::new(10, 1 << 20)).await {
            Ok(Page::Records { records, .. }) => assert!(records.is_empty()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
        assert!(start.elapsed() < NOTICED, "it is not noticed");
    };
    assert!(start.elapsed() < NOTICED, "{:?}", start.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    tokio::time::resume();
    scene.emulator.faults().freeze(false);
    let _ = reader.close().await; // it is over
    let mut reader = open(&log, &partition, after(0), 2).await;
    assert_eq!(read(&mut *reader, 2).await.len(), 2);
}

/// azure-event-hubs-spark#488: a position that is older than retention. The service starts at the oldest event, silently.
#[tokio::test]
async fn what_retention_has_removed_is_told() {
    let retention = Retention { events: 10, ..Retention::default() };
    let hub = HubSettings { retention, ..HubSettings::new("kept", 1) };
    let scene = Scene::with(Config::default().hub(hub)).await;
    let producer = scene.producer_of("kept").await;
    let fill = async |range: std::ops::Range<usize>| {
        for outcome in producer.send(&range.map(|number| message("a", number)).collect::<Vec<_>>()).await {
            outcome.unwrap();
        }
    };
    fill(0..5).await;
    let log = scene.log_of("kept").await;
    let mut reader = open(&log, "0", Start::Earliest, 1).await;
    assert_eq!(read(&mut *reader, 5).await.len(), 5);
    reader.close().await.unwrap();
    fill(5..100).await;
    let oldest = u64::try_from(scene.emulator.namespace().partition("kept", 0).unwrap().begin).unwrap();
    assert!(oldest > 5, "{oldest}");
    let mut reader = log.open("0", &after(4), 2, AHEAD).await.unwrap();
    match page(&mut *reader).await.unwrap() {
        Page::Trimmed { oldest: Some(position) } => assert_eq!(position, Position::Number(oldest)),
        other => panic!("{other:?}"),
    }
    reader.close().await.unwrap();
    // From the oldest on all is there; right behind what was trimmed nothing is missing.
    for (epoch, start) in [(3, Start::Earliest), (4, after(oldest - 1))] {
        let mut reader = log.open("0", &start, epoch, AHEAD).await.unwrap();
        let records = read(&mut *reader, usize::try_from(100 - oldest).unwrap()).await;
        assert_eq!(records[0].position, Position::Number(oldest));
        reader.close().await.unwrap();
    }
}

/// azure-sdk-for-java#32939: an event that cannot be decoded ends its partition for good.
#[tokio::test]
async fn what_is_no_event_stops_nothing() {
    let access = Access { open: true, ..Access::default() };
    let scene = Scene::with(Config { access, ..Config::default() }).await;
    let address = scene.emulator.address();
    let mut connection = Connection::builder()
        .container_id("raw")
        .sasl_profile(SaslProfile::Anonymous)
        .open(&*format!("amqp://{address}"))
        .await
        .unwrap();
    let mut session = Session::begin(&mut connection).await.unwrap();
    let mut sender = Sender::attach(&mut session, "raw", "orders/Partitions/0").await.unwrap();
    // The emulator takes one level more than the adapter.
    let deep = (0..32).fold(Value::List(Vec::new()), |inner, _| Value::List(vec![inner]));
    for value in [Value::from("before"), deep, Value::from("behind")] {
        let event = Wire::builder().value(value).build();
        let outcome = sender.send(event).await.unwrap();
        assert!(matches!(outcome, Outcome::Accepted(_)), "{outcome:?}");
    }
    connection.close().await.unwrap();
    let log = scene.log().await;
    let mut reader = open(&log, "0", Start::Earliest, 1).await;
    let records = read(&mut *reader, 3).await;
    let payloads: Vec<_> = records.iter().map(|record| &*record.message.payload).collect();
    assert_eq!(payloads, [&b"before"[..], b"", b"behind"]);
    let flaws = records.iter().map(|record| record.message.headers.get_str("strait-eventhubs-flaw"));
    assert_eq!(flaws.collect::<Vec<_>>(), [None, Some("undecodable"), None]);
    assert_eq!(records[1].position, Position::Number(1));
    assert!(records.iter().all(|record| record.message.id.is_some()));
    reader.close().await.unwrap();
}
