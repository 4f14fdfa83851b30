//! Aggregates, in both directions, with AWS's library for Python.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use integration_tests::queues::python;
use serde_json::{Value, json};
use strait_core::{Id, Key, Message};
use strait_emulators::Emulator;
use strait_kinesis::kpl::{Aggregate, Opened, open};

async fn library(arguments: &[&str]) -> Vec<Value> {
    python(Emulator::LocalStack, "kinesis/aggregates.py", arguments).await
}

fn record(mut aggregate: Aggregate, messages: &[Message]) -> String {
    for message in messages {
        aggregate.push(message).unwrap();
    }
    STANDARD.encode(aggregate.finish())
}

#[tokio::test]
async fn what_we_write_is_read() {
    let key = Key::new("клиент-7").unwrap();
    let keyed = [
        Message::new("created").with_key(key.clone()).with_id(Id::from_bytes([1; 16])),
        Message::new(vec![0, 0xff]).with_key(key.clone()).with_header("raw", vec![0xff]).with_header("by", "card"),
        Message::new("").with_key(key.clone()),
    ];
    let keyless = [Message::new("1").with_id(Id::from_bytes([2; 16])), Message::new("2")];
    let records = [record(Aggregate::of(&key), &keyed), record(Aggregate::keyless(7), &keyless)];
    let read = library(&["read", &records[0], &records[1]]).await;
    let one = |key: &str, hash: Value, data: &[u8]| json!({ "key": key, "hash": hash, "data": STANDARD.encode(data) });
    let name = "клиент-7";
    let ours = [one(name, Value::Null, b"created"), one(name, Value::Null, b"\0\xff"), one(name, Value::Null, b"")];
    assert_eq!(read[0], json!(ours));
    assert_eq!(read[1], json!([one("-", json!("7"), b"1"), one("-", json!("7"), b"2")]));
}

#[tokio::test]
async fn what_it_writes_is_read() {
    let written = library(&["write"]).await.remove(0);
    assert_eq!(written["key"], "customer-7");
    let data = STANDARD.decode(written["data"].as_str().unwrap()).unwrap().into();
    let Opened::Messages(messages) = open(&data) else { panic!("it is plain") };
    let found: Vec<_> = messages.map(|message| (message.key.unwrap(), message.payload, message.headers)).collect();
    let key = |number: usize| Key::new(&format!("customer-{number}")).unwrap();
    let none = strait_core::Headers::default;
    let expected =
        [(key(7), "created".into(), none()), (key(8), vec![0, 0xff].into(), none()), (key(7), "".into(), none())];
    assert_eq!(found, expected);
}
