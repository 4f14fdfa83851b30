use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use strait_core::{Budget, Consumer, Error, ErrorKind, Guarantees, Measure, Observer as _, Received, Result, planted};
use tokio::time::{self, Instant, MissedTickBehavior};

use super::{
    DeadLetter, Oversize,
    burial::bury,
    item::{Item, after},
    shared::Shared,
};
use crate::{Backoff, Meter};

/// What was to be settled, and how that went.
type Settled = (Vec<Box<Item>>, Vec<Result<()>>);

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How often what was taken away is let go of, while handlers are busy.
const SWEEP: Duration = Duration::from_millis(100);

/// Between calls to a provider that fails to deliver.
const RECEIVE_AGAIN: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// The task behind a [`Receiver`](super::Receiver): keeps one `receive` and one `settle` going, buries what is doomed,
/// and ends pauses, whatever else happens. None of these is ever cancelled while the consumer is open.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) consumer: Arc<dyn Consumer>,
    pub(super) dead_letter: DeadLetter,
    pub(super) oversize: Oversize,
    pub(super) drain: Duration,
    pub(super) meter: Meter,
}

/// Tells everybody that it is over, also when the runtime drops the task, even before its first turn, or a provider
/// panics in it.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end(Err(Error::new(ErrorKind::Closed, "the receiver's task was dropped before it was closed")));
    }
}

impl Driver {
    /// The task. What it ends by is made here and not in it, so that a runtime that never runs it ends it too.
    pub(super) fn run(self) -> impl Future<Output = ()> + Send {
        let ending = Ending(Arc::clone(&self.shared));
        async move {
            let receiving = self.drive().await;
            let closed = self.close(receiving).await;
            self.shared.end(closed);
            drop(ending);
        }
    }

    /// Runs until the receiver is closed, and drained or out of time. Returns the `receive` that is still under way.
    async fn drive(&self) -> Option<Pending<Result<Vec<Received>>>> {
        let guarantees = self.consumer.guarantees();
        let mut receiving: Option<Pending<Result<Vec<Received>>>> = None;
        let mut settling: Option<Pending<Settled>> = None;
        let mut burying = FuturesUnordered::new();
        let mut spare = Vec::new();
        let mut failures = 0;
        let mut opened = false;
        let mut deadline: Option<Instant> = None;
        let mut sweep = time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (due, holds) = {
                let mut desk = self.shared.desk();
                if receiving.is_none()
                    && let Some(budget) = desk.budget()
                {
                    receiving = Some(self.receive(budget, Duration::ZERO));
                }
                if settling.is_none() && desk.has_over() {
                    let mut batch = std::mem::take(&mut spare);
                    let tokens = desk.settling(&mut batch);
                    let consumer = Arc::clone(&self.consumer);
                    settling = Some(Box::pin(async move {
                        let outcomes = consumer.settle(&tokens).await;
                        (batch, outcomes)
                    }));
                }
                if let DeadLetter::Channel(sender) = &self.dead_letter {
                    for item in desk.burying() {
                        burying.push(self.bury(item, sender.clone(), &guarantees));
                    }
                }
                if !desk.is_open() {
                    if desk.is_empty() {
                        return receiving;
                    }
                    deadline.get_or_insert_with(|| after(self.drain));
                }
                desk.idle = settling.is_none();
                (desk.due(), !desk.is_empty())
            };
            tokio::select! {
                biased;
                (mut batch, outcomes) = poll(&mut settling) => {
                    settling = None;
                    let mut desk = self.shared.desk();
                    desk.settled(&mut batch, outcomes);
                    spare = batch;
                    self.shared.tell(&desk);
                }
                outcome = poll(&mut receiving) => {
                    receiving = None;
                    match outcome {
                        Ok(batch) if batch.is_empty() => self.shared.close(),
                        Ok(batch) => {
                            (failures, opened) = (0, true);
                            if planted!("ack-before-handler") {
                                let tokens: Vec<_> = batch.iter().map(|received| received.claim.token()).collect();
                                self.consumer.settle(&tokens).await;
                            }
                            let mut desk = self.shared.desk();
                            desk.arrive(batch);
                            self.shared.tell(&desk);
                        }
                        Err(error) => {
                            failures += 1;
                            receiving = self.receive_again(error, failures, opened);
                        }
                    }
                    self.shared.receive_failures(failures);
                }
                Some((item, outcome)) = burying.next() => {
                    let mut desk = self.shared.desk();
                    desk.buried(item, outcome);
                    self.shared.tell(&desk);
                }
                () = sleep_until(due) => {
                    let mut desk = self.shared.desk();
                    desk.wake(Instant::now());
                    self.shared.tell(&desk);
                }
                _ = sweep.tick(), if holds => {
                    let mut desk = self.shared.desk();
                    desk.sweep();
                    self.shared.tell(&desk);
                }
                () = sleep_until(deadline) => {
                    tracing::warn!(receiver = %self.shared.name, "the time to drain is over: what is in hand will come again");
                    return receiving;
                }
                () = self.shared.work.notified() => {}
            }
        }
    }

    fn receive(&self, budget: Budget, pause: Duration) -> Pending<Result<Vec<Received>>> {
        let consumer = Arc::clone(&self.consumer);
        Box::pin(async move {
            if !pause.is_zero() {
                time::sleep(pause).await;
            }
            consumer.receive(budget).await
        })
    }

    /// What cannot be had when it is opened never comes by itself. Later it may: somebody mends it, and it goes on.
    fn receive_again(&self, error: Error, failures: u32, opened: bool) -> Option<Pending<Result<Vec<Received>>>> {
        self.meter.observe(Measure::Failed { call: "receive", kind: error.kind() });
        let fatal = matches!(
            error.kind(),
            ErrorKind::Config | ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unsupported
        );
        if error.kind() == ErrorKind::Closed || (fatal && !opened) {
            self.shared.break_off(error);
            return None;
        }
        tracing::warn!(receiver = %self.shared.name, %error, failures, "cannot receive, and tries again");
        let pause = error.retry_after().unwrap_or_else(|| RECEIVE_AGAIN.pause(failures));
        let budget = self.shared.desk().budget()?;
        Some(self.receive(budget, pause))
    }

    fn bury(
        &self,
        item: Box<Item>,
        sender: crate::Sender,
        guarantees: &Guarantees,
    ) -> impl Future<Output = (Box<Item>, Result<()>)> + Send + use<> {
        bury(item, sender, guarantees.clone(), self.oversize)
    }

    /// Closes the consumer, which also ends the `receive` under way. What that still brings is dropped: given back.
    async fn close(&self, receiving: Option<Pending<Result<Vec<Received>>>>) -> Result<()> {
        self.shared.desk().end();
        let both = async {
            let rest = async {
                if let Some(receiving) = receiving {
                    drop(receiving.await);
                }
            };
            tokio::join!(self.consumer.close(), rest).0
        };
        let patience = self.drain.max(Duration::from_secs(5));
        time::timeout(patience, both).await.unwrap_or_else(|_| {
            let text = format!("{}: did not close within {patience:?}", self.shared.name);
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn poll<T>(pending: &mut Option<Pending<T>>) -> T {
    match pending {
        Some(pending) => pending.await,
        None => std::future::pending().await,
    }
}
