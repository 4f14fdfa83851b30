//! What becomes of what is sent, under each fault.

use std::time::{Duration, Instant};

use strait_core::{ErrorKind, Id, Key, Message, Producer as _};
use strait_eventhubs::Routing;
use strait_eventhubs_emulator::{Config, Disruption, Idle, SendFault};
use tokio::time::sleep;

use crate::{Scene, message, send};

/// How long a sender whose link is gone may take.
const SOON: Duration = Duration::from_secs(2);
/// The links of a producer that do not send: two for claims on each of its two connections, and two for properties.
const ASKING: usize = 6;

/// fe2o3-amqp#200, telegraf#15941: a send after an idle half hour hangs, or a producer never connects again.
#[tokio::test]
async fn a_link_that_was_detached_while_idle_is_attached_again() {
    let idle = Idle { sender: Duration::from_millis(200), ..Idle::default() };
    let scene = Scene::with(Config { idle, ..Config::default() }).await;
    let producer = scene.producer(Routing::Partition).await;
    send(&producer, message("a", 0)).await.unwrap();
    scene.emulator.open().wait_for(|open| open.links <= ASKING).await.unwrap();
    let start = Instant::now();
    send(&producer, message("a", 1)).await.unwrap();
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

/// azure-sdk-for-js#5944, azure-sdk-for-go#25356: sending is dead after `amqp:connection:forced` until a restart.
#[tokio::test]
async fn sending_goes_on_after_links_and_connections_are_gone() {
    let scene = Scene::new().await;
    let producer = scene.producer(Routing::Partition).await;
    let detach = Disruption::DetachSenders { hub: None };
    let all = [(detach, ASKING), (Disruption::CloseConnections, 0), (Disruption::DropConnections, 0)];
    for (number, (disruption, left)) in all.into_iter().enumerate() {
        send(&producer, message("a", number)).await.unwrap();
        let mut open = scene.emulator.open();
        scene.emulator.faults().disrupt(disruption);
        open.wait_for(|open| open.links <= left).await.unwrap();
        let start = Instant::now();
        // This side may not know yet: then it cannot know what became of the request.
        if let Err(error) = send(&producer, message("b", number)).await {
            assert!(error.is_ambiguous(), "{error}");
            send(&producer, message("b", number)).await.unwrap();
        }
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn an_outcome_says_whether_the_events_may_be_stored() {
    let scene = Scene::new().await;
    let producer = scene.producer(Routing::Partition).await;
    for (fault, kind, is_ambiguous) in [
        (SendFault::Release, ErrorKind::Unavailable, true),
        (SendFault::Modify, ErrorKind::Unavailable, true),
        (SendFault::LoseAnswer, ErrorKind::Unavailable, true),
        (SendFault::Busy, ErrorKind::Throttled, false),
    ] {
        scene.emulator.faults().next_sends(fault, 1);
        let error = send(&producer, message("a", 0)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (kind, is_ambiguous), "{fault:?}: {error}");
        let pause = (kind == ErrorKind::Throttled).then_some(Duration::from_secs(4));
        assert_eq!(error.retry_after(), pause, "azure-sdk-for-js#12587: throttling is told");
        send(&producer, message("a", 1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_never_settled_ends_in_time() {
    let scene = Scene::new().await.with_timeout(Duration::from_millis(500));
    let producer = scene.producer(Routing::Partition).await;
    scene.emulator.faults().next_sends(SendFault::NeverSettle, 1);
    let start = Instant::now();
    let error = send(&producer, message("a", 0)).await.unwrap_err();
    assert!(error.is_ambiguous() && start.elapsed() < SOON, "{error} after {:?}", start.elapsed());
    send(&producer, message("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_frozen_service_costs_no_more_than_a_timeout() {
    let scene = Scene::new().await.with_timeout(Duration::from_millis(500));
    let producer = scene.producer(Routing::Partition).await;
    send(&producer, message("a", 0)).await.unwrap();
    scene.emulator.faults().freeze(true);
    let start = Instant::now();
    assert_eq!(send(&producer, message("a", 1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(start.elapsed() < SOON * 2, "{:?}", start.elapsed());
    scene.emulator.faults().freeze(false);
    // The one that waited is stored, or not: it was ambiguous.
    for number in 2.. {
        if send(&producer, message("a", number)).await.is_ok() {
            break;
        }
        assert!(number < 20, "it does not recover");
        sleep(Duration::from_millis(100)).await;
    }
}

/// azure-sdk-for-java#43039: the key is lost where the client picks the partition.
#[tokio::test]
async fn both_routings_put_a_key_into_one_partition() {
    let scene = Scene::new().await;
    let last = || [0, 1, 2, 3].map(|index| scene.emulator.namespace().partition("orders", index).unwrap().last);
    for number in 0..20 {
        let key = format!("customer-{number}");
        let mut moved = Vec::new();
        for routing in [Routing::Partition, Routing::Service] {
            let producer = scene.producer(routing).await;
            let before = last();
            send(&producer, message(&key, 0)).await.unwrap();
            moved.push((0..4).find(|index| last()[*index] > before[*index]));
            producer.close().await.unwrap();
        }
        assert!(moved[0].is_some() && moved[0] == moved[1], "{key}: {moved:?}");
    }
}

/// azure-event-hubs-dotnet#384, azure-sdk-for-rust#5101: what is accepted as a batch, or as an event, is refused by the service.
#[tokio::test]
async fn the_largest_message_is_accepted_and_a_larger_one_is_not() {
    let scene = Scene::new().await;
    let producer = scene.producer(Routing::Service).await;
    let most = producer.limits().message_bytes;
    let large = |bytes: usize| {
        let key = Key::new(&"k".repeat(128)).unwrap();
        Message::new(vec![7; bytes]).with_key(key).with_id(Id::from_bytes([1; 16]))
    };
    let envelope = producer.plan(&large(1000)).unwrap().bytes - 1000;
    let fits = large(most - envelope);
    assert_eq!(producer.plan(&fits).unwrap().bytes, most);
    send(&producer, fits).await.unwrap();
    assert_eq!(send(&producer, large(1 << 21)).await.unwrap_err().kind(), ErrorKind::Invalid);
    send(&producer, message("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_sent_in_one_request_and_in_order() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 5000).await;
    let log = scene.log().await;
    let mut reader = crate::open(&log, &partition, strait_kit::Start::Earliest, 1).await;
    let records = crate::read(&mut *reader, 5000).await;
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record.message.payload, format!("a-{number}"));
    }
    reader.close().await.unwrap();
}
