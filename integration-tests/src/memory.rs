//! The memory backend under test: a log, a queue in order, and a queue without order.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use strait_config::{Bus, Registry};
use strait_core::{Consumer, Error, ErrorKind, Ordering, Producer, Result};
use strait_kit::{LogConsumer, LogSettings, Partition, QueueConsumer, QueueSettings, Start, Static};
use strait_memory::{Life, LogOptions, Memory, MemoryLog, MemoryQueue, QueueOptions, fan_out};
use strait_runtime::Meter;
use strait_testkit::{
    Capabilities, Channel, FaultyLog, FaultyOwnership, FaultyQueue, Join, Member, Needs, Reshard, Rig, Shape, Starts,
};

pub(crate) const LEASE: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_mins(5);
const WINDOW: Duration = Duration::from_mins(1);

use crate::shared::SharedRig;

/// A [`MemoryLog`].
#[derive(Clone, Copy, Debug)]
pub struct LogRig;

/// A [`MemoryQueue`].
#[derive(Clone, Copy, Debug)]
pub struct QueueRig {
    ordering: Ordering,
}

impl QueueRig {
    /// In order of keys, and storing each id once.
    pub const ORDERED: Self = Self { ordering: Ordering::Key };
    /// Without order.
    pub const UNORDERED: Self = Self { ordering: Ordering::None };
}

/// Every shape of it, by name.
pub const RIGS: [(&str, &dyn Rig); 4] = [
    ("log", &LogRig),
    ("shared", &SharedRig::SOUND),
    ("queue", &QueueRig::ORDERED),
    ("unordered", &QueueRig::UNORDERED),
];

fn configuration(shape: &str) -> String {
    format!(
        r#"
provider = "memory"
[connections.memory]
shape = "{shape}"
[senders.out]
[senders.out.on.memory]
topic = "orders"
[receivers.app]
dead_letter = "discard"
[receivers.app.on.memory]
topic = "orders"
group = "billing"
"#
    )
}

fn configure(text: &str) -> Result<()> {
    Bus::builder(Registry::new().with(Memory)).environment(|_| None).text("strait.toml", text).build().map(drop)
}

#[async_trait]
impl Rig for LogRig {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(Shape::Log, LEASE)
            .in_order()
            .with_starts(Starts::Positions)
            .with_reshards()
            .with_paused_time()
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        let log = MemoryLog::new(options(&needs));
        for group in needs.groups {
            log.create_group(group, &Start::Earliest)?;
        }
        Ok(Box::new(LogChannel(log)))
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        let log = MemoryLog::new(LogOptions::named("orders"));
        let missing = Partition::new("p99");
        let seen = log.member("app", &Start::Earliest, &Life::default()).map(|(log, _)| log);
        Some(seen.map(|seen| {
            let ownership = Arc::new(Static::new([(missing, Start::Earliest)]));
            Arc::new(LogConsumer::new(seen, ownership, LogSettings::default())) as Arc<dyn Consumer>
        }))
    }

    fn configuration(&self) -> String {
        configuration("log")
    }

    fn configure(&self, text: &str) -> Result<()> {
        configure(text)
    }
}

pub(crate) fn options(needs: &Needs) -> LogOptions {
    let mut options = LogOptions::named("orders");
    (options.partitions, options.lease) = (needs.partitions, LEASE);
    options.message_bytes = needs.message_bytes.unwrap_or(options.message_bytes);
    options.bytes = needs.room.unwrap_or(options.bytes);
    options
}

pub(crate) fn reshard(log: &MemoryLog, how: Reshard) -> Result<()> {
    let open = log.open_partitions();
    match how {
        Reshard::Split => log.split(&open[0]).map(drop),
        Reshard::Merge => log.merge(&open[0], &open[1]).map(drop),
    }
}

#[derive(Debug)]
struct LogChannel(MemoryLog);

#[async_trait]
impl Channel for LogChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        self.0.producer()
    }

    async fn send_foreign(&self) -> Result<()> {
        strait_testkit::send_foreign(&*self.producer()).await
    }

    async fn join(&self, join: Join) -> Result<Member> {
        let (life, meter) = (Life::default(), Meter::default());
        let settings = join.log_settings(&meter);
        let start = join.start.unwrap_or(Start::Earliest);
        let (log, ownership) = self.0.member(join.group, &start, &life)?;
        let log = FaultyLog::new(log, join.faults.clone());
        let ownership = FaultyOwnership::new(ownership, join.faults);
        let consumer = Arc::new(LogConsumer::new(log, ownership, settings));
        Ok(Member::new(consumer, meter, move || life.end()))
    }

    async fn left(&self, group: &str) -> usize {
        self.0.unsettled(group)
    }

    async fn reshard(&self, how: Reshard) -> Result<()> {
        reshard(&self.0, how)
    }
}

#[async_trait]
impl Rig for QueueRig {
    fn capabilities(&self) -> Capabilities {
        let queue = Capabilities::new(Shape::Queue, LEASE).with_longest(LONGEST).with_paused_time();
        match self.ordering {
            Ordering::Key => queue.in_order().with_dedup(WINDOW),
            Ordering::None => queue,
        }
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        let queue = |group: &&'static str| {
            let mut options = QueueOptions::named(format!("orders-{group}"));
            (options.lease, options.longest) = (LEASE, LONGEST);
            (options.ordering, options.per_key) = (self.ordering, needs.per_key);
            options.message_bytes = needs.message_bytes.unwrap_or(options.message_bytes);
            options.bytes = needs.room.unwrap_or(options.bytes);
            options.dedup = self.capabilities().dedup;
            (*group, MemoryQueue::new(options))
        };
        Ok(Box::new(QueueChannel(needs.groups.iter().map(queue).collect())))
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        None // a memory queue is there as soon as it is named
    }

    fn configuration(&self) -> String {
        configuration("queue")
    }

    fn configure(&self, text: &str) -> Result<()> {
        configure(text)
    }
}

/// A queue for each group, fed with a copy of what is sent.
struct QueueChannel(Vec<(&'static str, MemoryQueue)>);

impl fmt::Debug for QueueChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(_, queue)| queue)).finish()
    }
}

impl QueueChannel {
    fn queue(&self, group: &str) -> Result<&MemoryQueue> {
        let found = self.0.iter().find(|(name, _)| *name == group).map(|(_, queue)| queue);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("memory: no queue is fed for group {group:?}")))
    }
}

#[async_trait]
impl Channel for QueueChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        match &self.0[..] {
            [(_, queue)] => queue.producer(),
            queues => fan_out(queues.iter().map(|(_, queue)| queue.clone()).collect()),
        }
    }

    async fn send_foreign(&self) -> Result<()> {
        strait_testkit::send_foreign(&*self.producer()).await
    }

    async fn join(&self, join: Join) -> Result<Member> {
        if join.start.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "memory: a queue has no start to choose"));
        }
        let (life, meter) = (Life::default(), Meter::default());
        let queue = FaultyQueue::new(self.queue(join.group)?.with_life(life.clone()), join.faults);
        let mut settings = QueueSettings::default();
        settings.observer = Arc::new(meter.clone());
        Ok(Member::new(Arc::new(QueueConsumer::new(queue, settings)), meter, move || life.end()))
    }

    async fn left(&self, group: &str) -> usize {
        self.queue(group).map_or(0, MemoryQueue::len)
    }

    async fn reshard(&self, _: Reshard) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "memory: a queue has no partitions"))
    }
}
