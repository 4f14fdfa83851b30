use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use strait_core::{
    Consumer, Error, ErrorKind, Guarantees, Measure, Observer as _, Receipt, Received, Result, Token, planted,
};
use tokio::time::{self, Instant, MissedTickBehavior};

use super::{
    DeadLetter, Oversize,
    burial::bury,
    desk::Postponing,
    item::{Item, after},
    receiving::{Came, Receiving},
    shared::Shared,
};
use crate::Meter;

/// What was to be settled, and how that went.
type Settled = (Vec<Box<Item>>, Vec<Result<()>>);

/// What was to be postponed, and how that went.
type Postponed = (Vec<Postponing>, Vec<Result<()>>);

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// How often what was taken away is let go of, while handlers are busy.
const SWEEP: Duration = Duration::from_millis(100);

/// The task behind a [`Receiver`](super::Receiver): keeps one `receive`, one `settle` and one `postpone` going, buries
/// what is doomed, and ends pauses, whatever else happens. None of these is ever cancelled while the consumer is open.
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
        if planted!("end-untold") {
            return;
        }
        self.0.end(Err(Error::new(ErrorKind::Closed, "the receiver's task was dropped before it was closed")));
    }
}

impl Driver {
    /// The task. What it ends by is made here and not in it, so that a runtime that never runs it ends it too.
    pub(super) fn run(self) -> impl Future<Output = ()> + Send {
        let ending = Ending(Arc::clone(&self.shared));
        async move {
            let (receiving, end) = self.drive().await;
            let closed = self.close(receiving, end).await;
            self.shared.end(closed);
            drop(ending);
        }
    }

    /// Runs until the receiver is closed, and drained or out of time. Returns the `receive` that is still under way, and
    /// when the close is to be over.
    async fn drive(&self) -> (Receiving, Instant) {
        let guarantees = self.consumer.guarantees();
        let mut receiving = Receiving::new(Arc::clone(&self.consumer));
        let mut settling: Option<Pending<Settled>> = None;
        let mut postponing: Option<Pending<Postponed>> = None;
        let mut burying = FuturesUnordered::new();
        let mut spare = Vec::new();
        let mut closing: Option<Closing> = None;
        let mut sweep = time::interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (due, holds) = {
                let mut desk = self.shared.desk();
                if !receiving.is_under_way()
                    && let Some(budget) = desk.budget()
                {
                    receiving.begin(budget);
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
                if postponing.is_none() && desk.has_postponing() {
                    postponing = Some(self.postpone(desk.postponing()));
                }
                if let DeadLetter::Channel(sender) = &self.dead_letter {
                    for item in desk.burying() {
                        burying.push(self.bury(item, sender.clone(), &guarantees));
                    }
                }
                if !desk.is_open() {
                    receiving.stop();
                    let closing = closing.get_or_insert_with(|| Closing::within(self.drain));
                    if desk.is_empty() {
                        return (receiving, closing.end);
                    }
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
                    self.shared.tell(&mut desk);
                }
                came = receiving.next() => {
                    match came {
                        Came::Batch(batch) => self.arrive(batch).await,
                        Came::Failed(error) => self.not_received(&error, receiving.failures),
                        Came::Broken(error) => {
                            self.meter.observe(Measure::Failed { call: "receive", kind: error.kind() });
                            self.shared.break_off(error);
                        }
                        Came::Quiet => {}
                        Came::Closed => self.shared.close(),
                    }
                    if receiving.failures == 0 && self.shared.failures() > 0 {
                        tracing::info!(receiver = %self.shared.name, failures = self.shared.failures(), "receives again");
                    }
                    self.shared.receive_failures(receiving.failures);
                }
                (batch, outcomes) = poll(&mut postponing) => {
                    postponing = None;
                    let mut desk = self.shared.desk();
                    desk.postponed(batch, outcomes);
                    self.shared.tell(&mut desk);
                }
                Some((item, outcome)) = burying.next() => {
                    let mut desk = self.shared.desk();
                    desk.buried(item, outcome);
                    self.shared.tell(&mut desk);
                }
                () = sleep_until(due) => {
                    let mut desk = self.shared.desk();
                    desk.wake(Instant::now());
                    self.shared.tell(&mut desk);
                }
                _ = sweep.tick(), if holds => {
                    let mut desk = self.shared.desk();
                    desk.sweep();
                    self.shared.tell(&mut desk);
                }
                end = out_of_time(closing.as_ref()) => {
                    tracing::warn!(receiver = %self.shared.name, "the time to drain is over: what is in hand will come again");
                    return (receiving, end);
                }
                () = self.shared.work.notified() => {}
            }
        }
    }

    async fn arrive(&self, batch: Vec<Received>) {
        if planted!("ack-before-handler") {
            let tokens: Vec<_> = batch.iter().map(|received| received.claim.token()).collect();
            self.consumer.settle(&tokens).await;
        }
        let mut desk = self.shared.desk();
        desk.arrive(batch);
        self.shared.tell(&mut desk);
    }

    fn postpone(&self, (batch, pauses): (Vec<Postponing>, Vec<(Token, Duration)>)) -> Pending<Postponed> {
        let consumer = Arc::clone(&self.consumer);
        Box::pin(async move {
            let outcomes = consumer.postpone(&pauses).await;
            (batch, outcomes)
        })
    }

    fn not_received(&self, error: &Error, failures: u32) {
        self.meter.observe(Measure::Failed { call: "receive", kind: error.kind() });
        if failures == 1 {
            tracing::warn!(receiver = %self.shared.name, %error, "cannot receive, and tries again");
        } else {
            tracing::debug!(receiver = %self.shared.name, %error, failures, "still cannot receive");
        }
    }

    fn bury(
        &self,
        item: Box<Item>,
        sender: crate::Sender,
        guarantees: &Guarantees,
    ) -> impl Future<Output = (Box<Item>, Result<Receipt>)> + Send + use<> {
        bury(item, Arc::clone(&self.shared.name), sender, guarantees.clone(), self.oversize)
    }

    /// Closes the consumer, which also ends the `receive` under way. What that still brings is dropped: given back.
    async fn close(&self, receiving: Receiving, end: Instant) -> Result<()> {
        self.shared.desk().end();
        let both = async { tokio::join!(self.consumer.close(), receiving.end()).0 };
        time::timeout_at(end, both).await.unwrap_or_else(|_| {
            let text = format!("{}: the provider did not close within drain, {:?}", self.shared.name, self.drain);
            Err(Error::new(ErrorKind::Unavailable, text))
        })
    }
}

/// The two ends of a close.
struct Closing {
    /// Until when what is in hand is waited for.
    drained: Instant,
    /// When all is over: what is not settled by then is not given back either.
    end: Instant,
}

impl Closing {
    /// One that takes `drain` at most from now on, the end of which is kept for the consumer's own close.
    fn within(drain: Duration) -> Self {
        const RESERVE: Duration = Duration::from_secs(3);
        let drain = drain.saturating_mul(if planted!("drains-too-long") { 4 } else { 1 });
        Self { drained: after(drain.saturating_sub(RESERVE.min(drain / 2))), end: after(drain) }
    }
}

async fn out_of_time(closing: Option<&Closing>) -> Instant {
    match closing {
        Some(closing) => {
            time::sleep_until(closing.drained).await;
            closing.end
        }
        None => std::future::pending().await,
    }
}

pub(super) async fn sleep_until(due: Option<Instant>) {
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
