use std::time::Duration;

use strait_aws::{Access, Service};
use strait_config::Fields;
use strait_kit::Trimmed;
use strait_leases::Group;

use crate::{Envelope, consumer::check_name as check_consumer, stream::check_name};

/// How long to wait where nothing comes, by default and at most: an iterator lives for five minutes.
const POLL: Duration = Duration::from_secs(1);
const SHORTEST_POLL: Duration = Duration::from_millis(200);
const LONGEST_POLL: Duration = Duration::from_mins(1);
/// Most shards of a stream that configuration makes.
const MOST_SHARDS: usize = 1000;

/// What a connection reaches: its own services, and those that keep leases.
const SERVICES: [Service; 4] = [Service::Kinesis, Service::Sts, Service::DynamoDb, Service::S3];

/// What AWS and its tools call the fields.
const ELSEWHERE: [(&str, &str); 9] = [
    ("stream_name", "stream"),
    ("stream_arn", "stream"),
    ("topic", "stream"),
    ("application_name", "group"),
    ("consumer_group", "group"),
    ("lease_table", "leases"),
    ("initial_position", "start"),
    ("poll_interval", "poll"),
    ("consumer_name", "consumer"),
];

fn stream(fields: &mut Fields) -> String {
    for (theirs, ours) in ELSEWHERE {
        fields.called_elsewhere(theirs, ours);
    }
    let stream = fields.required("stream");
    if !stream.is_empty()
        && let Err(reason) = check_name(&stream)
    {
        fields.problem("stream", reason);
    }
    stream
}

/// The table of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTable {
    pub(crate) access: Access,
    /// How many shards a stream is made with that is missing; none: it is not made.
    pub(crate) create: Option<usize>,
}

impl ConnectionTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let access = Access::read(fields, &SERVICES);
        let create = fields.flag("create").unwrap_or(false);
        let shards = fields.count_up_to("shards", MOST_SHARDS);
        if shards.is_some() && !create {
            fields.problem("shards", "is for create = true: a stream that exists has its own");
        }
        Self { access, create: create.then(|| shards.unwrap_or(1)) }
    }
}

/// The table of a sender.
#[derive(Clone, Debug)]
pub(crate) struct SenderTable {
    pub(crate) stream: String,
    pub(crate) envelope: Envelope,
}

impl SenderTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let envelopes = [("kpl", Envelope::Kpl), ("plain", Envelope::Plain)];
        Self { stream: stream(fields), envelope: fields.choice("envelope", &envelopes).unwrap_or_default() }
    }
}

/// The table of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverTable {
    pub(crate) stream: String,
    pub(crate) group: Group,
    pub(crate) read: Read,
    pub(crate) trimmed: Trimmed,
}

/// How a receiver reads its shards.
#[derive(Clone, Debug)]
pub(crate) enum Read {
    /// They are asked, where nothing comes this often.
    Polling(Duration),
    /// They are subscribed to, as this consumer.
    FanOut(String),
}

impl Read {
    fn of(fields: &mut Fields, group: &str) -> Self {
        let is_fan_out = fields.choice("read", &[("polling", false), ("fan_out", true)]).unwrap_or_default();
        let (poll, consumer) = (fields.duration("poll"), fields.text("consumer"));
        if !is_fan_out {
            if consumer.is_some() {
                fields.problem("consumer", "is for read = \"fan_out\"");
            }
            let poll = poll.unwrap_or(POLL);
            if !(SHORTEST_POLL..=LONGEST_POLL).contains(&poll) {
                fields.problem("poll", "must be 200ms to 1m");
            }
            return Self::Polling(poll);
        }
        if poll.is_some() {
            fields.problem("poll", "is for read = \"polling\": records are pushed");
        }
        let Some(name) = consumer else {
            if !group.is_empty() && check_consumer(group).is_err() {
                fields.problem("consumer", "is missing, and no consumer can have the name of the group");
            }
            return Self::FanOut(group.to_owned());
        };
        if let Err(reason) = check_consumer(&name) {
            fields.problem("consumer", reason);
        }
        Self::FanOut(name)
    }
}

impl ReceiverTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let (stream, group) = (stream(fields), Group::read(fields));
        let read = Read::of(fields, &group.name);
        let choices = [("fail", Trimmed::Fail), ("skip", Trimmed::Skip)];
        let trimmed = fields.choice("trimmed", &choices).unwrap_or_default();
        Self { stream, group, read, trimmed }
    }
}
