use std::sync::Arc;

use strait_config::Fields;
use strait_kit::Trimmed;
use strait_leases::Group;

use crate::{Access, Routing};

/// Most bytes of the name of a hub, and of a consumer group.
const HUB_BYTES: usize = 256;
const GROUP_BYTES: usize = 50;

/// What Azure and its tools call the fields.
const ELSEWHERE: [(&str, &str); 9] = [
    ("event_hub", "hub"),
    ("event_hub_name", "hub"),
    ("eventhub_name", "hub"),
    ("entity_path", "hub"),
    ("topic", "hub"),
    ("stream", "hub"),
    ("consumer_group", "group"),
    ("checkpoint_store", "leases"),
    ("initial_position", "start"),
];

fn hub(fields: &mut Fields) -> String {
    for (theirs, ours) in ELSEWHERE {
        fields.called_elsewhere(theirs, ours);
    }
    let hub = fields.required("hub");
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !hub.is_empty() && (hub.len() > HUB_BYTES || !hub.bytes().all(known)) {
        fields.problem("hub", format!("must be 1 to {HUB_BYTES} letters, digits, '_', '.' and '-'"));
    }
    hub
}

/// The table of a connection.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTable {
    /// None if it is wrong.
    pub(crate) access: Option<Arc<Access>>,
}

impl ConnectionTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        fields.called_elsewhere("endpoint", "connection_string");
        let allow_insecure = fields.flag("allow_insecure").unwrap_or(false);
        let timeout = fields.timeout("timeout");
        let Some(text) = fields.secret("connection_string") else {
            fields.problem("connection_string", "is missing");
            return Self { access: None };
        };
        match Access::parse(text.expose()) {
            Ok(mut access) => {
                access.allow_insecure = allow_insecure;
                access.timeout = timeout.unwrap_or(access.timeout);
                if access.is_exposed() {
                    let reason = "would send plaintext to another machine: allow_insecure = true allows it";
                    fields.problem("connection_string", reason);
                }
                Self { access: Some(Arc::new(access)) }
            }
            Err(error) => {
                fields.problem("connection_string", error);
                Self { access: None }
            }
        }
    }
}

/// The table of a sender.
#[derive(Clone, Debug)]
pub(crate) struct SenderTable {
    pub(crate) hub: String,
    pub(crate) routing: Routing,
}

impl SenderTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let choices = [("partition", Routing::Partition), ("service", Routing::Service)];
        Self { hub: hub(fields), routing: fields.choice("routing", &choices).unwrap_or_default() }
    }
}

/// The table of a receiver.
#[derive(Clone, Debug)]
pub(crate) struct ReceiverTable {
    pub(crate) hub: String,
    pub(crate) group: Group,
    pub(crate) trimmed: Trimmed,
}

impl ReceiverTable {
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let (hub, group) = (hub(fields), Group::read(fields));
        if group.name.len() > GROUP_BYTES {
            fields.problem("group", format!("has {} characters, and may have {GROUP_BYTES}", group.name.len()));
        }
        let choices = [("fail", Trimmed::Fail), ("skip", Trimmed::Skip)];
        let trimmed = fields.choice("trimmed", &choices).unwrap_or_default();
        Self { hub, group, trimmed }
    }
}
