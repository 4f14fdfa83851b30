//! Working: a fixed number of loops, each of which works on one message, or one batch, at a time.

mod context;
mod signals;
mod slot;

use std::{
    fmt,
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    thread,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use strait_core::{Error, ErrorKind, Result};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tracing::Instrument as _;

pub use context::Context;
pub(crate) use slot::{Home, Lend, Settle};

use crate::{
    Batch, Delivery, Failure, Health, Receiver,
    receiver::{Shared, after},
};
use signals::Signals;
use slot::Slot;

/// Works on what a receiver receives.
///
/// Each of `in_flight` loops takes one delivery at a time and calls the handler. `Ok` acknowledges, `Err` is as its
/// [`Failure`] says, and a panic is a retry; an explicit verdict on the delivery wins. A handler that outlives its
/// time-out is cancelled, and that is a retry too.
///
/// A handler may hand its delivery on, say to a task that it spawns. Such a delivery is settled by its own verdict and by
/// nothing else: the handler's `Ok` does not acknowledge it, since the work goes on, and dropping it without a verdict is a
/// retry. Until then it counts as in flight, and a drain waits for it.
///
/// It stops when a future given to [`stop_on`](Self::stop_on) resolves, at a signal asked for by
/// [`stop_on_signals`](Self::stop_on_signals), or when the receiver is closed: then it drains, and
/// handlers that still run after [`ReceiverSettings::drain`](crate::ReceiverSettings::drain) are cancelled. They lose
/// their message up to 3 s earlier: see there.
pub struct Worker {
    receiver: Receiver,
    timeout: Option<Duration>,
    drain: Duration,
    /// It stops when one of them resolves.
    stop: FuturesUnordered<BoxFuture<'static, ()>>,
    signals: bool,
}

impl Worker {
    /// Works on what `receiver` receives.
    pub fn new(receiver: Receiver) -> Self {
        let drain = receiver.drain();
        Self { receiver, timeout: None, drain, stop: FuturesUnordered::new(), signals: false }
    }

    /// Cancels a handler that runs for longer than `limit`. Default: never.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Stops when `stop` resolves. Of several, the first counts.
    ///
    /// ```
    /// # use strait_runtime::Worker;
    /// # fn example(worker: Worker) -> Worker {
    /// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    /// // Stops when `stop` is sent to, or dropped.
    /// let worker = worker.stop_on(async { _ = stopped.await });
    /// # drop(stop); worker
    /// # }
    /// ```
    pub fn stop_on(self, stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.stop.push(Box::pin(stop));
        self
    }

    /// Stops at Ctrl-C and, on Unix, at SIGTERM. A second signal ends the drain at once: handlers are cancelled, `run`
    /// returns an error of kind [`ErrorKind::Closed`], and what was in hand is redelivered.
    pub fn stop_on_signals(mut self) -> Self {
        self.signals = true;
        self
    }

    /// What it receives from. A clone keeps the receiver open; [`Receiver::downgrade`] does not.
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// How its receiver is now. To watch it while the worker runs, keep a handle of its [`receiver`](Self::receiver).
    pub fn health(&self) -> Health {
        self.receiver.health()
    }

    /// Runs `handler` on every delivery, in tasks of their own, until stopped and drained.
    ///
    /// Dropping the future cancels the handlers and closes the receiver: what was in hand comes again.
    ///
    /// # Errors
    ///
    /// What the provider reported, if it could not be opened or did not close.
    pub async fn run<H, F>(self, handler: H) -> Result<()>
    where
        H: Fn(Delivery, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let tasks = self.spawn(|receiver, timeout| {
            let handler = Arc::clone(&handler);
            async move { work(receiver, &*handler, timeout).await }
        });
        self.supervise(tasks).await
    }

    /// As [`run`](Self::run), with batches of at most `max` messages. Of a key a batch may hold several, in order; when
    /// one fails, those of its key behind it are done again. Several batches run at once, as `in_flight` allows, but
    /// never two with messages of the same key. When a batch fails as a whole, its messages are tried again one by one.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_batch<H, F>(self, max: usize, handler: H) -> Result<()>
    where
        H: Fn(Batch, Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let tasks = self.spawn(|receiver, timeout| {
            let handler = Arc::clone(&handler);
            async move { work_batches(receiver, max, &*handler, timeout).await }
        });
        self.supervise(tasks).await
    }

    /// As [`run`](Self::run), in this task: the handler need not be `Send` and may borrow. Handlers interleave, but never
    /// run in parallel.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_local<H>(mut self, handler: H) -> Result<()>
    where
        H: AsyncFn(Delivery, Context) -> Result<(), Failure>,
    {
        let handler = |delivery, context| handler(delivery, context);
        let loops: FuturesUnordered<_> =
            (0..self.receiver.in_flight()).map(|_| work(self.receiver.clone(), &handler, self.timeout)).collect();
        let Self { receiver, stop, drain, signals, .. } = &mut self;
        let mut signals = Signals::listen(*signals);
        let all = pin!(loops.fold(Ok(()), |all, one| std::future::ready(all.and(one))));
        let mut all = all.fuse();
        let worked = tokio::select! {
            biased;
            () = stopped(stop, &mut signals) => {
                receiver.stop();
                tokio::select! {
                    biased;
                    () = signals.next() => return Err(self.cut_short()),
                    worked = timeout_at(after(*drain), &mut all) => worked.unwrap_or(Ok(())),
                }
            }
            worked = &mut all => worked,
        };
        tokio::select! {
            biased;
            () = signals.next() => Err(self.cut_short()),
            closed = receiver.close() => worked.and(closed),
        }
    }

    fn spawn<F>(&self, task: impl Fn(Receiver, Option<Duration>) -> F) -> JoinSet<Result<()>>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for _ in 0..self.receiver.in_flight() {
            tasks.spawn(task(self.receiver.clone(), self.timeout));
        }
        tasks
    }

    /// Waits for a reason to stop, and drains.
    async fn supervise(mut self, mut tasks: JoinSet<Result<()>>) -> Result<()> {
        let mut outcome = Ok(());
        let mut signals = Signals::listen(self.signals);
        tokio::select! {
            biased;
            () = stopped(&mut self.stop, &mut signals) => {}
            () = ended(&mut tasks, &mut outcome) => {}
        }
        self.receiver.stop();
        let deadline = after(self.drain);
        let drained = async {
            let closed = self.receiver.close().await;
            // Handlers may go on after a verdict of their own; those without one have lost their message by now.
            let _ = timeout_at(deadline, ended(&mut tasks, &mut outcome)).await;
            tasks.shutdown().await;
            outcome.and(closed)
        };
        tokio::select! {
            biased;
            () = signals.next() => Err(self.cut_short()), // and the handlers are cancelled with their tasks
            outcome = drained => outcome,
        }
    }

    fn cut_short(&self) -> Error {
        let name = &self.receiver.shared().name;
        Error::new(ErrorKind::Closed, format!("{name}: a second signal ended it before it was drained"))
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receiver, timeout, drain, stop: _, signals } = self;
        let mut debug = f.debug_struct("Worker");
        debug.field("receiver", receiver).field("timeout", timeout).field("drain", drain).field("signals", signals);
        debug.finish_non_exhaustive()
    }
}

