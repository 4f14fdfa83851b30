//! Registered consumers, and what is pushed to them.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};

use super::{
    ARN, Refusal,
    calls::{Answer, World, invalid, missing, seconds, sequence, text, told},
};

/// Most consumers of a stream.
const MOST: usize = 20;
/// How long a subscription goes on.
const SUBSCRIPTION: Duration = Duration::from_secs(5 * 60);
/// How long a shard belongs to who subscribed to it last.
const TAKEN: Duration = Duration::from_secs(5);
/// Between two calls for a subscription.
const BETWEEN: Duration = Duration::from_secs(1);
/// Most records and bytes of an event.
const EVENT_RECORDS: usize = 1000;
const EVENT_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Consumer {
    name: String,
    created: SystemTime,
    /// Whether somebody has looked at it: it is being made before.
    is_seen: bool,
    /// By shard.
    subscribed: HashMap<usize, Subscribed>,
}

/// The last calls for a subscription to a shard.
#[derive(Debug)]
struct Subscribed {
    /// How many succeeded: the last of them goes on.
    count: u64,
    at: Option<SystemTime>,
    refused: Option<SystemTime>,
}

/// What is pushed to a subscription.
#[derive(Debug)]
pub(super) struct Feed {
    stream: String,
    created: SystemTime,
    consumer: String,
    shard: usize,
    after: u64,
    number: u64,
    ends: SystemTime,
}

/// What comes of a subscription next.
pub(super) enum Next {
    /// An event, and whether it is the last.
    Event(Value, bool),
    /// An error, after which nothing comes.
    Refused(&'static str),
    End,
    /// Nothing is stored.
    Nothing,
}

impl World {
    pub(super) fn register(&mut self, body: &Value) -> Answer {
        let (now, name) = (self.now(), text(body, "ConsumerName")?.to_owned());
        text(body, "StreamARN")?;
        let stream = self.find(body)?;
        if stream.consumers.iter().any(|consumer| consumer.name == name) {
            return Err((400, "ResourceInUseException", format!("Consumer {name} exists")));
        }
        if stream.consumers.len() == MOST {
            return Err((400, "LimitExceededException", format!("{MOST} consumers")));
        }
        let consumer = Consumer { name, created: now, is_seen: false, subscribed: HashMap::new() };
        let told = consumer.told(&stream.name);
        stream.consumers.push(consumer);
        Ok(json!({ "Consumer": told }))
    }

    pub(super) fn describe_consumer(&mut self, body: &Value) -> Answer {
        let name = text(body, "ConsumerName")?;
        text(body, "StreamARN")?;
        let stream = self.find(body)?;
        let found = stream.consumers.iter_mut().find(|consumer| consumer.name == name);
        let consumer = found.ok_or_else(|| missing(format!("Consumer {name} not found")))?;
        let told = consumer.told(&stream.name);
        consumer.is_seen = true;
        Ok(json!({ "ConsumerDescription": told }))
    }

    pub(super) fn subscribe(&mut self, body: &Value) -> Result<Feed, Refusal> {
        let now = self.now();
        let (arn, start) = (text(body, "ConsumerARN")?, &body["StartingPosition"]);
        let (name, _) =
            arn.strip_prefix(ARN).and_then(|rest| rest.split_once('/')).ok_or_else(|| invalid("ConsumerARN"))?;
        let stream = self.streams.get_mut(name).ok_or_else(|| missing("Stream not found"))?;
        let id = text(body, "ShardId")?;
        let shard = stream.shard(id).ok_or_else(|| missing(format!("Shard {id} does not exist")))?;
        let after = stream.place(shard, text(start, "Type")?, &start["SequenceNumber"], &start["Timestamp"], now)?;
        let consumer = stream.consumers.iter_mut().find(|consumer| consumer.arn(name) == arn);
        let consumer = consumer.ok_or_else(|| missing("Consumer not found"))?;
        if !consumer.is_seen {
            return Err((400, "ResourceInUseException", "it is being created".to_owned()));
        }
        let of = consumer.subscribed.entry(shard).or_insert(Subscribed { count: 0, at: None, refused: None });
        let within = |time: Option<SystemTime>, limit| {
            time.is_some_and(|time| now.duration_since(time).unwrap_or_default() < limit)
        };
        if within(of.refused, BETWEEN) {
            return Err((400, "LimitExceededException", "one call a second".to_owned()));
        }
        if within(of.at, TAKEN) {
            of.refused = Some(now);
            return Err((400, "ResourceInUseException", "another consumer just subscribed".to_owned()));
        }
        (of.count, of.at) = (of.count + 1, Some(now));
        let (stream, created, consumer) = (name.to_owned(), stream.created, consumer.name.clone());
        Ok(Feed { stream, created, consumer, shard, after, number: of.count, ends: now + SUBSCRIPTION })
    }

    /// What is pushed next; `always` also if nothing is stored.
    pub(super) fn push(&mut self, feed: &mut Feed, always: bool) -> Next {
        let now = self.now();
        let Some(stream) = self.streams.get(&feed.stream) else { return Next::Refused("ResourceNotFoundException") };
        if stream.created != feed.created || stream.deleting {
            return Next::Refused("ResourceNotFoundException");
        }
        let consumer = stream.consumers.iter().find(|consumer| consumer.name == feed.consumer);
        let last = consumer.and_then(|consumer| consumer.subscribed.get(&feed.shard)).map(|of| of.count);
        if last != Some(feed.number) {
            return Next::Refused("ResourceInUseException");
        }
        if now >= feed.ends {
            return Next::End;
        }
        let shard = &stream.shards[feed.shard];
        let walks = !stream.settings.skips_trimmed && feed.after < shard.trimmed;
        let mut bytes = 0;
        let first = shard.records.partition_point(|record| record.counter <= feed.after);
        let records = shard.records[first..].iter().take(EVENT_RECORDS);
        let records = records.take_while(|record| {
            let first = bytes == 0;
            bytes += record.data.len() + record.key.len();
            first || bytes <= EVENT_BYTES
        });
        let records: Vec<_> = if walks { Vec::new() } else { records.collect() };
        // As if nothing had been lost, and as far behind as a record can be.
        let after = if walks { shard.trimmed } else { records.last().map_or(feed.after, |record| record.counter) };
        let ends = !walks && shard.ends_at(after);
        if records.is_empty() && !walks && !ends && !always {
            return Next::Nothing;
        }
        feed.after = after;
        let retention = u64::try_from(stream.settings.retention.as_millis()).unwrap_or(u64::MAX);
        let records: Vec<_> = records.into_iter().map(|record| told(feed.shard, record)).collect();
        let mut event = json!({
            "Records": records,
            "MillisBehindLatest": if walks { retention } else { shard.behind(after, now) },
        });
        // At the end there is nothing to go on at.
        if ends {
            event["ChildShards"] = stream.children(feed.shard);
        } else {
            event["ContinuationSequenceNumber"] = sequence(feed.shard, after).into();
        }
        Next::Event(event, ends)
    }
}

impl Consumer {
    fn arn(&self, stream: &str) -> String {
        format!("{ARN}{stream}/consumer/{}:{}", self.name, seconds(self.created).trunc())
    }

    fn told(&self, stream: &str) -> Value {
        json!({
            "ConsumerName": self.name,
            "ConsumerARN": self.arn(stream),
            "ConsumerStatus": if self.is_seen { "ACTIVE" } else { "CREATING" },
            "ConsumerCreationTimestamp": seconds(self.created),
            "StreamARN": format!("{ARN}{stream}"),
        })
    }
}
