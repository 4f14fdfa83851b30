//! What each operation does.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    ARN, Call, Fault, Refusal,
    stream::{Shard, Stored, Stream, StreamSettings},
};

/// How long an iterator, and a token, may be used.
const ITERATOR: Duration = Duration::from_secs(5 * 60);
/// Most records and bytes of a request, and of an answer.
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 10 << 20;
const GET_RECORDS: usize = 10_000;
const GET_BYTES: usize = 10 << 20;

pub(super) type Answer = Result<Value, Refusal>;

pub(super) struct World {
    pub(super) streams: BTreeMap<String, Stream>,
    now: SystemTime,
    /// Since when its clock runs.
    runs: Option<Instant>,
    /// Most shards of a page of a list.
    pub(super) page: usize,
}

pub(super) fn invalid(text: impl Into<String>) -> Refusal {
    (400, "InvalidArgumentException", text.into())
}

pub(super) fn missing(text: impl Into<String>) -> Refusal {
    (400, "ResourceNotFoundException", text.into())
}

fn throttled(text: &str) -> Refusal {
    (400, "ProvisionedThroughputExceededException", text.to_owned())
}

pub(super) fn text<'a>(body: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    body[field].as_str().ok_or_else(|| invalid(format!("{field} is missing")))
}

pub(super) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// A sequence number: 56 digits, which tell the shard.
pub(super) fn sequence(shard: usize, counter: u64) -> String {
    format!("4960{shard:012}{counter:040}")
}

/// The shard and the number of a record.
fn record_of(sequence: &str) -> Option<(usize, u64)> {
    let digits = sequence.strip_prefix("4960").filter(|digits| digits.len() == 52)?;
    Some((digits[..12].parse().ok()?, digits[12..].parse().ok()?))
}

/// Where an iterator is: it brings records whose number is greater.
struct Iterator {
    stream: String,
    created: u64,
    shard: usize,
    after: u64,
    issued: u64,
}

impl Iterator {
    fn token(&self) -> String {
        let Self { stream, created, shard, after, issued } = self;
        STANDARD.encode(format!("{stream} {created} {shard} {after} {issued}"))
    }

    fn read(token: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(token).ok()?).ok()?;
        let mut parts = text.split(' ');
        let stream = parts.next()?.to_owned();
        let mut number = || parts.next()?.parse().ok();
        let (created, shard, after, issued): (u64, u64, u64, u64) = (number()?, number()?, number()?, number()?);
        Some(Self { stream, created, shard: usize::try_from(shard).ok()?, after, issued })
    }
}

impl World {
    pub(super) fn new(now: SystemTime) -> Self {
        Self { streams: BTreeMap::new(), now, runs: None, page: 1000 }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.now + self.runs.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn run(&mut self) {
        self.runs.get_or_insert_with(Instant::now);
    }

    pub(super) fn advance(&mut self, time: Duration) {
        self.now += time;
        let now = self.now();
        self.streams.values_mut().for_each(|stream| stream.trim(now));
    }

    pub(super) fn stream_mut(&mut self, name: &str) -> &mut Stream {
        self.streams.get_mut(name).expect("there is one")
    }

    pub(super) fn call(&mut self, call: &Call, fault: Option<&Fault>) -> Answer {
        match call.operation.as_str() {
            "CreateStream" => self.create(&call.body),
            "DescribeStreamSummary" => self.describe(&call.body),
            "PutRecords" => self.put(&call.body, fault),
            "ListShards" => self.list(&call.body),
            "GetShardIterator" => self.iterator(&call.body),
            "GetRecords" => self.get(&call.body),
            "RegisterStreamConsumer" => self.register(&call.body),
            "DescribeStreamConsumer" => self.describe_consumer(&call.body),
            other => Err((400, "UnknownOperationException", other.to_owned())),
        }
    }

    /// The stream that a call names by its ARN, or by its name.
    pub(super) fn find(&mut self, body: &Value) -> Result<&mut Stream, Refusal> {
        let name = match body["StreamARN"].as_str() {
            Some(arn) => arn.strip_prefix(ARN).ok_or_else(|| invalid("StreamARN is wrong"))?,
            None => text(body, "StreamName")?,
        };
        self.streams.get_mut(name).ok_or_else(|| missing(format!("Stream {name} not found")))
    }

    fn create(&mut self, body: &Value) -> Answer {
        let name = text(body, "StreamName")?;
        if self.streams.contains_key(name) {
            return Err((400, "ResourceInUseException", format!("Stream {name} exists")));
        }
        let shards =
            body["ShardCount"].as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0);
        let settings = StreamSettings::default().with_shards(shards.ok_or_else(|| invalid("ShardCount"))?);
        self.streams.insert(name.to_owned(), Stream::new(name, settings, self.now()));
        Ok(json!({}))
    }

