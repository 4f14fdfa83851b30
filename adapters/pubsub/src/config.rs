use std::time::{Duration, SystemTime};

use strait_config::{Fields, StartAt};

use crate::{Access, Identity, PubSubOptions, client::is_encrypted};

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
            project: fields.text("project"),
            endpoint: fields.url("endpoint", allow_insecure),
            allow_insecure,
            ..Access::default()
        };
        let plain = access.endpoint.as_deref().is_some_and(|url| !is_encrypted(url));
        access.identity = match (fields.text("credentials_file"), fields.flag("anonymous").unwrap_or(false)) {
            (Some(_), true) => {
                fields.problem("anonymous", "and credentials_file exclude each other");
                Identity::Anonymous
            }
            (Some(file), false) => {
                if plain {
                    fields.problem("credentials_file", "is not sent to an endpoint that is not encrypted");
                }
                Identity::File(file.into())
            }
            (None, true) => Identity::Anonymous,
            (None, false) => Identity::Default,
        };
        access.timeout = fields.timeout("timeout").unwrap_or(access.timeout);
        Self { access, create: fields.flag("create").unwrap_or(false) }
    }
}

/// The table of a sender: its topic.
pub(crate) fn sender(fields: &mut Fields) -> String {
    fields.required("topic")
}

/// The table of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverTable {
    pub(crate) subscription: String,
    pub(crate) options: PubSubOptions,
    pub(crate) made: MadeTable,
}

/// What a subscription is to be, where it is created. `None` everywhere else.
#[derive(Clone, Debug, Default)]
pub(crate) struct MadeTable {
    pub(crate) topic: Option<String>,
    pub(crate) ordered: Option<bool>,
    pub(crate) exactly_once: Option<bool>,
    pub(crate) start: Option<SystemTime>,
}

impl MadeTable {
    /// What is said, though nothing is created.
    pub(crate) fn first(&self) -> Option<&'static str> {
        let said = [
            (self.topic.is_some(), "topic"),
            (self.ordered.is_some(), "ordered"),
            (self.exactly_once.is_some(), "exactly_once"),
            (self.start.is_some(), "start"),
        ];
        said.into_iter().find_map(|(said, name)| said.then_some(name))
    }
}

impl ReceiverTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let subscription = fields.required("subscription");
        let defaults = PubSubOptions::default();
        let options = PubSubOptions {
            wait: fields.duration("wait"),
            lease: fields.duration("lease"),
            longest: fields.duration("longest").unwrap_or(defaults.longest),
            pollers: fields.count("pollers").unwrap_or(defaults.pollers),
        };
        fields.called_elsewhere("ack_deadline", "lease");
        fields.called_elsewhere("ack_deadline_seconds", "lease");
        if let Err((field, rule)) = options.check() {
            fields.problem(field, rule);
        }
        let made = MadeTable {
            topic: fields.text("topic"),
            ordered: fields.flag("ordered"),
            exactly_once: fields.flag("exactly_once"),
            start: fields.start("start").map(|start| match start {
                StartAt::Earliest => SystemTime::now() - OLDEST,
                StartAt::Latest => SystemTime::now(),
                StartAt::Time(time) => time,
            }),
        };
        Self { subscription, options, made }
    }
}

/// The oldest that a topic may keep: a subscription cannot start before.
const OLDEST: Duration = Duration::from_hours(31 * 24);
