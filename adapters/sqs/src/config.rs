use strait_config::Fields;

use crate::{
    Access, SqsOptions,
    address::{Arn, QueueAddress},
    endpoint::{Service, check_service},
};

/// The table of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTable {
    pub(crate) access: Access,
    pub(crate) create: bool,
}

/// What AWS and its tools call the fields of each table.
const OF_CONNECTIONS: [(&str, &str); 10] = [
    ("endpoint_url", "endpoint"),
    ("endpoint_url_sqs", "sqs_endpoint"),
    ("endpoint_url_sns", "sns_endpoint"),
    ("endpoint_url_sts", "sts_endpoint"),
    ("aws_region", "region"),
    ("role_arn", "assume_role"),
    ("aws_access_key_id", "access_key_id"),
    ("aws_secret_access_key", "secret_access_key"),
    ("aws_session_token", "session_token"),
    ("security_token", "session_token"),
];
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
        names_of_aws(fields, &OF_CONNECTIONS);
        let allow_insecure = fields.flag("allow_insecure").unwrap_or(false);
        let mut access = Access {
            region: fields.text("region"),
            endpoint: endpoint(fields, None, allow_insecure),
            sqs_endpoint: endpoint(fields, Some(Service::Sqs), allow_insecure),
            sns_endpoint: endpoint(fields, Some(Service::Sns), allow_insecure),
            sts_endpoint: endpoint(fields, Some(Service::Sts), allow_insecure),
            allow_insecure,
            profile: fields.text("profile"),
            ..Access::default()
        };
        let external_id = fields.secret("external_id");
        access.assume_role = fields.text("assume_role").map(|role| (role, external_id.clone()));
        if external_id.is_some() && access.assume_role.is_none() {
            fields.problem("external_id", "belongs to assume_role, which is missing");
        }
        access.session_token = fields.secret("session_token");
        access.keys = match (fields.secret("access_key_id"), fields.secret("secret_access_key")) {
            (Some(id), Some(secret)) => Some((id, secret)),
            (None, None) => None,
            (Some(_), None) => {
                fields.problem("secret_access_key", "is missing: access_key_id needs it");
                None
            }
            (None, Some(_)) => {
                fields.problem("access_key_id", "is missing: secret_access_key needs it");
                None
            }
        };
        if access.session_token.is_some() && access.keys.is_none() {
            fields.problem("session_token", "belongs to access_key_id and secret_access_key");
        }
        if access.keys.is_some() && access.profile.is_some() {
            fields.problem("profile", "and access_key_id exclude each other");
        }
        access.timeout = fields.timeout("timeout").unwrap_or(access.timeout);
        Self { access, create: fields.flag("create").unwrap_or(false) }
    }
}

/// The address of a service, or of all.
fn endpoint(fields: &mut Fields, service: Option<Service>, allow_insecure: bool) -> Option<String> {
    let name = service.map_or("endpoint", Service::field);
    let url = fields.url(name, allow_insecure)?;
    if let Err(reason) = check_service(&url, service) {
        fields.problem(name, reason);
    }
    Some(url)
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