/// Waits for one of the reasons to stop, or for a signal.
async fn stopped(stop: &mut FuturesUnordered<BoxFuture<'static, ()>>, signals: &mut Signals) {
    tokio::select! {
        Some(()) = stop.next() => {}
        () = signals.next() => tracing::info!("told to stop by a signal: draining; a second one ends it at once"),
    }
}

/// Waits until all tasks have ended, and keeps the first error.
async fn ended(tasks: &mut JoinSet<Result<()>>, outcome: &mut Result<()>) {
    while let Some(task) = tasks.join_next().await {
        let ended = task.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Other, "a handler panicked while it was being cancelled").with_source(error))
        });
        if outcome.is_ok() {
            *outcome = ended;
        }
    }
}

async fn work<H, F>(receiver: Receiver, handler: &H, timeout: Option<Duration>) -> Result<()>
where
    H: Fn(Delivery, Context) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let mut slot = Slot::new();
    let mut done = None;
    loop {
        // One message is ended and the next one taken at once. Only where there is none yet it is waited for.
        let next = match receiver.end_and_take(done.take()) {
            Some(next) => Some(next),
            None => receiver.recv().await?,
        };
        let Some(delivery) = next else { return Ok(()) };
        let context = context(Some(delivery.watch()), delivery.attempt(), timeout);
        let span = tracing::debug_span!("attempt", position = %delivery.origin().position(), attempt = context.attempt);
        // A span that nobody asked for is not entered: that would cost as much as the rest of this loop.
        done = if span.is_disabled() {
            attempt(&mut slot, receiver.shared(), handler, delivery, context).await
        } else {
            attempt(&mut slot, receiver.shared(), handler, delivery, context).instrument(span).await
        };
    }
}

