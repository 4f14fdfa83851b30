//! Sending, and what arrives.

use fe2o3_amqp::{
    Sendable,
    types::{
        definitions::{AmqpError, ErrorCondition},
        messaging::{
            AmqpSequence, AmqpValue, ApplicationProperties, Batch, Body, Data, Footer, Message, annotations::OwnedKey,
        },
        primitives::{Binary, SimpleValue, Symbol, Timestamp, Value},
    },
};
use strait_eventhubs_emulator::{Clock, Config, NEVER, Quota};
use tokio::time::timeout;

use crate::client::{Client, EARLIEST, Event, TIMEOUT, annotation, emulator, event, keyed, next, refusal, send};

#[tokio::test]
async fn properties_are_read() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let (status, hub) = client.read("orders", None).await;
    assert_eq!((status, hub.get(&Value::String("partition_count".into()))), (200, Some(&Value::Int(4))));
    let (status, partition) = client.read("orders", Some("3")).await;
    let value = |name: &str| partition.get(&Value::String(name.into())).cloned();
    assert_eq!((status, value("last_enqueued_time_utc")), (200, Some(Value::Timestamp(Timestamp::from(NEVER)))));
    assert_eq!(value("last_enqueued_sequence_number"), Some(Value::Long(-1)));
    assert_eq!(client.read("orders", Some("4")).await.0, 404);
    assert_eq!(client.read("others", None).await.0, 404);
    emulator.shutdown().await;
}

#[tokio::test]
async fn events_are_received_from_their_partition_in_order() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut to_hub = client.sender("orders").await;
    for text in ["a", "b"] {
        send(&mut to_hub, keyed(text, "customer-7")).await; // which the service has in partition 2 of 4
    }
    let mut to_partition = client.sender("orders/Partitions/2").await;
    send(&mut to_partition, event("c")).await;
    let mut receiver = client.receiver(2, "$Default", EARLIEST, None).await;
    for (sequence, text) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(next(&mut receiver).await, (i64::try_from(sequence).unwrap(), text.to_owned()));
    }
    send(&mut to_partition, event("d")).await;
    assert_eq!(next(&mut receiver).await.1, "d");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_batch_is_stored_in_one_partition() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    let inner = |text: &str| {
        Data(Binary::from([&[0, 0x53, 0x75, 0xa0, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()))
    };
    let batch = Message::builder().body(Batch::new(vec![inner("a"), inner("b"), inner("c")])).build();
    sender.send(Sendable::builder().message(batch).message_format(0x8001_3700).build()).await.unwrap();
    let filled = (0..4).find(|index| !emulator.namespace().partition("orders", *index).unwrap().empty).unwrap();
    let mut receiver = client.receiver(u32::try_from(filled).unwrap(), "$Default", EARLIEST, None).await;
    for text in ["a", "b", "c"] {
        assert_eq!(next(&mut receiver).await.1, text);
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_large_event_goes_through_many_frames() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    let text = "0123456789".repeat(100_000);
    send(&mut sender, event(&text)).await;
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    assert!(next(&mut receiver).await.1 == text);
    emulator.shutdown().await;
}

#[tokio::test]
async fn malformed_messages_are_rejected_at_once() {
    let emulator = emulator(Config { largest_message: 1000, ..Config::default() }).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    assert_eq!(sender.max_message_size(), Some(1000));
    // A batch whose sections are no messages.
    let batch = Sendable::builder().message(event("no message")).message_format(0x8001_3700).build();
    assert_eq!(refusal(&mut sender, batch).await.condition, ErrorCondition::AmqpError(AmqpError::DecodeError));
    send(&mut sender, event("a")).await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn requests_above_the_quota_are_rejected_as_busy() {
    let quota = Quota { events: Some(2), bytes: None };
    let emulator = emulator(Config { quota, clock: Clock::at(0), ..Config::default() }).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    send(&mut sender, event("a")).await;
    send(&mut sender, event("b")).await;
    let reason = refusal(&mut sender, event("c")).await;
    assert_eq!(reason.condition, ErrorCondition::Custom(Symbol::from("com.microsoft:server-busy")));
    assert!(reason.description.unwrap().contains("Please wait 4 seconds"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn everything_but_the_annotations_is_delivered_as_it_was_sent() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    let mut properties = ApplicationProperties::default();
    properties.0.insert("typed".into(), SimpleValue::Ubyte(7));
    let mut footer = Footer::default();
    footer.0.insert(OwnedKey::from(Symbol::from("sum")), Value::List(vec![Value::Null, Value::Float(1.5.into())]));
    let bodies = [
        Body::Data(Batch::new(vec![Data(Binary::from("a")), Data(Binary::from("")), Data(Binary::from("b"))])),
        Body::Value(AmqpValue(Value::Null)),
        Body::Value(AmqpValue(Value::List(vec![Value::Bool(true), Value::String("ж".into())]))),
        Body::Sequence(Batch::new(vec![AmqpSequence(vec![Value::Int(1)]), AmqpSequence(vec![])])),
    ];
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    for body in bodies {
        let message = Message {
            application_properties: Some(properties.clone()),
            footer: Some(footer.clone()),
            ..Message::builder().body(body).build()
        };
        sender.send(message.clone()).await.unwrap();
        let event: Event = timeout(TIMEOUT, receiver.recv()).await.unwrap().unwrap();
        assert!(annotation(&event, "x-opt-offset").is_some() && annotation(&event, "x-opt-enqueued-time").is_some());
        let stored = Message { message_annotations: None, ..event.into_message() };
        assert_eq!(stored, message);
    }
    emulator.shutdown().await;
}
