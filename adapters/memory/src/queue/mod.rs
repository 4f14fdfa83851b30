mod store;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use strait_core::{Budget, Consumer, Guarantees, Limits, Message, Ordering, Producer, Receipt, Result};
use strait_kit::{LeaseTerms, Leased, Pause, Queue, QueueConsumer, QueueSettings};
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use crate::{
    Life,
    producer::{MemoryProducer, REQUEST_MESSAGES, Sink},
};
use store::{Handle, Store};

/// What a [`MemoryQueue`] is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueOptions {
    /// What it is called. Default: `queue`.
    pub name: Arc<str>,
    /// How long a lease lasts. Default: 30 s, which is that of SQS.
    pub lease: Duration,
    /// How long a message may be held in all. Default: 12 h, the longest of SQS.
    pub longest: Duration,
    /// Whether messages of a key come in order: one group at a time, as FIFO queues do. Default: by key.
    pub ordering: Ordering,
    /// Most messages of a key handed out at once; until all of them are dealt with, no further one of the key comes.
    /// Default: 1.
    pub per_key: usize,
    /// Most bytes stored; each message counts 64 more than it has. Default: 64 MiB.
    pub bytes: usize,
    /// The largest message. Default: 1 MiB.
    pub message_bytes: usize,
    /// How long a message's id is remembered, to store each once. Default: not at all.
    pub dedup: Option<Duration>,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            name: "queue".into(),
            lease: Duration::from_secs(30),
            longest: Duration::from_secs(12 * 60 * 60),
            ordering: Ordering::Key,
            per_key: 1,
            bytes: 64 << 20,
            message_bytes: 1 << 20,
            dedup: None,
        }
    }
}

impl QueueOptions {
    /// The defaults, under this name.
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// How long a poll waits for the first message: a quarter of the lease, but no shorter or longer than that.
const POLL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));

/// A queue in memory: messages are leased, and come again unless they are deleted in time. Clones are the same queue.
#[derive(Clone, Debug)]
pub struct MemoryQueue {
    shared: Arc<Shared>,
    life: Life,
}

#[derive(Debug)]
struct Shared {
    options: QueueOptions,
    store: Mutex<Store>,
    changed: Notify,
}

impl MemoryQueue {
    /// An empty queue.
    pub fn new(mut options: QueueOptions) -> Self {
        options.per_key = options.per_key.max(1);
        let store = Mutex::new(Store::new(options.clone()));
        Self { shared: Arc::new(Shared { options, store, changed: Notify::new() }), life: Life::default() }
    }

    /// Sends to it.
    pub fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(MemoryProducer::new(self.clone()))
    }

    /// Consumes it. Must be called inside a Tokio runtime.
    pub fn consumer(&self, settings: QueueSettings) -> Arc<dyn Consumer> {
        Arc::new(QueueConsumer::new(self.clone(), settings))
    }

    /// Consumes it in a process that a test may kill.
    pub fn consumer_with(&self, settings: QueueSettings, life: Life) -> Arc<dyn Consumer> {
        Arc::new(QueueConsumer::new(self.with_life(life), settings))
    }

    /// The same queue, as a process sees it that a test may kill.
    pub fn with_life(&self, life: Life) -> Self {
        Self { shared: Arc::clone(&self.shared), life }
    }

    /// How many messages are stored, leased or not.
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

    pub(crate) fn options(&self) -> &QueueOptions {
        &self.shared.options
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.shared.store.lock().expect("nothing panics while holding this")
    }

    /// Whether all of these fit now.
    pub(crate) fn fits(&self, batch: &[Message]) -> bool {
        self.store().fits(batch)
    }

    fn each<'a>(&self, handles: &'a [Handle], act: impl Fn(&mut Store, Handle) -> Result<()> + 'a) -> Vec<Result<()>> {
        let mut store = self.store();
        let outcomes = handles.iter().map(|handle| act(&mut store, *handle)).collect();
        let visible = store.has_visible();
        drop(store);
        if visible {
            self.shared.changed.notify_waiters();
        }
        outcomes
    }
}

impl Sink for MemoryQueue {
    /// A request has no more bytes than a message, as with SQS.
    fn limits(&self) -> Limits {
        Limits::new(REQUEST_MESSAGES, self.options().message_bytes)
    }

    fn names(&self) -> Vec<String> {
        vec![format!("memory:{:p}", Arc::as_ptr(&self.shared))]
    }

    fn put(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        let outcomes = self.store().store(batch, wall_clock());
        self.shared.changed.notify_waiters();
        outcomes
    }
}

/// When messages are stored: for people and for `stored_at`, never to measure time with.
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

impl Queue for MemoryQueue {
    type Handle = Handle;

    fn guarantees(&self) -> Guarantees {
        let options = &self.shared.options;
        Guarantees::new("memory", Arc::clone(&options.name))
            .with_ordering(options.ordering)
            .with_message_bytes(options.message_bytes)
            .with_postpones(Duration::MAX)
            .with_fed_by(self.names())
    }

    fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms { lease: self.shared.options.lease, longest: self.shared.options.longest }
    }

    fn counts_deliveries(&self) -> bool {
        true
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Leased<Handle>>> {
        let look = self.shared.options.lease / 4;
        let end = Instant::now() + look.clamp(POLL.0, POLL.1);
        loop {
            self.life.breathe().await;
            let changed = self.shared.changed.notified();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            let batch = self.store().lease(budget, now);
            if !batch.is_empty() || now >= end {
                return Ok(batch);
            }
            // Leases that run out wake nobody: they are looked for.
            let _ = time::timeout_at(end.min(now + look), changed).await;
        }
    }

    async fn delete(&self, handles: &[Handle]) -> Vec<Result<()>> {
        self.life.breathe().await;
        self.each(handles, Store::delete)
    }

    async fn extend(&self, handles: &[Handle]) -> Vec<Result<()>> {
        self.life.breathe().await;
        let now = Instant::now();
        self.each(handles, move |store, handle| store.extend(handle, now))
    }

    async fn release(&self, handles: &[Handle]) -> Vec<Result<()>> {
        self.life.breathe().await;
        self.each(handles, Store::release)
    }

    async fn postpone(&self, pauses: &[Pause<Handle>]) -> Vec<Result<()>> {
        self.life.breathe().await;
        let now = Instant::now();
        let mut store = self.store();
        pauses.iter().map(|pause| store.postpone(pause.handle, now, pause.time)).collect()
    }

    async fn close(&self) -> Result<()> {
        self.life.breathe().await;
        Ok(())
    }
}
