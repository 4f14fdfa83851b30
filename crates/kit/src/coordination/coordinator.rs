use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Instant,
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Position, Result};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::{
    CoordinatorSettings,
    calls::Event,
    driver::{Driver, Request},
    rows::Name,
};
use crate::{Became, Change, Log, Ownership, Progress, Renew, RowStore, Start, Suspect};

/// How many requests may wait for the coordinator. Whoever makes more waits for room.
const REQUESTS: usize = 256;

/// How many errors are kept until somebody asks for changes. Later ones are in the log.
const ERRORS: usize = 16;

/// An [`Ownership`] shared with other processes, through rows of a store.
///
/// Every process of a group makes one, over the same rows; the group is the store's prefix or table. It keeps **W1** to
/// **W3** through everything that `docs/coordination.md` lists, and says there what each failure costs.
///
/// [`start`](Self::start) drives it on a thread of its own, with a runtime of its own: heartbeats go on while handlers
/// block the application's threads. That holds only for calls that are made there, so give it a store whose connections
/// nothing else uses. Dropped without [`close`](Ownership::close), it stops, and its partitions go to others once its
/// member has expired.
#[derive(Debug)]
pub struct Coordinator {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

/// What the driver and those who ask it share.
pub(super) struct Shared {
    pub(super) settings: CoordinatorSettings,
    state: Mutex<State>,
    changed: Notify,
    renew: OnceLock<Renew>,
    /// Whether the rows are those of the log, once that is known, or what is in the way of finding out.
    opened: watch::Sender<Option<Result<()>>>,
}

#[derive(Debug, Default)]
struct State {
    /// At most three a partition, and one renewal.
    changes: VecDeque<Change>,
    errors: VecDeque<Error>,
    /// The newest end of whatever is owned.
    until: Option<Instant>,
    /// A loss was handed out: it is heard once the next change is asked for.
    losing: bool,
    stopped: bool,
}

impl Coordinator {
    /// A member of the group that `rows` belong to, for the partitions of `log`, on a thread of its own.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the settings contradict each other, naming the field; [`ErrorKind::Other`] if no thread
    /// can be started.
    pub fn start(rows: Arc<dyn RowStore>, log: Arc<dyn Log>, settings: CoordinatorSettings) -> Result<Self> {
        let (coordinator, driver) = Self::new(rows, log, settings)?;
        driver.spawn_thread()?;
        Ok(coordinator)
    }

    /// As [`start`](Self::start), as a task of the runtime that this is called in: for tests whose clock is paused.
    /// Handlers that block that runtime's threads stop its heartbeats too; it then gives up in time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the settings contradict each other, naming the field.
    pub fn start_here(rows: Arc<dyn RowStore>, log: Arc<dyn Log>, settings: CoordinatorSettings) -> Result<Self> {
        let (coordinator, driver) = Self::new(rows, log, settings)?;
        tokio::spawn(driver.run());
        Ok(coordinator)
    }

    fn new(rows: Arc<dyn RowStore>, log: Arc<dyn Log>, settings: CoordinatorSettings) -> Result<(Self, Driver)> {
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let (state, changed, renew, opened) = Default::default();
        let shared = Arc::new(Shared { settings, state, changed, renew, opened });
        let driver = Driver::new(Arc::clone(&shared), rows, log, receiver)?;
        Ok((Self { shared, requests }, driver))
    }

    /// Waits until it is known whether the rows of the group are those of this log: until then nothing is written. That
    /// takes one read, and as long as the store cannot be reached. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if they are those of another log, naming both: they are left as they are, and this member is
    /// none. What the store reported, if that does not mend itself. [`ErrorKind::Lost`] if it was closed before.
    pub async fn opened(&self) -> Result<()> {
        let mut opened = self.shared.opened.subscribe();
        let outcome = opened.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        outcome.ok().flatten().unwrap_or_else(|| Err(Self::stopped()))
    }

    fn stopped() -> Error {
        Error::new(ErrorKind::Lost, "coordination: this member has left, or its thread has ended")
    }

