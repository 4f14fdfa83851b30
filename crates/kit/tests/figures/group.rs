//! A group of processes: each has a coordinator, a `LogConsumer`, a `Receiver` and a `Worker`, all of them real.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use fastrand::Rng;
use strait_core::{Error, Ordering};
use strait_kit::{
    Log, LogConsumer, LogSettings, RowStore,
    coordination::{Coordinator, CoordinatorSettings},
};
use strait_runtime::{DeadLetter, Delivery, Failure, Receiver, ReceiverSettings, Worker};
use tokio::{task::JoinHandle, time};

use crate::{
    rows::{Rows, Wire},
    stream::{Stream, View},
};

/// A handler that began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// Since the beginning.
    pub(crate) at: Duration,
    pub(crate) process: usize,
    pub(crate) partition: usize,
    pub(crate) key: u32,
    pub(crate) sequence: u64,
}

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) rows: Arc<Rows>,
    pub(crate) stream: Arc<Stream>,
    /// The time in microseconds: by this clock, since processes may have others.
    pub(crate) clock: Box<dyn Clock>,
    settings: CoordinatorSettings,
    handler: Handler,
    starts: Mutex<Vec<Start>>,
    /// Handlers that began in a process that the partition's row did not name.
    pub(crate) strays: AtomicU64,
    processes: AtomicUsize,
    appended: Mutex<BTreeMap<u32, u64>>,
}

pub(crate) trait Clock: std::fmt::Debug + Send + Sync {
    fn now(&self) -> Duration;
}

/// The clock of the test's runtime.
#[derive(Debug)]
pub(crate) struct Paused(time::Instant);

impl Paused {
    pub(crate) fn new() -> Self {
        Self(time::Instant::now())
    }
}

impl Clock for Paused {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What handlers do.
pub(crate) enum Handler {
    /// They wait for a while: at most so many milliseconds.
    Waits(u64),
    Calls(Box<dyn Fn() + Send + Sync>),
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").finish_non_exhaustive()
    }
}

impl Group {
    /// One with the default settings.
    pub(crate) fn new(partitions: usize, millis: u64, clock: impl Clock + 'static) -> Arc<Self> {
        Self::with(partitions, Handler::Waits(millis), clock, CoordinatorSettings::default())
    }

    pub(crate) fn with(
        partitions: usize,
        handler: Handler,
        clock: impl Clock + 'static,
        settings: CoordinatorSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            rows: Arc::default(),
            stream: Stream::new(partitions),
            clock: Box::new(clock),
            settings,
            handler,
            starts: Mutex::default(),
            strays: AtomicU64::new(0),
            processes: AtomicUsize::new(0),
            appended: Mutex::default(),
        })
    }

    pub(crate) fn append(&self, key: u32) {
        let mut appended = self.appended.lock().expect("no test panics while holding this");
        let sequence = appended.entry(key).or_default();
        self.stream.append(key, *sequence);
        *sequence += 1;
    }

    /// How many messages of each key there are.
    pub(crate) fn appended(&self) -> BTreeMap<u32, u64> {
        self.appended.lock().expect("no test panics while holding this").clone()
    }

    pub(crate) fn starts(&self) -> MutexGuard<'_, Vec<Start>> {
        self.starts.lock().expect("no test panics while holding this")
    }

    /// Starts a process in the runtime that this is called in.
    pub(crate) fn join(self: &Arc<Self>) -> Process {
        self.start(Coordinator::start_here)
    }

    /// As `join`, with a coordinator on a thread of its own.
    pub(crate) fn join_apart(self: &Arc<Self>) -> Process {
        self.start(Coordinator::start)
    }

    fn start(
        self: &Arc<Self>,
        coordinator: impl FnOnce(Arc<dyn RowStore>, Arc<dyn Log>, CoordinatorSettings) -> Result<Coordinator, Error>,
    ) -> Process {
        let number = self.processes.fetch_add(1, Relaxed);
        let wire = Wire::new(&self.rows, number as u64);
        let view: Arc<dyn Log> = Arc::new(View { stream: Arc::clone(&self.stream), wire: Arc::clone(&wire) });
        let rows: Arc<dyn RowStore> = Arc::<Wire>::clone(&wire);
        let ownership = coordinator(rows, Arc::clone(&view), self.settings.clone()).expect("sound settings");
        let consumer = LogConsumer::new(view, Arc::new(ownership), LogSettings::default());
        let mut settings = ReceiverSettings::new(DeadLetter::Block);
        settings.ordering = Ordering::Key;
        settings.in_flight = 16;
        settings.buffer = 64;
        let receiver = Receiver::new(Arc::new(consumer), settings).expect("sound settings");
        let (group, way) = (Arc::clone(self), Arc::clone(&wire));
        let rng = Arc::new(Mutex::new(Rng::with_seed(number as u64)));
        let worker = Worker::new(receiver.clone());
        let work = tokio::spawn(async move {
            let handle = move |delivery: Delivery, _| {
                let (group, way, rng) = (Arc::clone(&group), Arc::clone(&way), Arc::clone(&rng));
                async move { handle(&group, &way, number, delivery, &rng).await }
            };
            worker.run(handle).await.expect("it closes in good order");
        });
        Process { number, wire, receiver, work }
    }
}

async fn handle(
    group: &Group,
    wire: &Wire,
    process: usize,
    delivery: Delivery,
    rng: &Mutex<Rng>,
) -> Result<(), Failure> {
    if wire.is_killed() {
        std::future::pending::<()>().await;
    }
    let partition = delivery.partition().expect("it is a log");
    if group.rows.owner(partition).is_none_or(|owner| !wire.is_called(&owner)) {
        group.strays.fetch_add(1, Relaxed);
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
    let partition = partition.trim_start_matches('p').parse().expect("partitions are named so");
    let message = delivery.message();
    let key = message.key.as_ref().expect("it has one").as_str();
    let key = key.trim_start_matches('k').parse().expect("keys are named so");
    let sequence = text(&message.payload).parse().expect("it is a number");
    group.starts().push(Start { at: group.clock.now(), process, partition, key, sequence });
    match &group.handler {
        Handler::Calls(call) => call(),
        Handler::Waits(millis) => {
            let long = rng.lock().expect("no test panics while holding this").u64(1..=*millis);
            time::sleep(Duration::from_millis(long)).await;
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) number: usize,
    pub(crate) wire: Arc<Wire>,
    receiver: Receiver,
    work: JoinHandle<()>,
}

impl Process {
    /// As SIGKILL does: no call ever returns, no handler begins.
    pub(crate) fn kill(self) {
        self.wire.kill();
        self.work.abort();
    }

    /// As SIGTERM does: closes, and is over once that is done.
    pub(crate) async fn leave(self) {
        self.receiver.close().await.expect("it closes in good order");
        self.work.await.expect("nothing panics");
    }

    pub(crate) fn claims_lost(&self) -> u64 {
        self.receiver.health().counts.claims_lost
    }

    /// What the rows name this process for.
    pub(crate) fn owns(&self, group: &Group, partitions: usize) -> Vec<usize> {
        let names = self.wire.names();
        let owned = |partition: &usize| {
            let owner = group.rows.owner(&crate::stream::name(*partition));
            owner.is_some_and(|owner| names.contains(&owner))
        };
        (0..partitions).filter(owned).collect()
    }
}
