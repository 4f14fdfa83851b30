//! A record of 10 MiB, the largest that there may be.

use std::time::{Duration, Instant};

use integration_tests::{
    again::again,
    kinesis::{Stream, connect, connect_to, stored},
    queues::answered,
};
use strait_core::{Key, Message, Producer as _};
use strait_kinesis::{Client, Envelope, KinesisLog, KinesisProducer};
use strait_kit::Log as _;
use strait_testkit::kinesis::{StreamSettings, Stub};

const MOST: usize = 10 << 20;

/// Writes a message that fills such a record to the byte, and reads it.
async fn written_and_read(client: &Client, stream: &str) {
    let producer = again(|| KinesisProducer::open(client, stream, Envelope::Kpl)).await.unwrap();
    assert_eq!(producer.limits().message_bytes, MOST);
    let of = |bytes: usize| Message::new(vec![7; bytes]).with_key(Key::new("k").unwrap());
    let around = producer.plan(&of(MOST - 1000)).unwrap().bytes - (MOST - 1000);
    let payload = MOST - around;
    let error = producer.send(&[of(payload + 1)]).await.remove(0).unwrap_err();
    assert!(error.to_string().starts_with("payload: the record would have 10485761 bytes"), "{error}");
    let began = Instant::now();
    producer.send(&[of(payload)]).await.remove(0).unwrap();
    let (written, began) = (began.elapsed(), Instant::now());
    let log = again(|| KinesisLog::open(client, stream, "all", Duration::from_secs(1))).await.unwrap();
    let shard = answered(|| log.partitions()).await.remove(0).id;
    let records = answered(|| stored(&log, &shard)).await;
    assert_eq!(records.len(), 1);
    assert!(records[0].message.payload == vec![7; payload]);
    eprintln!("written in {written:?}, read in {:?}", began.elapsed());
}

#[tokio::test]
async fn a_record_of_ten_mebibytes_is_written_and_read() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default().with_record_bytes(MOST));
    written_and_read(&connect_to(&stub.url()).await.unwrap(), "orders").await;
}

/// The same on LocalStack: `cargo test .. --test kinesis -- --ignored --nocapture ten_mebibytes`.
#[tokio::test]
#[ignore = "LocalStack stores it within a minute, and answers its read with HTTP 500"]
async fn localstack_takes_a_record_of_ten_mebibytes() {
    let client = again(connect).await.unwrap();
    let stream = Stream::create(&client, 1).await.unwrap();
    let arn = client.kinesis().describe_stream_summary().stream_name(&stream.0).send().await.unwrap();
    let arn = arn.stream_description_summary.unwrap().stream_arn;
    let update = client.kinesis().update_max_record_size().stream_arn(arn).max_record_size_in_kib(10 << 10);
    update.send().await.unwrap();
    written_and_read(&client, &stream.0).await;
    stream.delete(&client).await.unwrap();
}
