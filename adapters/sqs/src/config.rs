use strait_config::Fields;

use crate::{Access, SqsOptions};

/// The table of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTable {
    pub(crate) access: Access,
    pub(crate) create: bool,
}

impl ConnectionTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let allow_insecure = fields.flag("allow_insecure").unwrap_or(false);
        let mut access = Access {
            region: fields.text("region"),
            endpoint: fields.url("endpoint", allow_insecure),
            allow_insecure,
            profile: fields.text("profile"),
            ..Access::default()
        };
        let external_id = fields.secret("external_id");
        access.assume_role = fields.text("assume_role").map(|role| (role, external_id.clone()));
        if external_id.is_some() && access.assume_role.is_none() {
            fields.problem("external_id", "belongs to assume_role, which is missing");
        }
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
        if access.keys.is_some() && access.profile.is_some() {
            fields.problem("profile", "and access_key_id exclude each other");
        }
        access.timeout = fields.timeout("timeout").unwrap_or(access.timeout);
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
        match (fields.text("queue"), fields.text("topic")) {
            (Some(queue), None) => Self::Queue(queue),
            (None, Some(topic)) => Self::Topic(topic),
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
        let (queue, topic) = (fields.required("queue"), fields.text("topic"));
        let defaults = SqsOptions::default();
        let options = SqsOptions {
            wait: fields.duration("wait").unwrap_or(defaults.wait),
            lease: fields.duration("lease"),
            longest: fields.duration("longest"),
            pollers: fields.count("pollers").unwrap_or(defaults.pollers),
        };
        fields.called_elsewhere("visibility_timeout", "lease");
        fields.called_elsewhere("wait_time_seconds", "wait");
        if let Err((field, rule)) = options.check() {
            fields.problem(field, rule);
        }
        Self { queue, topic, options }
    }
}
