use std::{fmt, mem, sync::Arc, time::Duration};

use async_trait::async_trait;
use strait_core::{Budget, Consumer, Error, ErrorKind, Guarantees, Received, Result, Token, planted};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    Leased, Queue, QueueSettings,
    held::Named,
    leases::Term,
    pace::Pace,
    polls::Polls,
    postponing::postpone,
    release::{release_all, release_dropped},
    renewal::keep_renewed,
    shared::{Shared, complete, is_gone, raised},
};
use crate::{
    answers::{self, Answers},
    guard::{guard, guard_all},
};

/// A [`Consumer`] of a [`Queue`]: keeps the leases of everything it handed out.
///
/// Messages are received by concurrent polls, whose budgets together never exceed what was asked for. A lease counts
/// from the instant before its request was sent. The claims of a key are lost together, and what is dropped is released
/// within a second, oldest first. A close releases everything that is left, and may be called again if it was broken off.
/// Dropped without [`close`](Consumer::close), it stops, and its leases run out.
pub struct QueueConsumer<Q: Queue> {
    shared: Arc<Shared<Q>>,
    polling: AsyncMutex<Polling<Q::Handle>>,
    closing: watch::Sender<bool>,
    /// How it was closed, once it is.
    closed: AsyncMutex<Option<Result<()>>>,
}

/// What one `receive` leaves to the next.
struct Polling<H> {
    polls: Polls<H>,
    pace: Pace,
    answers: Answers,
}

impl<Q: Queue> QueueConsumer<Q> {
    /// Consumes `queue`. Must be called inside a Tokio runtime.
    pub fn new(queue: Q, settings: QueueSettings) -> Self {
        let largest = queue.guarantees().message_bytes;
        let polls = Polls::new(settings.pollers.max(1), settings.per_poll.max(1), largest);
        let polling = Polling { polls, pace: Pace::default(), answers: Answers::default() };
        let shared = Arc::new(Shared::new(queue, settings));
        let closing = watch::Sender::new(false);
        tokio::spawn(release_dropped(Arc::clone(&shared), closing.subscribe()));
        tokio::spawn(keep_renewed(Arc::clone(&shared), closing.subscribe()));
        Self { shared, polling: AsyncMutex::new(polling), closing, closed: AsyncMutex::default() }
    }

    /// The queue beneath: the way out to the provider's own client.
    pub fn queue(&self) -> &Q {
        &self.shared.queue
    }

    /// Takes in what the polls under way bring within `time`, to be released with the rest.
    async fn last_polls(&self, polls: &mut Polls<Q::Handle>, time: Duration) {
        let end = Instant::now() + time;
        while polls.are_under_way() {
            match timeout_at(end, polls.next()).await {
                Ok((sent, Ok(batch))) => drop(self.enter(batch, sent)),
                Ok((_, Err(_))) => {}
                Err(_) => break,
            }
        }
    }

    /// Releases everything, once the last polls have ended or their time is over. A poll that is still under way then may
    /// take along what was released before anybody else sees it: it is waited for a little longer, and what it brings is
    /// released too.
    async fn release_all(&self) -> Result<()> {
        let Polling { polls, .. } = &mut *self.polling.lock().await;
        let time = self.shared.settings.last_polls;
        self.last_polls(polls, time).await;
        let mut released = release_all(&self.shared).await;
        if released.as_ref().is_ok_and(|count| *count > 0) && polls.are_under_way() {
            self.last_polls(polls, time / 3).await;
            released = release_all(&self.shared).await;
        }
        if polls.are_under_way() {
            let Guarantees { provider, source, .. } = self.shared.queue.guarantees();
            tracing::info!(%provider, %source, "a poll is aborted at close: what it receives is redelivered after its lease");
        }
        polls.clear();
        released.map(drop)
    }

