use std::time::Duration;

use strait_aws::{Access, Service};
use strait_config::Fields;
use strait_kit::Trimmed;
use strait_leases::Group;

use crate::{Envelope, stream::check_name};

/// How long to wait where nothing comes, by default and at most: an iterator lives for five minutes.
const POLL: Duration = Duration::from_secs(1);
const SHORTEST_POLL: Duration = Duration::from_millis(200);
const LONGEST_POLL: Duration = Duration::from_mins(1);
/// Most shards of a stream that configuration makes.
const MOST_SHARDS: usize = 1000;

/// What a connection reaches: its own services, and those that keep leases.
const SERVICES: [Service; 4] = [Service::Kinesis, Service::Sts, Service::DynamoDb, Service::S3];

/// What AWS and its tools call the fields.
const ELSEWHERE: [(&str, &str); 8] = [
    ("stream_name", "stream"),
    ("stream_arn", "stream"),
    ("topic", "stream"),
    ("application_name", "group"),
    ("consumer_group", "group"),
    ("lease_table", "leases"),
    ("initial_position", "start"),
    ("poll_interval", "poll"),
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
    pub(crate) poll: Duration,
    pub(crate) trimmed: Trimmed,
}

impl ReceiverTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let (stream, group) = (stream(fields), Group::read(fields));
        let poll = fields.duration("poll").unwrap_or(POLL);
        if !(SHORTEST_POLL..=LONGEST_POLL).contains(&poll) {
            fields.problem("poll", "must be 200ms to 1m");
        }
        let choices = [("fail", Trimmed::Fail), ("skip", Trimmed::Skip)];
        let trimmed = fields.choice("trimmed", &choices).unwrap_or_default();
        Self { stream, group, poll, trimmed }
    }
}
