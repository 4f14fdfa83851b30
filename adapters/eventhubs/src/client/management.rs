//! The properties of a hub and its partitions.

use std::sync::Arc;

use fe2o3_amqp_types::{
    messaging::ApplicationProperties,
    primitives::{Array, SimpleValue, Value},
};
use tokio::sync::Mutex;

use super::{
    connection::Connection,
    line::Line,
    node::{Map, Node},
};
use crate::error::Failed;

/// What is told of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HubProperties {
    /// When it was made, in milliseconds since 1970.
    pub(crate) created: i64,
    pub(crate) partitions: Vec<Arc<str>>,
    /// Over how many regions it is replicated.
    pub(crate) regions: i32,
}

/// What is told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionProperties {
    /// The sequence number of the oldest event.
    pub(crate) begin: i64,
    /// That of the newest event; -1 if there was none.
    pub(crate) last: i64,
    /// When that was stored, in milliseconds since 1970.
    pub(crate) last_enqueued: i64,
    pub(crate) is_empty: bool,
}

/// Asks for properties, one request after the other.
#[derive(Debug)]
pub(crate) struct Management {
    line: Line,
    hub: Arc<str>,
    node: Mutex<Option<(Arc<Connection>, Node)>>,
}

impl Management {
    pub(crate) fn new(line: Line, hub: Arc<str>) -> Self {
        Self { line, hub, node: Mutex::default() }
    }

    pub(crate) async fn hub(&self) -> Result<HubProperties, Failed> {
        let map = self.read("com.microsoft:eventhub", None).await?;
        let found = || {
            let created = match get(&map, "created_at")? {
                Value::Timestamp(time) => time.milliseconds(),
                _ => return None,
            };
            let partitions = match get(&map, "partition_ids")? {
                Value::Array(Array(ids)) | Value::List(ids) => ids.iter().map(text).collect::<Option<_>>()?,
                _ => return None,
            };
            let regions = get(&map, "georeplication_factor").and_then(integer).unwrap_or(1);
            Some(HubProperties { created, partitions, regions: i32::try_from(regions).unwrap_or(i32::MAX) })
        };
        found().ok_or_else(|| Failed::here("the answer is not that of a hub"))
    }

    pub(crate) async fn partition(&self, partition: &str) -> Result<PartitionProperties, Failed> {
        let map = self.read("com.microsoft:partition", Some(partition)).await?;
        let found = || {
            Some(PartitionProperties {
                begin: integer(get(&map, "begin_sequence_number")?)?,
                last: integer(get(&map, "last_enqueued_sequence_number")?)?,
                last_enqueued: match get(&map, "last_enqueued_time_utc")? {
                    Value::Timestamp(time) => time.milliseconds(),
                    _ => return None,
                },
                is_empty: matches!(get(&map, "is_partition_empty"), Some(Value::Bool(true))),
            })
        };
        found().ok_or_else(|| Failed::here("the answer is not that of a partition"))
    }

    async fn read(&self, kind: &str, partition: Option<&str>) -> Result<Map, Failed> {
        let mut node = self.node.lock().await;
        // Taken out, so that one that failed, or whose call was dropped, is not used again.
        let open = node.take().filter(|(connection, _)| connection.is_sound());
        let (connection, mut asked) = if let Some(open) = open { open } else { self.attach().await? };
        let mut properties = ApplicationProperties::default();
        let fields =
            [("operation", Some("READ")), ("type", Some(kind)), ("name", Some(&*self.hub)), ("partition", partition)];
        for (name, value) in fields {
            if let Some(value) = value {
                properties.0.insert(name.to_owned(), SimpleValue::String(value.to_owned()));
            }
        }
        let answer = asked.ask(properties, Value::Null).await;
        // What the service refused, it answered.
        if answer.as_ref().is_err_and(|failed| !failed.is_answer()) {
            connection.give_up();
        } else {
            *node = Some((connection, asked));
        }
        answer
    }

    async fn attach(&self) -> Result<(Arc<Connection>, Node), Failed> {
        let connection = self.line.get().await?;
        connection.claim(&self.hub).await?;
        let node = Node::attach(connection.session().await?, "$management").await?;
        Ok((connection, node))
    }

    pub(crate) async fn close(&self) {
        self.node.lock().await.take();
        self.line.close().await;
    }
}

fn get<'a>(map: &'a Map, name: &str) -> Option<&'a Value> {
    map.get(&Value::String(name.to_owned()))
}

fn text(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        _ => None,
    }
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some((*number).into()),
        Value::Long(number) => Some(*number),
        _ => None,
    }
}