    fn enter(&self, mut batch: Vec<Leased<Q::Handle>>, sent: Instant) -> Vec<Received> {
        let (counts, lease) = (self.shared.queue.counts_deliveries(), self.shared.terms.lease);
        let sent = if planted!("lease-from-reply") { Instant::now() } else { sent }.into_std();
        let term = Term { received: sent, until: (sent + lease).into(), due: sent + lease / 3 };
        let (mut claims, mut again) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut held = self.shared.held();
        for (index, leased) in batch.iter().enumerate() {
            if (!counts || leased.origin.redeliveries() > 0) && held.renew(leased, &term, Instant::now().into_std()) {
                again.push(index);
            } else {
                claims.push(held.enter(leased, &term));
            }
        }
        drop(held);
        if !again.is_empty() {
            let mut indices = 0..;
            batch.retain(|_| indices.next().is_none_or(|index| again.binary_search(&index).is_err()));
        }
        let mut received = Vec::with_capacity(batch.len());
        // Taken out one by one: what is left of a `Leased` is dropped by whoever knows more than this loop.
        received.extend(batch.iter_mut().zip(claims).map(|(leased, claim)| {
            Received::new(mem::take(&mut leased.message), claim, mem::take(&mut leased.origin))
        }));
        received
    }
}

/// Handles stay out of debug output: on some providers whoever knows one can delete the message.
impl<Q: Queue> fmt::Debug for QueueConsumer<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueConsumer").field("queue", &self.shared.queue).finish_non_exhaustive()
    }
}

#[async_trait]
impl<Q: Queue> Consumer for QueueConsumer<Q> {
    fn guarantees(&self) -> Guarantees {
        self.shared.queue.guarantees().with_message_leases()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Received>> {
        let mut closed = self.closing.subscribe();
        let Polling { polls, pace, answers } = &mut *self.polling.lock().await;
        loop {
            let paused = pace.until();
            if paused.is_none() {
                polls.top_up(budget, |budget| {
                    let shared = Arc::clone(&self.shared);
                    async move { guard(|| shared.queue.receive(budget)).await }
                });
            }
            let (sent, outcome) = tokio::select! {
                biased;
                () = raised(&mut closed) => return Err(answers::closed()),
                next = polls.next() => next,
                () = sleep_until(paused.unwrap_or_else(Instant::now)), if paused.is_some() => {
                    pace.resume();
                    continue;
                }
            };
            let batch = self.enter(outcome?, sent);
            if !batch.is_empty() {
                pace.brought_some();
                return Ok(batch);
            }
            let now = Instant::now();
            pace.brought_none(sent, now);
            if answers.is_news(now.into_std()) {
                return Ok(batch);
            }
        }
    }

    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        let lost = || Err(Error::new(ErrorKind::Lost, "the lease is lost, and the message comes again"));
        let (leases, handles) = self.shared.held().handles(tokens, Instant::now().into_std().into());
        let deleted = match handles.len() {
            0 => Vec::new(),
            count if planted!("settled-and-not-stored") => vec![Ok(()); count],
            count => guard_all(count, || self.shared.queue.delete(&handles)).await,
        };
        let mut deleted = complete(deleted);
        let mut gone = Vec::new();
        let mut held = self.shared.held();
        let outcome = |lease: Option<Named>| {
            let Some(lease) = lease else { return lost() };
            match deleted.next().expect("it never ends") {
                // By the one before it may be settled, or not: some providers do not say.
                _ if held.is_replaced(lease) => {
                    Err(Error::new(ErrorKind::Unavailable, "the message was leased again meanwhile").into_ambiguous())
                }
                Ok(()) => {
                    held.forget(lease);
                    Ok(())
                }
                Err(error) if is_gone(&error) => {
                    gone.push(lease);
                    lost()
                }
                Err(_) if planted!("settle-swallows-failure") => Ok(()),
                Err(error) => Err(error),
            }
        };
        let outcomes = leases.into_iter().map(outcome).collect();
        held.lose(gone);
        outcomes
    }

    async fn postpone(&self, pauses: &[(Token, Duration)]) -> Vec<Result<()>> {
        postpone(&self.shared, pauses).await
    }

    async fn close(&self) -> Result<()> {
        self.closing.send_replace(true);
        let mut closed = self.closed.lock().await;
        if let Some(outcome) = &*closed {
            return outcome.clone();
        }
        self.shared.held().lose_all();
        let released = self.release_all().await;
        let outcome = released.and(guard(|| self.shared.queue.close()).await);
        closed.insert(outcome).clone()
    }
}
