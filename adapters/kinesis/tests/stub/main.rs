//! What is asked of the service, and what is made of its answers: against a stub in process that is as strict as Kinesis.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod config;
mod fan_out;
mod group;
mod opening;
mod order;
mod outcomes;
mod reading;
mod records;
mod reports;
mod strict;
mod through;

use std::time::Duration;

use bytes::Bytes;
use strait_aws::{Access, Keys};
use strait_config::Secret;
use strait_core::{Id, Key, Message};
use strait_kinesis::{
    Client, Envelope, KinesisProducer,
    kpl::{Opened, open},
};
use strait_testkit::kinesis::{StreamSettings, Stub};

async fn connect(stub: &Stub) -> Client {
    let mut access = Access::default();
    access.region = Some("us-east-1".to_owned());
    access.endpoint = Some(stub.url());
    access.keys = Some(Keys { id: Secret::new("AKIA"), secret: Secret::new("hunter2"), session_token: None });
    // Megabytes take their time where many tests run at once.
    access.timeout = Duration::from_mins(1);
    Client::connect(&access).await.unwrap()
}

/// A stub with the stream `orders`, and a producer to it.
async fn orders(settings: StreamSettings, envelope: Envelope) -> (Stub, KinesisProducer) {
    let stub = Stub::start().await;
    stub.create("orders", settings);
    let producer = KinesisProducer::open(&connect(&stub).await, "orders", envelope).await.unwrap();
    (stub, producer)
}

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// A message of a key, or without one, whose id has its number.
fn message(name: &str, number: u64, payload: impl Into<Bytes>) -> Message {
    let message = Message::new(payload).with_id(Id::from_bytes(u128::from(number).to_be_bytes()));
    if name.is_empty() { message } else { message.with_key(key(name)) }
}

/// The messages that are stored, shard by shard, in order.
fn stored(stub: &Stub) -> Vec<Message> {
    let records = stub.stored("orders").into_iter().flat_map(|(_, records)| records);
    let open = |(key, data): (String, Vec<u8>)| match open(&data.clone().into()) {
        Opened::Messages(messages) => messages.collect(),
        Opened::Plain(_) => vec![Message::new(data).with_key(self::key(&key))],
    };
    records.flat_map(open).collect()
}

fn payloads(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8(message.payload.to_vec()).unwrap()).collect()
}