    fn describe(&mut self, body: &Value) -> Answer {
        let stream = self.find(body)?;
        Ok(json!({ "StreamDescriptionSummary": {
            "StreamName": stream.name,
            "StreamARN": format!("{ARN}{}", stream.name),
            "StreamStatus": if stream.deleting { "DELETING" } else { "ACTIVE" },
            "StreamModeDetails": { "StreamMode": "PROVISIONED" },
            "RetentionPeriodHours": stream.settings.retention.as_secs() / 3600,
            "StreamCreationTimestamp": seconds(stream.created),
            "EnhancedMonitoring": [],
            "OpenShardCount": stream.shards.iter().filter(|shard| !shard.closed).count(),
            "MaxRecordSizeInKiB": stream.settings.record_bytes >> 10,
        }}))
    }

    fn put(&mut self, body: &Value, fault: Option<&Fault>) -> Answer {
        let now = self.now();
        let stream = self.find(body)?;
        if stream.deleting {
            return Err((400, "ResourceInUseException", "it is being deleted".to_owned()));
        }
        let records = body["Records"].as_array().ok_or_else(|| invalid("Records is missing"))?;
        if records.is_empty() || records.len() > PUT_RECORDS {
            return Err(invalid(format!("{} records", records.len())));
        }
        let mut all = Vec::new();
        for record in records {
            all.push(entry(record, stream.settings.record_bytes)?);
        }
        let bytes: usize = all.iter().map(|entry| entry.data.len() + entry.key.len()).sum();
        if bytes > PUT_BYTES {
            return Err(invalid(format!("{bytes} bytes")));
        }
        let mut results = Vec::new();
        for (place, Entry { key, hash, data }) in all.into_iter().enumerate() {
            let shard = stream.of_hash(hash);
            let failed = match fault {
                Some(Fault::Mask(places, code)) if places.contains(&place) => Some(*code),
                _ if stream.settings.quotas && !stream.shards[shard].lets_in(data.len() + key.len(), now) => {
                    Some("ProvisionedThroughputExceededException")
                }
                _ => None,
            };
            results.push(if let Some(code) = failed {
                json!({ "ErrorCode": code, "ErrorMessage": "as planned" })
            } else {
                let number = stream.store(shard, &key, data, now);
                json!({ "SequenceNumber": sequence(shard, number), "ShardId": stream.shards[shard].id() })
            });
        }
        let failures = results.iter().filter(|result| result["ErrorCode"].is_string()).count();
        let count = if let Some(Fault::Count(count)) = fault { *count } else { failures };
        if let Some(Fault::Results(length)) = fault {
            let last = results[results.len() - 1].clone();
            results.resize(*length, last);
        }
        Ok(json!({ "FailedRecordCount": count, "Records": results }))
    }

