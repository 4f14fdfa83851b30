//! What we write is read by boto3, and what boto3 writes is read by us: payload, key, tags and ids as documented.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use integration_tests::{
    again::again,
    emulators::LocalStack,
    kinesis::{Stream, connect},
    queues::python,
};
use serde_json::{Value, json};
use strait_config::{Bus, Registry};
use strait_core::{Id, Key, Message, Producer as _};
use strait_emulators::Emulator;
use strait_kinesis::{Client, Envelope, Kinesis, KinesisProducer};

use crate::configuration::{connection, folder, receiver};

const SHARDS: usize = 4;

/// The script beside this file, run by the Python of LocalStack's installation, which pins boto3.
async fn boto(command: &str, stream: &Stream) -> Vec<Value> {
    python(Emulator::LocalStack, "kinesis/boto.py", &[&LocalStack::get().endpoint(), command, &stream.0]).await
}

async fn stream() -> (Client, Stream) {
    let client = again(connect).await.unwrap();
    let stream = Stream::create(&client, SHARDS).await.unwrap();
    (client, stream)
}

fn id(byte: u8) -> Id {
    Id::from_bytes([byte; 16])
}

fn base64(data: &[u8]) -> Value {
    json!(STANDARD.encode(data))
}

fn hash(text: &Value) -> u128 {
    text.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn boto3_reads_our_aggregates() {
    let (client, stream) = stream().await;
    let producer = again(|| KinesisProducer::open(&client, &stream.0, Envelope::Kpl)).await.unwrap();
    let key = |text: &str| Key::new(text).unwrap();
    let created = Message::new("created").with_key(key("клиент-7")).with_id(id(1));
    let batch = [
        created.with_header("by", "card").with_header("raw", vec![0xff]).with_header("text", "base64:"),
        Message::new("created").with_key(key("customer-8")).with_id(id(2)),
        Message::new(vec![0, 0xff]).with_key(key("клиент-7")).with_id(id(3)),
        Message::new("").with_key(key("клиент-7")).with_id(id(4)),
    ];
    for outcome in producer.send(&batch).await {
        outcome.unwrap();
    }
    // In several requests: those without a key of one request share a record.
    for number in 0..8 {
        let pair = [Message::new("1").with_id(id(number)), Message::new("2").with_id(id(number))];
        for outcome in producer.send(&pair).await {
            outcome.unwrap();
        }
    }
    let records = boto("read", &stream).await;
    let of = |key: &str| records.iter().filter(|record| record["key"] == key).collect::<Vec<_>>();
    assert_eq!(records.len(), 10, "{records:?}");

    let tag = |byte| json!(["strait-id", id(byte).to_string()]);
    let one = |key: &str, data: &[u8], tags: &[Value]| json!({ "key": key, "hash": null, "data": base64(data), "tags": tags });
    let headers =
        [tag(1), json!(["by", "card"]), json!(["raw", "base64:/w=="]), json!(["text", "base64:YmFzZTY0Og=="])];
    let name = "клиент-7";
    let ours = [one(name, b"created", &headers), one(name, &[0, 0xff], &[tag(3)]), one(name, b"", &[tag(4)])];
    assert_eq!(of(name).iter().map(|record| &record["messages"]).collect::<Vec<_>>(), [&json!(ours)]);
    assert_eq!(of("customer-8")[0]["messages"], json!([one("customer-8", b"created", &[tag(2)])]));

    let keyless = of("-");
    let mut shards: Vec<_> = keyless.iter().map(|record| record["hashes"].to_string()).collect();
    shards.sort();
    shards.dedup();
    assert_eq!(shards.len(), SHARDS, "what has no key is spread over all shards");
    for record in keyless {
        let (messages, hashes) = (record["messages"].as_array().unwrap(), &record["hashes"]);
        let inside = hash(&messages[0]["hash"]);
        // A KCL drops what does not belong to the shard by what stands inside.
        assert!((hash(&hashes[0])..=hash(&hashes[1])).contains(&inside), "{record}");
        assert_eq!(messages.iter().map(|it| &it["data"]).collect::<Vec<_>>(), [&base64(b"1"), &base64(b"2")]);
        assert!(messages.iter().all(|it| it["tags"][1] == json!(["strait-keyless", ""])), "{record}");
    }
    stream.delete(&client).await.unwrap();
}

#[tokio::test]
async fn boto3_reads_our_plain_records() {
    let (client, stream) = stream().await;
    let producer = again(|| KinesisProducer::open(&client, &stream.0, Envelope::Plain)).await.unwrap();
    let key = Key::new("клиент-7").unwrap();
    let payloads: [&[u8]; 3] = [b"{\"order\": 1}", b"\0\xff", b"last"];
    let mut batch: Vec<_> = payloads.map(|payload| Message::new(payload.to_vec()).with_key(key.clone())).into();
    batch.push(Message::new("keyless").with_id(id(1)));
    for outcome in producer.send(&batch).await {
        outcome.unwrap();
    }
    let records = boto("read", &stream).await;
    assert!(records.iter().all(|record| record["messages"].is_null()), "{records:?}");
    let of = |key: &str| {
        let of = records.iter().filter(|record| record["key"] == key);
        of.map(|record| record["data"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("клиент-7"), payloads.map(base64));
    assert_eq!(of(&id(1).to_string()), [base64(b"keyless")]);
    assert_eq!(records.len(), 4);
    stream.delete(&client).await.unwrap();
}

/// Two groups that read a stream, from its start.
fn bus(stream: &Stream, leases: &Path) -> Bus {
    let text = ["billing", "shipping"].map(|group| receiver(group, &stream.0, &folder(leases), ""));
    let text = [connection(), text.concat()].concat();
    Bus::builder(Registry::new().with(Kinesis)).environment(|_| None).text("strait.toml", &text).build().unwrap()
}

async fn receive(bus: &Bus, group: &str, count: usize) -> Vec<Message> {
    let receiver = again(|| bus.receiver(group)).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..count {
        let delivery = receiver.recv().await.unwrap().expect("it is open");
        all.push(delivery.message().clone());
        delivery.ack_confirmed().await.unwrap();
    }
    all
}

#[tokio::test]
async fn what_boto3_writes_is_read() {
    let (client, stream) = stream().await;
    let written = boto("write", &stream).await;
    let summary = client.kinesis().describe_stream_summary().stream_name(&stream.0).send().await.unwrap();
    let arn = summary.stream_description_summary.unwrap().stream_arn;
    // The record of a message, and its place in there.
    let id = |record: usize, place: u64| {
        let sequence = written[record]["sequence"].as_str().unwrap();
        Some(Id::derived([arn.as_bytes(), sequence.as_bytes(), &place.to_be_bytes()]))
    };
    let expected: [(&str, &[u8], _); 6] = [
        ("customer-7", b"{\"order\": 1}", id(0, 0)),
        ("customer-7", b"2", id(2, 0)),
        ("клиент", b"\0\xff", id(1, 0)),
        ("elsewhere", b"3", id(3, 0)),
        ("customer-8", b"first", id(4, 0)),
        ("customer-8", b"second", id(4, 1)),
    ];
    let leases = tempfile::tempdir().unwrap();
    let bus = bus(&stream, leases.path());
    // The ids are the same in each group, so that consumers can deduplicate by them.
    for group in ["billing", "shipping"] {
        let received = receive(&bus, group, expected.len()).await;
        for key in ["customer-7", "клиент", "elsewhere", "customer-8"] {
            let of = received.iter().filter(|message| message.key.as_ref().is_some_and(|it| it.as_str() == key));
            let found: Vec<_> = of.map(|message| (key, &message.payload[..], message.id)).collect();
            assert_eq!(found, expected.iter().copied().filter(|it| it.0 == key).collect::<Vec<_>>(), "{group}");
        }
        assert!(received.iter().all(|message| message.headers.is_empty()), "{received:?}");
    }
    bus.close().await.unwrap();
    stream.delete(&client).await.unwrap();
}
