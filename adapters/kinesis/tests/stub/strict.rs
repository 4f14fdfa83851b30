//! The stub refuses what Kinesis does, so that what is sent to it is shown to be legal.

use aws_sdk_kinesis::{
    error::ProvideErrorMetadata as _,
    primitives::Blob,
    types::{PutRecordsRequestEntry, ShardIteratorType},
};
use strait_kinesis::Envelope;
use strait_testkit::kinesis::StreamSettings;

use super::orders;

fn entry(key: &str, bytes: usize) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(vec![7; bytes])).build().unwrap()
}

#[tokio::test]
async fn the_stub_refuses_what_kinesis_refuses() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Plain).await;
    let put = async |entries: Vec<PutRecordsRequestEntry>| {
        let reply = producer.client().put_records().stream_name("orders").set_records(Some(entries)).send().await;
        reply.map(|reply| reply.failed_record_count).map_err(|error| error.code().map(str::to_owned))
    };
    let refused = || Err(Some("InvalidArgumentException".to_owned()));
    let mib = |count: usize| (0..count).map(|_| entry("k", (1 << 20) - 1)).collect::<Vec<_>>();
    assert_eq!(put(vec![entry("k", 1); 501]).await, refused());
    assert_eq!(put(vec![entry("k", 1); 500]).await, Ok(Some(0)));
    assert_eq!(put([mib(10), vec![entry("k", 0)]].concat()).await, refused());
    assert_eq!(put(mib(10)).await, Ok(Some(0)));
    assert_eq!(put(vec![entry("k", 1 << 20)]).await, refused());
    assert_eq!(put(vec![entry(&"€".repeat(256), 1)]).await, Ok(Some(0)));
    assert_eq!(put(vec![entry(&"k".repeat(257), 1)]).await, refused());
    assert_eq!(stub.stored("orders")[0].1.len(), 511);
}

#[tokio::test]
async fn a_shard_takes_a_thousand_records_a_second() {
    let (stub, producer) = orders(StreamSettings::default().with_quotas(), Envelope::Plain).await;
    let put = async || {
        let entries = Some(vec![entry("k", 1); 400]);
        let reply = producer.client().put_records().stream_name("orders").set_records(entries).send().await.unwrap();
        reply.failed_record_count
    };
    assert_eq!([put().await, put().await, put().await], [Some(0), Some(0), Some(200)]);
    stub.advance(std::time::Duration::from_secs(1));
    assert_eq!(put().await, Some(0));
}

#[tokio::test]
async fn a_shard_takes_a_mebibyte_and_gives_two_a_second() {
    const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
    let (stub, producer) = orders(StreamSettings::default().with_quotas(), Envelope::Plain).await;
    let put = async || {
        let entries = Some(vec![entry("k", 600_000)]);
        let reply = producer.client().put_records().stream_name("orders").set_records(entries).send().await.unwrap();
        reply.failed_record_count
    };
    // What exceeds it is taken, and held against what comes next.
    assert_eq!([put().await, put().await, put().await], [Some(0), Some(0), Some(1)]);
    stub.advance(SECOND);
    assert_eq!([put().await, put().await, put().await], [Some(0), Some(0), Some(1)]);
    for _ in 0..4 {
        stub.put("orders", "k", vec![7; 1 << 20]);
    }
    let kinesis = producer.client();
    let iterator = kinesis.get_shard_iterator().stream_name("orders").shard_id("shardId-000000000000");
    let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap().shard_iterator;
    let get = async || {
        let reply = kinesis.get_records().set_shard_iterator(iterator.clone()).send().await;
        reply.map(|reply| reply.records.len()).map_err(|error| error.code().map(str::to_owned))
    };
    let throttled = Err(Some("ProvisionedThroughputExceededException".to_owned()));
    // Of more than six mebibytes a part is left to be paid off after three seconds.
    assert_eq!(get().await, Ok(8));
    for _ in 0..2 {
        stub.advance(SECOND);
        assert_eq!(get().await, throttled);
    }
    stub.advance(SECOND);
    assert_eq!(get().await, Ok(8));
}
