mod group;
mod member;
mod partition;
mod rebalance;
mod store;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use strait_core::{
    Budget, Consumer, Error, ErrorKind, Guarantees, Limits, Message, Ordering, Position, Producer, Receipt, Result,
    planted,
};
use strait_kit::{Identity, Log, LogConsumer, LogSettings, Ownership, Page, Partition, Reader, Start};
use tokio::{
    sync::{Notify, futures::Notified},
    time,
};

use crate::{
    Life,
    producer::{MemoryProducer, REQUEST_MESSAGES, Sink},
    queue::wall_clock,
};
use group::Group;
use partition::{index, name};
use store::Store;

/// What a [`MemoryLog`] is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogOptions {
    /// What it is called. Default: `log`.
    pub name: Arc<str>,
    /// How many partitions it has, at least 1. Default: 4.
    pub partitions: usize,
    /// Most bytes stored; each message counts 64 more than it has. What every group has settled is forgotten.
    /// Default: 64 MiB.
    pub bytes: usize,
    /// The largest message. Default: 1 MiB.
    pub message_bytes: usize,
    /// After how long without a sign of life a member's partitions go to others. Default: 10 s.
    pub lease: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            name: "log".into(),
            partitions: 4,
            bytes: 64 << 20,
            message_bytes: 1 << 20,
            lease: Duration::from_secs(10),
        }
    }
}

impl LogOptions {
    /// The defaults, under this name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Most time between commits. What is not committed cannot be forgotten, and holds up senders once the log is full; here
/// a commit costs next to nothing.
const COMMIT: Duration = Duration::from_millis(20);

/// Most bytes of a request, as with Kinesis, unless a message may have more.
const REQUEST_BYTES: usize = 10 << 20;

/// How long a reader waits for something new.
const POLL: Duration = Duration::from_secs(1);

/// A partitioned log in memory, and the groups that consume it. Clones are the same log.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: LogOptions,
    identity: Identity,
    store: Mutex<Store>,
    groups: Notify,
}

/// A log is another one whenever it is made: what was stored in one of the same name before is gone.
fn identity(name: &Arc<str>) -> Identity {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let since = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Identity::new(Arc::clone(name)).with_made(format!("{}.{}", since.as_nanos(), MADE.fetch_add(1, Relaxed)))
}

impl MemoryLog {
    /// An empty log.
    pub fn new(mut options: LogOptions) -> Self {
        options.partitions = options.partitions.max(1);
        let (identity, store) = (identity(&options.name), Mutex::new(Store::new(options.clone())));
        Self { shared: Arc::new(Shared { options, identity, store, groups: Notify::new() }) }
    }

