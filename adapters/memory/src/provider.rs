use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use strait_config::{Connection, Fields, Needs, Provider, StartAt};
use strait_core::{Consumer, Error, ErrorKind, Ordering, Producer, Result};
use strait_kit::{LogSettings, QueueSettings, Start};

use crate::{LogOptions, MemoryLog, MemoryQueue, QueueOptions, fan_out};

/// The memory backend, for configuration: `type = "memory"`.
///
/// A connection says what its topics are: `shape = "log"` (the default) or `"queue"`, `bytes`, `message_bytes`, `lease`;
/// for a log `partitions`; for a queue `ordering`, `per_key` and `dedup`. A sender names its `topic`; a receiver its
/// `topic`, its `group`, and on a log where a new group is to `start`: `"earliest"`, `"latest"`
/// or a time. On a queue each group
/// has a queue of its own, fed with a copy, and all groups that configuration names exist from the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory;

/// Most partitions of a log that configuration makes: each has memory of its own from the start.
const MOST_PARTITIONS: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Log,
    Queue,
}

#[derive(Clone, Debug)]
struct Options {
    shape: Shape,
    log: LogOptions,
    queue: QueueOptions,
}

impl Options {
    fn read(fields: &mut Fields) -> Self {
        let shape = fields.choice("shape", &[("log", Shape::Log), ("queue", Shape::Queue)]).unwrap_or(Shape::Log);
        let (mut log, mut queue) = (LogOptions::default(), QueueOptions::default());
        let bytes = fields.bytes("bytes").unwrap_or(log.bytes);
        let message_bytes = fields.bytes("message_bytes").unwrap_or(log.message_bytes);
        (log.bytes, queue.bytes) = (bytes, bytes);
        (log.message_bytes, queue.message_bytes) = (message_bytes, message_bytes);
        if message_bytes > bytes {
            fields.problem("message_bytes", "must not be more than bytes");
        }
        if let Some(lease) = fields.duration("lease") {
            if lease < Duration::from_millis(10) {
                fields.problem("lease", "must be at least 10ms");
            }
            (log.lease, queue.lease) = (lease, lease);
        }
        let (of_another, what, other) = match shape {
            Shape::Log => (&["ordering", "per_key", "dedup"][..], "log", "queue"),
            Shape::Queue => (&["partitions"][..], "queue", "log"),
        };
        for name in of_another {
            if fields.has(name) {
                fields.problem(name, format_args!("a {what} has none: it belongs to shape = \"{other}\""));
            }
        }
        log.partitions = fields.count_up_to("partitions", MOST_PARTITIONS).unwrap_or(log.partitions);
        let orders = [("none", Ordering::None), ("key", Ordering::Key)];
        queue.ordering = fields.choice("ordering", &orders).unwrap_or(queue.ordering);
        queue.per_key = fields.count("per_key").unwrap_or(queue.per_key);
        queue.dedup = fields.duration("dedup");
        Self { shape, log, queue }
    }
}

struct ReceiverTable {
    topic: String,
    group: String,
    start: Option<Start>,
}

impl ReceiverTable {
    fn read(fields: &mut Fields) -> Self {
        let (topic, group) = (fields.required("topic"), fields.required("group"));
        let start = fields.start("start").map(|start| match start {
            StartAt::Earliest => Start::Earliest,
            StartAt::Latest => Start::Latest,
            StartAt::Time(time) => Start::At(time),
        });
        Self { topic, group, start }
    }
}

#[async_trait]
impl Provider for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn check_connection(&self, fields: &mut Fields) {
        Options::read(fields);
    }

    fn check_sender(&self, fields: &mut Fields) {
        fields.required("topic");
    }

    fn check_receiver(&self, fields: &mut Fields) {
        ReceiverTable::read(fields);
    }

    async fn connect(&self, mut connection: Fields, receivers: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        let options = Options::read(&mut connection);
        connection.finish()?;
        let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for mut fields in receivers {
            let table = ReceiverTable::read(&mut fields);
            if options.shape == Shape::Queue && table.start.is_some() {
                let text = fields.sentence("start", "a queue has no position to start at");
                return Err(Error::new(ErrorKind::Unsupported, text));
            }
            groups.entry(table.topic).or_default().insert(table.group);
        }
        Ok(Arc::new(Open { options, groups, topics: Mutex::default() }))
    }
}

/// The topics of one connection.
#[derive(Debug)]
struct Open {
    options: Options,
    /// The groups of each topic that configuration names.
    groups: BTreeMap<String, BTreeSet<String>>,
    topics: Mutex<BTreeMap<String, Topic>>,
}

#[derive(Clone, Debug)]
enum Topic {
    Log(MemoryLog),
    /// A queue a group; one for nobody, if there is no group.
    Queues(BTreeMap<String, MemoryQueue>),
}

impl Open {
    fn topics(&self) -> MutexGuard<'_, BTreeMap<String, Topic>> {
        self.topics.lock().expect("nothing panics while holding this")
    }

    fn topic(&self, name: &str) -> Topic {
        self.topics().entry(name.to_owned()).or_insert_with(|| self.make(name)).clone()
    }

    fn make(&self, name: &str) -> Topic {
        let groups = self.groups.get(name).cloned().unwrap_or_default();
        match self.options.shape {
            Shape::Log => Topic::Log(MemoryLog::new(LogOptions { name: name.into(), ..self.options.log.clone() })),
            Shape::Queue => {
                let queue = |group: &str| {
                    let name = if group.is_empty() { name.to_owned() } else { format!("{name}/{group}") };
                    MemoryQueue::new(QueueOptions { name: name.into(), ..self.options.queue.clone() })
                };
                let groups = if groups.is_empty() { BTreeSet::from([String::new()]) } else { groups };
                Topic::Queues(groups.into_iter().map(|group| (group.clone(), queue(&group))).collect())
            }
        }
    }
}

#[async_trait]
impl Connection for Open {
    async fn producer(&self, mut fields: Fields) -> Result<Arc<dyn Producer>> {
        let name = fields.required("topic");
        fields.finish()?;
        Ok(match self.topic(&name) {
            Topic::Log(log) => log.producer(),
            Topic::Queues(queues) => match queues.into_values().collect::<Vec<_>>().as_slice() {
                [queue] => queue.producer(),
                queues => fan_out(queues.to_vec()),
            },
        })
    }

    async fn consumer(&self, mut fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>> {
        let ReceiverTable { topic, group, start } = ReceiverTable::read(&mut fields);
        let missing = fields.sentence("group", "is not known on this connection");
        fields.finish()?;
        match self.topic(&topic) {
            Topic::Log(log) => {
                let mut settings = LogSettings::default();
                (settings.buffer, settings.buffer_bytes) = (needs.buffer, needs.buffer_bytes);
                settings.observer = needs.observer;
                log.consumer(&group, &start.unwrap_or(Start::Earliest), settings)
            }
            Topic::Queues(queues) => {
                let queue = queues.get(&group).ok_or_else(|| Error::new(ErrorKind::NotFound, missing))?;
                let mut settings = QueueSettings::default();
                settings.observer = needs.observer;
                Ok(queue.consumer(settings))
            }
        }
    }
}
