use strait_aws::{Access, Arn};
use strait_config::Fields;

use crate::{SqsOptions, address::QueueAddress, client::SERVICES};

/// The table of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTable {
    pub(crate) access: Access,
    pub(crate) create: bool,
}

/// What AWS and its tools call the fields of each table.
const OF_SENDERS: [(&str, &str); 6] = [
    ("queue_url", "queue"),
    ("queue_arn", "queue"),
    ("queue_name", "queue"),
    ("url", "queue"),
    ("topic_arn", "topic"),
    ("topic_name", "topic"),
];
const OF_RECEIVERS: [(&str, &str); 5] = [
    ("visibility_timeout", "lease"),
    ("VisibilityTimeout", "lease"),
    ("wait_time", "wait"),
    ("wait_time_seconds", "wait"),
    ("WaitTimeSeconds", "wait"),
];

fn names_of_aws(fields: &mut Fields, names: &[(&'static str, &'static str)]) {
    for (theirs, ours) in names {
        fields.called_elsewhere(theirs, ours);
    }
}

impl ConnectionTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let access = Access::read(fields, &SERVICES);
        Self { access, create: fields.flag("create").unwrap_or(false) }
    }
}

/// The table of a sender.
#[derive(Clone, Debug)]
pub(crate) enum SenderTable {
    Queue(String),
    Topic(String),
}

impl SenderTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        names_of_aws(fields, &OF_SENDERS);
        match (fields.text("queue"), fields.text("topic")) {
            (Some(queue), None) => {
                check_queue(fields, &queue);
                Self::Queue(queue)
            }
            (None, Some(topic)) => {
                check_topic(fields, &topic);
                Self::Topic(topic)
            }
            (Some(_), Some(_)) => {
                fields.problem("topic", "and queue exclude each other");
                Self::Queue(String::new())
            }
            (None, None) => {
                fields.problem("queue", "is missing: name a queue, or a topic");
                Self::Queue(String::new())
            }
        }
    }
}

fn check_queue(fields: &mut Fields, queue: &str) {
    if let Err(reason) = QueueAddress::of(queue) {
        fields.problem("queue", reason);
    }
}

fn check_topic(fields: &mut Fields, topic: &str) {
    if let Err(reason) = Arn::of(topic, "sns") {
        fields.problem("topic", reason);
    }
}

/// The table of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverTable {
    pub(crate) queue: String,
    /// What the queue is to be fed by, where it is created.
    pub(crate) topic: Option<String>,
    pub(crate) options: SqsOptions,
}

impl ReceiverTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        names_of_aws(fields, &OF_SENDERS);
        names_of_aws(fields, &OF_RECEIVERS);
        let (queue, topic) = (fields.required("queue"), fields.text("topic"));
        check_queue(fields, &queue);
        if let Some(topic) = &topic {
            check_topic(fields, topic);
        }
        let defaults = SqsOptions::default();
        let options = SqsOptions {
            wait: fields.duration("wait").unwrap_or(defaults.wait),
            lease: fields.duration("lease"),
            longest: fields.duration("longest"),
            pollers: fields.count("pollers").unwrap_or(defaults.pollers),
        };
        if let Err((field, rule)) = options.check() {
            fields.problem(field, rule);
        }
        Self { queue, topic, options }
    }
}