    /// Sends to it.
    pub fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(MemoryProducer::new(self.clone()))
    }

    /// Makes a group known that starts at `start`, if it is not. What is stored is kept until every group has settled it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the log has no such position.
    pub fn create_group(&self, group: &str, start: &Start) -> Result<()> {
        let mut store = self.store();
        if !store.groups.contains_key(group) || planted!("latest-for-known-group") {
            let group_of = Group::new(store.starts(start)?, self.shared.options.lease);
            store.groups.insert(group.to_owned(), group_of);
        }
        Ok(())
    }

    /// Consumes it as a member of `group`, which starts at `start` if it is new. Must be called inside a Tokio runtime.
    /// Commits at least every 20 ms, whatever the settings say, so that the log soon forgets what is settled.
    ///
    /// # Errors
    ///
    /// As [`create_group`](Self::create_group).
    pub fn consumer(&self, group: &str, start: &Start, settings: LogSettings) -> Result<Arc<dyn Consumer>> {
        self.consumer_with(group, start, settings, &Life::default())
    }

    /// Consumes it in a process that a test may kill.
    ///
    /// # Errors
    ///
    /// As [`create_group`](Self::create_group).
    pub fn consumer_with(
        &self,
        group: &str,
        start: &Start,
        mut settings: LogSettings,
        life: &Life,
    ) -> Result<Arc<dyn Consumer>> {
        let (log, ownership) = self.member(group, start, life)?;
        settings.commit_interval = settings.commit_interval.min(COMMIT);
        Ok(Arc::new(LogConsumer::new(log, ownership, settings)))
    }

    /// What a consumer is made of: the log as a process sees it, and that process as a member of `group`. For a test
    /// that puts something in between.
    ///
    /// # Errors
    ///
    /// As [`create_group`](Self::create_group).
    pub fn member(&self, group: &str, start: &Start, life: &Life) -> Result<(Arc<dyn Log>, Arc<dyn Ownership>)> {
        self.create_group(group, start)?;
        Ok((self.seen_by(group, life), member::member(self, group, life)))
    }

    /// The log as a process of `group` sees it, for a group that is shared by other means than this log's own: its
    /// progress is told to [`settled`](Self::settled).
    pub fn seen_by(&self, group: &str, life: &Life) -> Arc<dyn Log> {
        let source = format!("{}/{group}", self.shared.options.name).into();
        Arc::new(Seen { log: self.clone(), source, life: life.clone() })
    }

    /// A group that is shared by other means has settled a partition up to here. What all groups have settled is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Invalid`] if there is no such group, partition or position.
    pub fn settled(&self, group: &str, partition: &str, position: &Position) -> Result<()> {
        let (index, mut store) = (index(partition)?, self.store());
        let next = store.resolve(index, &Start::After(position.clone()))?;
        let known = store.groups.get_mut(group);
        known
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("memory: no group {group:?}")))?
            .skip_to(index, next);
        store.trim(index);
        Ok(())
    }

    /// The partitions that are written to, in the order of their keys: those that follow each other are neighbours.
    pub fn open_partitions(&self) -> Vec<Arc<str>> {
        self.store().ring().map(name).collect()
    }

    /// Splits a partition in two, each with half of its keys: it is closed, and they are read once all of it is settled.
    /// Returns their names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Invalid`] if there is no such open partition, or it has a single hash.
    pub fn split(&self, partition: &str) -> Result<Vec<Arc<str>>> {
        let children = self.store().split(index(partition)?)?;
        self.shared.groups.notify_waiters();
        Ok(children.into_iter().map(name).collect())
    }

    /// Merges two partitions whose keys are neighbours, as [`split`](Self::split) splits one. Returns the name of the new
    /// one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] or [`ErrorKind::Invalid`] if they are not open, or no neighbours.
    pub fn merge(&self, one: &str, other: &str) -> Result<Arc<str>> {
        let child = self.store().merge(index(one)?, index(other)?)?;
        self.shared.groups.notify_waiters();
        Ok(name(child))
    }

    /// How many records a group has yet to settle and commit.
    pub fn unsettled(&self, group: &str) -> usize {
        self.store().unsettled(group)
    }

    /// The position up to which a group has settled a partition.
    pub fn checkpoint(&self, group: &str, partition: &str) -> Option<u64> {
        let index = index(partition).ok()?;
        self.store().groups.get(group)?.next(index).checked_sub(1)
    }

    /// Which member of a group owns a partition.
    pub fn owner(&self, group: &str, partition: &str) -> Option<u64> {
        let index = index(partition).ok()?;
        self.store().groups.get(group)?.owner(index)
    }

    /// How many records are stored.
    pub fn len(&self) -> usize {
        self.store().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes are stored.
    pub fn bytes(&self) -> usize {
        self.store().bytes()
    }

    fn options(&self) -> &LogOptions {
        &self.shared.options
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().expect("nothing panics while holding this")
    }

    fn with_group<T>(&self, group: &str, act: impl FnOnce(&mut Group) -> T) -> T {
        let mut store = self.store();
        let mixed_up = planted!("groups-mixed-up");
        let group = if mixed_up { store.groups.values_mut().next() } else { store.groups.get_mut(group) };
        let group = group.expect("made with its first member");
        let result = act(group);
        let news = group.take_news();
        drop(store);
        if news {
            self.shared.groups.notify_waiters();
        }
        result
    }

    fn groups_changed(&self) -> Notified<'_> {
        self.shared.groups.notified()
    }

    fn trim(&self, partition: usize) {
        self.store().trim(partition);
    }
}

/// The log as one process sees it.
#[derive(Debug)]
struct Seen {
    log: MemoryLog,
    source: Arc<str>,
    life: Life,
}

#[async_trait]
impl Log for Seen {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("memory", Arc::clone(&self.source))
            .with_ordering(Ordering::Key)
            .with_message_bytes(self.log.options().message_bytes)
            .with_fed_by(self.log.names())
    }

    fn identity(&self) -> Option<Identity> {
        Some(self.log.shared.identity.clone())
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        self.life.breathe().await;
        let store = self.log.store();
        Ok((0..store.partitions().len()).map(|index| store.describe(index)).collect())
    }

    async fn open(&self, partition: &str, start: &Start, _epoch: u64, _ahead: usize) -> Result<Box<dyn Reader>> {
        self.life.breathe().await;
        let index = index(partition)?;
        let store = self.log.store();
        let (next, grown) = (store.resolve(index, start)?, Arc::clone(&store.partitions()[index].grown));
        Ok(Box::new(LogReader { log: self.log.clone(), life: self.life.clone(), index, next, grown }))
    }

    async fn close(&self) -> Result<()> {
        self.life.breathe().await;
        Ok(())
    }
}

struct LogReader {
    log: MemoryLog,
    life: Life,
    index: usize,
    next: u64,
    grown: Arc<Notify>,
}

#[async_trait]
impl Reader for LogReader {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        self.life.breathe().await;
        let grown = self.grown.notified();
        let mut grown = std::pin::pin!(grown);
        grown.as_mut().enable();
        let read = || self.log.store().read(self.index, self.next, budget.messages, budget.bytes);
        let mut page = read()?;
        if matches!(&page, Page::Records { records, .. } if records.is_empty()) {
            let _ = time::timeout(POLL, grown).await;
            page = read()?;
        }
        if let Page::Records { records, .. } = &page {
            self.next += records.len() as u64;
        }
        Ok(page)
    }

    fn ahead(&self) -> usize {
        0
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Sink for MemoryLog {
    fn limits(&self) -> Limits {
        let largest = self.options().message_bytes;
        Limits::new(REQUEST_MESSAGES, REQUEST_BYTES.max(largest)).with_message_bytes(largest)
    }

    fn names(&self) -> Vec<String> {
        vec![format!("memory:{:p}", Arc::as_ptr(&self.shared))]
    }

    fn put(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        let (receipts, grown) = self.store().store(batch, wall_clock());
        for partition in grown {
            partition.notify_waiters();
        }
        receipts
    }
}