    async fn ask(&self, event: Event) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { event, answer: Some(answer) }).await.map_err(|_| Self::stopped())?;
        answered.await.unwrap_or_else(|_| Err(Self::stopped()))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding this")
    }

    /// Adds a change. Returns tenures that were over before anybody heard of them.
    pub(super) fn push(&self, change: Change) -> Vec<(Name, u64)> {
        let mut state = self.state();
        let (mut unheard, mut renewed) = (Vec::new(), None);
        match &change {
            Change::Renewed { until } => {
                state.until = Some(*until);
                state.changes.retain(|change| !matches!(change, Change::Renewed { .. }));
                // What was lost must not be renewed. Losses are pushed by this thread alone, so that none comes between.
                if !state.losing && !state.changes.iter().any(|change| matches!(change, Change::Lost { .. })) {
                    renewed = Some(*until);
                }
            }
            Change::Lost { partition, epoch } => {
                let before = state.changes.len();
                state.changes.retain(|change| match change {
                    Change::Gained { partition: p, epoch: e, .. } | Change::Revoked { partition: p, epoch: e } => {
                        let over = p == partition && e == epoch;
                        if over && matches!(change, Change::Gained { .. }) {
                            unheard.push((Arc::clone(p), *e));
                        }
                        !over
                    }
                    _ => true,
                });
                if before != state.changes.len() && !unheard.is_empty() {
                    return unheard;
                }
            }
            _ => {}
        }
        state.changes.push_back(change);
        drop(state);
        if let (Some(until), Some(renew)) = (renewed, self.renew.get()) {
            renew(until);
        }
        self.changed.notify_one();
        unheard
    }

    /// Whether the rows are those of the log.
    pub(super) fn opened(&self, outcome: Result<()>) {
        self.opened.send_replace(Some(outcome));
    }

    pub(super) fn report(&self, error: Error) {
        self.opened.send_if_modified(|opened| tell_first(opened, &error));
        let mut state = self.state();
        if state.errors.len() < ERRORS {
            state.errors.push_back(error);
        }
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.state().stopped = true;
        self.opened.send_if_modified(|opened| tell_first(opened, &Coordinator::stopped()));
        self.changed.notify_one();
    }
}

/// Sets the outcome of opening to this error, unless it is known already. Returns whether it was set.
fn tell_first(opened: &mut Option<Result<()>>, error: &Error) -> bool {
    let first = opened.is_none();
    opened.get_or_insert_with(|| Err(error.clone()));
    first
}

#[async_trait]
impl Ownership for Coordinator {
    async fn next(&self) -> Result<Option<Change>> {
        self.shared.state().losing = false;
        loop {
            let changed = self.shared.changed.notified();
            {
                let mut state = self.shared.state();
                if let Some(mut change) = state.changes.pop_front() {
                    state.losing = matches!(change, Change::Lost { .. });
                    if let Change::Gained { until, .. } = &mut change {
                        *until = state.until.max(*until); // it may have waited, and was renewed meanwhile
                    }
                    return Ok(Some(change));
                }
                if state.stopped {
                    return Ok(None); // whatever is still to be reported: it is in the log
                }
                if let Some(error) = state.errors.pop_front() {
                    return Err(error);
                }
            }
            changed.await;
        }
    }

    async fn commit(&self, progress: &Progress) -> Result<()> {
        self.ask(Event::Commit { ticket: 0, progress: progress.clone() }).await
    }

    async fn resume_at(&self, partition: &str, epoch: u64, start: &Start) -> Result<()> {
        self.ask(Event::ResumeAt { ticket: 0, partition: partition.into(), epoch, start: start.clone() }).await
    }

    async fn suspect(&self, partition: &str, epoch: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()> {
        let (partition, settled, suspect) = (partition.into(), settled.cloned(), suspect.clone());
        self.ask(Event::Suspect { ticket: 0, partition, epoch, settled, suspect }).await
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        self.ask(Event::Release { ticket: 0, partition: partition.into(), epoch }).await
    }

    async fn finish(&self, partition: &str, epoch: u64, became: Became) -> Result<()> {
        self.ask(Event::Finish { ticket: 0, partition: partition.into(), epoch, became }).await
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        let event = Event::Returned { partition: partition.into(), epoch };
        let _ = self.requests.send(Request { event, answer: None }).await; // it may have left
    }

    fn on_renewal(&self, renew: Renew) {
        let _ = self.shared.renew.set(renew); // one consumer owns what it owns
    }

    async fn close(&self) -> Result<()> {
        match self.ask(Event::Close).await {
            Err(error) if error.kind() == ErrorKind::Lost => Ok(()), // it has left already
            closed => closed,
        }
    }
}