    fn list(&mut self, body: &Value) -> Answer {
        let (now, page) = (self.now(), self.page);
        let start = match body["NextToken"].as_str() {
            Some(token) => {
                if ["StreamARN", "StreamName", "StreamCreationTimestamp", "ShardFilter", "ExclusiveStartShardId"]
                    .iter()
                    .any(|field| !body[*field].is_null())
                {
                    return Err(invalid("NextToken and StreamName cannot be provided together"));
                }
                Some(Iterator::read(token).ok_or_else(|| invalid("the token is wrong"))?)
            }
            None => None,
        };
        let stream = match &start {
            Some(start) if millis(now) > start.issued + millis_of(ITERATOR) => {
                return Err((400, "ExpiredNextTokenException", "it has expired".to_owned()));
            }
            Some(start) => self.streams.get_mut(&start.stream).ok_or_else(|| missing("Stream not found"))?,
            None => self.find(body)?,
        };
        if stream.deleting {
            return Ok(json!({ "Shards": [] }));
        }
        let start = start.map_or(0, |start| start.shard);
        let shards: Vec<_> = stream
            .shards
            .iter()
            .skip(start)
            .take(page)
            .map(|shard| {
                let parent = |index: usize| shard.parents.get(index).map(|parent| stream.shards[*parent].id());
                let mut range = json!({ "StartingSequenceNumber": sequence(shard.number, 0) });
                if shard.closed {
                    range["EndingSequenceNumber"] = "9223372036854775807".into();
                }
                let mut told = json!({
                    "ShardId": shard.id(),
                    "HashKeyRange": {
                        "StartingHashKey": shard.hashes.0.to_string(), "EndingHashKey": shard.hashes.1.to_string(),
                    },
                    "SequenceNumberRange": range,
                });
                for (field, parent) in [("ParentShardId", parent(0)), ("AdjacentParentShardId", parent(1))] {
                    if let Some(parent) = parent {
                        told[field] = parent.into();
                    }
                }
                told
            })
            .collect();
        let mut answer = json!({ "Shards": shards });
        if start + page < stream.shards.len() {
            let (stream, created) = (stream.name.clone(), millis(stream.created));
            let next = Iterator { stream, created, shard: start + page, after: 0, issued: millis(now) };
            answer["NextToken"] = next.token().into();
        }
        Ok(answer)
    }

    fn iterator(&mut self, body: &Value) -> Answer {
        let now = self.now();
        let stream = self.find(body)?;
        let id = text(body, "ShardId")?;
        let shard = stream.shard(id).ok_or_else(|| missing(format!("Shard {id} does not exist")))?;
        let kind = text(body, "ShardIteratorType")?;
        let after = stream.place(shard, kind, &body["StartingSequenceNumber"], &body["Timestamp"], now)?;
        let (stream, created) = (stream.name.clone(), millis(stream.created));
        let iterator = Iterator { stream, created, shard, after, issued: millis(now) };
        Ok(json!({ "ShardIterator": iterator.token() }))
    }

    fn get(&mut self, body: &Value) -> Answer {
        let now = self.now();
        let limit = match &body["Limit"] {
            Value::Null => GET_RECORDS,
            limit => limit.as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
        };
        if !(1..=GET_RECORDS).contains(&limit) {
            return Err(invalid("Limit"));
        }
        let iterator = Iterator::read(text(body, "ShardIterator")?).ok_or_else(|| invalid("Invalid ShardIterator"))?;
        let stream = self.streams.get_mut(&iterator.stream).ok_or_else(|| missing("Stream not found"))?;
        if millis(stream.created) != iterator.created || stream.deleting {
            return Err(missing("Stream not found"));
        }
        if millis(now) > iterator.issued + millis_of(ITERATOR) {
            return Err((400, "ExpiredIteratorException", "Iterator expired".to_owned()));
        }
        let quotas = stream.settings.quotas;
        let (retention, walks) = (stream.settings.retention, !stream.settings.skips_trimmed);
        let shard = &mut stream.shards[iterator.shard];
        if quotas && !(shard.calls.has(1, now) && shard.bytes_out.has(0, now)) {
            return Err(throttled("Rate exceeded for shard"));
        }
        shard.calls.take(1, now);
        if walks && iterator.after < shard.trimmed {
            // As if nothing had been lost, and as far behind as a record can be.
            let next = Iterator { after: shard.trimmed, issued: millis(now), ..iterator };
            let behind = millis_of(retention);
            return Ok(json!({ "Records": [], "MillisBehindLatest": behind, "NextShardIterator": next.token() }));
        }
        let mut bytes = 0;
        let first = shard.records.partition_point(|record| record.counter <= iterator.after);
        let page: Vec<_> = shard.records[first..]
            .iter()
            .take(limit)
            .take_while(|record| {
                let first = bytes == 0;
                bytes += record.data.len() + record.key.len();
                first || bytes <= GET_BYTES
            })
            .collect();
        let after = page.last().map_or(iterator.after, |record| record.counter);
        let bytes: usize = page.iter().map(|record| record.data.len() + record.key.len()).sum();
        let records: Vec<_> = page.iter().map(|record| told(iterator.shard, record)).collect();
        let (behind, ended) = (shard.behind(after, now), shard.ends_at(after));
        shard.bytes_out.take(bytes, now);
        let mut answer = json!({ "Records": records, "MillisBehindLatest": behind });
        if ended {
            answer["ChildShards"] = stream.children(iterator.shard);
        } else {
            let next = Iterator { after, issued: millis(now), ..iterator };
            answer["NextShardIterator"] = next.token().into();
        }
        Ok(answer)
    }
}

