//! A stream that is never empty and stores nothing: Kinesis's protocol, answered as fast as can be, or after a pause.

use std::{
    fmt::Write as _,
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::IgnoredAny};
use strait_benches::stub;
use strait_core::{Id, Key, Message};
use strait_kinesis::kpl::Aggregate;

use crate::load::{Content, ID, Load};

/// Most bytes of records in an answer.
const PAGE: usize = 10 << 20;

#[derive(Debug)]
struct Server {
    shards: usize,
    /// The data and the key of every record, as they stand in answers; none: the stream is empty.
    record: Option<String>,
    /// How many bytes its data has.
    bytes: usize,
    /// How many messages it holds.
    messages: usize,
    /// How long a `PutRecords` takes.
    delay: Duration,
    next: AtomicU64,
}

/// Serves a stream of so many shards.
pub(crate) fn serve(shards: usize, load: Load, delay: Duration) -> io::Result<()> {
    let data = data(load);
    let record = data.as_ref().map(|data| {
        format!(
            r#""Data":"{}","PartitionKey":"{KEY}","ApproximateArrivalTimestamp":1764061200.123"#,
            STANDARD.encode(data)
        )
    });
    let messages = if let Content::Kpl(messages) = load.content { messages } else { 1 };
    let bytes = data.map_or(0, |data| data.len());
    let server = Server { shards, record, bytes, messages, delay, next: AtomicU64::new(0) };
    stub::serve(move |operation, body| server.answer(operation, body))
}

const KEY: &str = "customer-7";

/// What is in each record.
fn data(load: Load) -> Option<Vec<u8>> {
    let messages = match load.content {
        Content::Nothing => return None,
        Content::Plain => return Some(load.payload.into()),
        Content::Kpl(messages) => messages,
    };
    let key = Key::new(KEY).expect("it is a key");
    let id: Id = ID.parse().expect("it is an id");
    let mut aggregate = Aggregate::of(&key);
    for _ in 0..messages {
        let message = Message::new(load.payload).with_key(key.clone()).with_id(id);
        aggregate.push(&message).expect("it can be carried");
    }
    Some(aggregate.finish())
}

impl Server {
    fn answer(&self, operation: &str, body: &[u8]) -> io::Result<(String, usize)> {
        let asked: Asked<'_> = serde_json::from_slice(body)?;
        Ok(match operation {
            "DescribeStreamSummary" => (SUMMARY.replace("SHARDS", &self.shards.to_string()), 0),
            "ListShards" => (self.shards(), 0),
            "GetShardIterator" => (format!(r#"{{"ShardIterator":"{} 0"}}"#, asked.shard_id.unwrap_or_default()), 0),
            "PutRecord" => (format!("{{{}}}", self.stored()), 1),
            "PutRecords" => {
                thread::park_timeout(self.delay); // nobody wakes it
                self.put(asked.records.len())
            }
            _ => self.get(&asked)?,
        })
    }

    fn shards(&self) -> String {
        let (count, mut answer) = (self.shards as u128, r#"{"Shards":["#.to_owned());
        let width = u128::MAX / count;
        for number in 0..count {
            let (start, comma) = (width * number, if number == 0 { "" } else { "," });
            let end = if number + 1 == count { u128::MAX } else { start + width - 1 };
            let _ = write!(
                answer,
                r#"{comma}{{"ShardId":"shardId-{number:012}","HashKeyRange":{{"StartingHashKey":"{start}","EndingHashKey":"{end}"}},"SequenceNumberRange":{{"StartingSequenceNumber":"1"}}}}"#
            );
        }
        answer.push_str("]}");
        answer
    }

    fn stored(&self) -> String {
        let number = self.next.fetch_add(1, Relaxed);
        format!(r#""SequenceNumber":"4960{number:052}","ShardId":"shardId-000000000000""#)
    }

    fn put(&self, count: usize) -> (String, usize) {
        let mut answer = r#"{"FailedRecordCount":0,"Records":["#.to_owned();
        for index in 0..count {
            let _ = write!(answer, "{}{{{}}}", if index == 0 { "" } else { "," }, self.stored());
        }
        answer.push_str("]}");
        (answer, count)
    }

    /// Records, as far behind as they may be; or none, and nothing is behind.
    fn get(&self, asked: &Asked<'_>) -> io::Result<(String, usize)> {
        let wrong = || io::Error::other("it is no iterator of this stub");
        let (shard, number) = asked.shard_iterator.and_then(|it| it.split_once(' ')).ok_or_else(wrong)?;
        let number: usize = number.parse().map_err(io::Error::other)?;
        let Some(record) = &self.record else {
            return Ok((format!(r#"{{"Records":[],"MillisBehindLatest":0,"NextShardIterator":"{shard} 0"}}"#), 0));
        };
        let count = asked.limit.unwrap_or(10_000).min(PAGE / self.bytes.max(1)).max(1);
        let mut answer = String::with_capacity(count * (record.len() + 90) + 200);
        answer.push_str(r#"{"Records":["#);
        for index in 0..count {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(answer, r#"{comma}{{"SequenceNumber":"4960{:052}",{record}}}"#, number + index + 1);
        }
        let _ = write!(answer, r#"],"MillisBehindLatest":5000,"NextShardIterator":"{shard} {}"}}"#, number + count);
        Ok((answer, count * self.messages))
    }
}

const SUMMARY: &str = r#"{"StreamDescriptionSummary":{"StreamName":"bench","StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/bench","StreamStatus":"ACTIVE","StreamModeDetails":{"StreamMode":"PROVISIONED"},"RetentionPeriodHours":24,"StreamCreationTimestamp":1764061200,"EnhancedMonitoring":[],"OpenShardCount":SHARDS,"MaxRecordSizeInKiB":1024}}"#;

/// What matters of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked<'a> {
    records: Vec<IgnoredAny>,
    limit: Option<usize>,
    #[serde(borrow)]
    shard_id: Option<&'a str>,
    #[serde(borrow)]
    shard_iterator: Option<&'a str>,
}