async fn work_batches<H, F>(receiver: Receiver, max: usize, handler: &H, timeout: Option<Duration>) -> Result<()>
where
    H: Fn(Batch, Context) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let mut slot = Slot::new();
    while let Some(batch) = receiver.recv_batch(max).await? {
        let context = context(batch.watch(), batch.attempt(), timeout);
        let span = tracing::debug_span!("batch", messages = batch.len(), attempt = context.attempt);
        let done = attempt(&mut slot, receiver.shared(), handler, batch, context).instrument(span).await;
        if let Some((parts, outcome)) = done {
            parts.settle(receiver.shared(), outcome);
        }
    }
    Ok(())
}

#[inline]
fn context(watch: Option<strait_core::Watch>, attempt: u32, timeout: Option<Duration>) -> Context {
    Context { watch, attempt, deadline: timeout.map(after) }
}

/// What came back of a loan, and how its handler ended.
pub(crate) type Done<P> = (P, Result<(), Failure>);

/// Lends `lent` to the handler, and calls it until it ends, panics or is out of time. Returns what came back, to be ended
/// as the handler did; nothing if the handler gave a verdict of its own, or keeps what it was lent.
async fn attempt<D, H, F>(
    slot: &mut Slot<D::Parts>,
    shared: &Shared,
    handler: &H,
    lent: D,
    context: Context,
) -> Option<Done<D::Parts>>
where
    D: Lend,
    H: Fn(D, Context) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let deadline = context.deadline;
    let (lent, loan) = slot.lend(lent, shared);
    let outcome = {
        let mut running = pin!(Some(async { handler(lent, context).await }));
        // Most handlers of a fast service end at once: under one guard, and without a timer. One that has returned or
        // panicked was dropped in that poll.
        let first = poll_fn(|task| {
            let poll = || running.as_mut().as_pin_mut().map_or(Poll::Pending, |running| running.poll(task));
            Poll::Ready(catch_unwind(AssertUnwindSafe(poll)))
        });
        let ended = match first.await {
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Ok(Poll::Pending) => finish(running, deadline).await,
            Err(panic) => Err(panic),
        };
        ended.unwrap_or_else(|_| panicked(shared))
    }; // the handler is dropped by now, and has given back what it was lent
    Some((loan.end()?, outcome))
}

/// Waits for a handler, until its deadline, and drops it. What it panics with then is caught too.
async fn finish<F>(mut running: Pin<&mut Option<F>>, deadline: Option<Instant>) -> thread::Result<Result<(), Failure>>
where
    F: Future<Output = Result<(), Failure>>,
{
    let guarded = AssertUnwindSafe(async {
        let Some(handler) = running.as_mut().as_pin_mut() else {
            return Err(Failure::retry("the handler was dropped before it ended"));
        };
        let outcome = match deadline {
            None => handler.await,
            Some(deadline) => timeout_at(deadline, handler)
                .await
                .unwrap_or_else(|_| Err(Failure::retry("the handler took longer than its time-out"))),
        };
        running.set(None);
        outcome
    });
    guarded.catch_unwind().await
}

#[cold]
fn panicked(shared: &Shared) -> Result<(), Failure> {
    tracing::error!(receiver = %shared.name, "a handler panicked, or did so while it was cancelled");
    Err(Failure::retry("the handler panicked"))
}