/// A record, as answers and events tell of it.
pub(super) fn told(shard: usize, record: &Stored) -> Value {
    json!({
        "SequenceNumber": sequence(shard, record.counter),
        "ApproximateArrivalTimestamp": seconds(record.at),
        "Data": STANDARD.encode(&record.data),
        "PartitionKey": record.key,
    })
}

impl Stream {
    /// Behind which record a place is.
    pub(super) fn place(
        &self,
        shard: usize,
        kind: &str,
        sequence: &Value,
        timestamp: &Value,
        now: SystemTime,
    ) -> Result<u64, Refusal> {
        let Shard { records, trimmed, .. } = &self.shards[shard];
        let named = || {
            let sequence = sequence.as_str().ok_or_else(|| invalid("the sequence number is missing"))?;
            let (of, number) = record_of(sequence).ok_or_else(|| invalid("the sequence number is wrong"))?;
            if of != shard {
                let text =
                    format!("It encodes shardId-{of:012} and is used in a call to a shard with shardId-{shard:012}");
                return Err(invalid(text));
            }
            if number > self.counter() {
                return Err(invalid("it did not come from this stream"));
            }
            Ok(number)
        };
        Ok(match kind {
            "TRIM_HORIZON" => *trimmed,
            "LATEST" => self.counter(),
            "AFTER_SEQUENCE_NUMBER" => named()?,
            "AT_SEQUENCE_NUMBER" => named()?.saturating_sub(1),
            "AT_TIMESTAMP" => {
                let time = timestamp.as_f64().ok_or_else(|| invalid("Timestamp is missing"))?;
                if time > seconds(now) {
                    return Err(invalid("Timestamp cannot be in the future"));
                }
                let first = records.iter().find(|record| seconds(record.at) >= time);
                first.map_or(self.counter(), |record| record.counter - 1).max(*trimmed)
            }
            other => return Err(invalid(format!("the type {other}"))),
        })
    }

    /// What a shard became.
    pub(super) fn children(&self, shard: usize) -> Value {
        let children = self.shards.iter().filter(|child| child.parents.contains(&shard)).map(|child| {
            let parents: Vec<_> = child.parents.iter().map(|parent| self.shards[*parent].id()).collect();
            json!({
                "ShardId": child.id(),
                "ParentShards": parents,
                "HashKeyRange": {
                    "StartingHashKey": child.hashes.0.to_string(), "EndingHashKey": child.hashes.1.to_string(),
                },
            })
        });
        children.collect()
    }
}

impl Shard {
    /// How many milliseconds are behind a record; 0 if nothing is.
    pub(super) fn behind(&self, after: u64, now: SystemTime) -> u64 {
        let more = self.records.get(self.records.partition_point(|record| record.counter <= after));
        let age = |record: &Stored| now.duration_since(record.at).unwrap_or_default();
        more.map_or(0, |record| millis_of(age(record)).max(1))
    }

    /// Whether it is closed, and nothing is behind a record.
    pub(super) fn ends_at(&self, after: u64) -> bool {
        self.closed && self.records.last().is_none_or(|record| record.counter <= after)
    }
}

pub(super) fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Where a partition key belongs.
pub(super) fn hash(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// A record of a request, checked.
struct Entry {
    key: String,
    hash: u128,
    data: Vec<u8>,
}

fn entry(record: &Value, most: usize) -> Result<Entry, Refusal> {
    let key = text(record, "PartitionKey")?.to_owned();
    if !(1..=256).contains(&key.chars().count()) {
        return Err(invalid("PartitionKey"));
    }
    let data = STANDARD.decode(text(record, "Data")?).map_err(|_| invalid("Data"))?;
    if data.len() + key.len() > most {
        return Err(invalid(format!("a record of {} bytes", data.len() + key.len())));
    }
    let hash = match record["ExplicitHashKey"].as_str() {
        Some(hash) => hash.parse().map_err(|_| invalid("ExplicitHashKey"))?,
        None => self::hash(&key),
    };
    Ok(Entry { key, hash, data })
}
