//! Azure's clients read what the adapter sent, and it reads what they did.

use std::{sync::Arc, time::Duration};

use strait_core::{Budget, Id, Key, Message, Producer as _};
use strait_eventhubs::{Access, EventHubsLog, EventHubsProducer, Routing};
use strait_eventhubs_emulator::Emulator;
use strait_kit::{Log as _, Page, Record, Start};
use tokio::time::timeout;

use crate::{emulator, run};

const TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) fn access(emulator: &Emulator) -> Arc<Access> {
    Arc::new(Access::parse(&emulator.connection_string("orders")).unwrap())
}

/// Sends a message by each routing, which the scripts know.
async fn send(emulator: &Emulator) {
    for routing in [Routing::Partition, Routing::Service] {
        let producer = EventHubsProducer::open(&access(emulator), "orders", routing).await.unwrap();
        let message = Message::new("ours")
            .with_key(Key::new("customer-7").unwrap())
            .with_id(Id::from_bytes([1; 16]))
            .with_header("text", "ж")
            .with_header("bytes", &b"\x00\xff"[..])
            .with_header("content-type", "text/plain")
            .with_header("correlation-id", "c");
        for outcome in producer.send(&[message]).await {
            outcome.unwrap();
        }
        producer.close().await.unwrap();
    }
}

/// So many records of partition 0.
async fn read(emulator: &Emulator, count: usize) -> Vec<Record> {
    let log = EventHubsLog::open(&access(emulator), "orders", "billing").await.unwrap();
    let mut reader = log.open("0", &Start::Earliest, 1, 1 << 20).await.unwrap();
    let mut all = Vec::new();
    while all.len() < count {
        match timeout(TIMEOUT, reader.next(Budget::new(100, 1 << 20))).await.unwrap().unwrap() {
            Page::Records { records, .. } => all.extend(records),
            other => panic!("{other:?}"),
        }
    }
    reader.close().await.unwrap();
    log.close().await.unwrap();
    all
}

#[tokio::test]
async fn python_reads_ours() {
    let emulator = emulator().await;
    send(&emulator).await;
    run(true, "reads_ours", &emulator).await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn javascript_reads_ours() {
    let emulator = emulator().await;
    send(&emulator).await;
    run(false, "reads_ours", &emulator).await;
    emulator.shutdown().await;
}

/// azure-event-hubs-java#49, fe2o3-amqp#312: properties of other types break the reader.
#[tokio::test]
async fn what_python_sends_is_read_as_text() {
    let emulator = emulator().await;
    run(true, "every_type", &emulator).await;
    for record in read(&emulator, 2).await {
        let header = |name: &str| record.message.headers.get_str(name);
        for (name, expected) in [
            ("text", "ж"),
            ("number", "7"),
            ("negative", "-5"),
            ("fraction", "1.5"),
            ("yes", "true"),
            ("nothing", ""),
            ("uuid", "00000000-0000-0000-0000-000000000007"),
            ("content-type", "application/json"),
            ("correlation-id", "c"),
            ("message-id", "m"),
        ] {
            assert_eq!(header(name), Some(expected), "{name}");
        }
        assert_eq!(record.message.headers.get("bytes").unwrap(), &b"\x00\xff"[..]);
        assert!(header("time").unwrap().contains('T'), "{:?}", header("time"));
        assert!(record.message.payload.is_empty() && record.message.id.is_some());
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn what_python_sends_of_parts_is_read_as_json() {
    let emulator = emulator().await;
    run(true, "compound", &emulator).await;
    let [Record { message, .. }] = &read(&emulator, 1).await[..] else { panic!("one record") };
    let headers = ["list", "map", "text"].map(|name| message.headers.get_str(name));
    assert_eq!(headers, [Some(r#"[1,"a",null]"#), Some(r#"{"k":[true,1.5]}"#), Some("ж")]);
    assert_eq!(message.payload, "body");
    emulator.shutdown().await;
}

/// azure-sdk-for-java#32939: an event that a client cannot decode ends its partition for good.
#[tokio::test]
async fn what_javascript_sends_is_read_whatever_it_is() {
    let emulator = emulator().await;
    // With bodies that are null or undefined, and properties with an array and an object.
    run(false, "every_type", &emulator).await;
    let records = read(&emulator, 5).await;
    let positions: Vec<_> = records.iter().map(|record| record.position.to_string()).collect();
    assert_eq!(positions, ["0", "1", "2", "3", "4"]);
    let payloads: Vec<_> = records.iter().map(|record| &*record.message.payload).collect();
    let object = br#"{"any":["json"]}"#;
    assert_eq!(payloads, [&object[..], b"", b"", br#"[1,"2"]"#, object]);
    for index in [0, 3, 4] {
        let message = &records[index].message;
        for (name, expected) in [("text", "ж"), ("number", "7"), ("array", r#"["a","b"]"#), ("object", r#"{"a":1}"#)] {
            assert_eq!(message.headers.get_str(name), Some(expected), "{name}");
        }
        assert!(message.headers.get("strait-eventhubs-flaw").is_none() && message.id.is_some());
    }
    emulator.shutdown().await;
}
