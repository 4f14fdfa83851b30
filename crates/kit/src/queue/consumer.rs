use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{
    Budget, Consumer, Error, ErrorKind, Guarantees, Moment, Observer, Ordering, Received, Result, Token, Unobserved,
    planted,
};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{Instant, timeout_at},
};

use super::{
    Keeping, Leased, Queue,
    held::{Held, Named},
    keeper::keep,
    leases::Term,
    polls::Polls,
};
use crate::answers::{self, Answers};

/// How a [`QueueConsumer`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueSettings {
    /// Most polls under way at once. There are as few as keep the budget full. Default: 1.
    pub pollers: usize,
    /// The most messages that one poll may bring. Default: as many as are asked for.
    pub per_poll: usize,
    /// How long closing waits for the polls under way, to give back what they bring. Default: not at all, for providers
    /// that take nothing along with a poll that is broken off.
    pub last_polls: Duration,
    /// Whether what was lost is given back too, in its turn: for providers that would else deliver what is behind it of its
    /// key first, and whose handles name one delivery only. Default: no.
    pub release_lost: bool,
    /// How often claims that were dropped, or ended, are looked for. Default: 500 ms.
    pub sweep: Duration,
    /// What hears of what is measured.
    pub observer: Arc<dyn Observer>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            pollers: 1,
            per_poll: usize::MAX,
            last_polls: Duration::ZERO,
            release_lost: false,
            sweep: Duration::from_millis(500),
            observer: Arc::new(Unobserved),
        }
    }
}

/// A [`Consumer`] of a [`Queue`]: keeps the leases of everything it handed out.
///
/// Messages are received by concurrent polls, whose budgets together never exceed what was asked for. A lease counts
/// from the instant before its request was sent. The claims of a key are lost together, and what is dropped is released
/// within a second, oldest first. Dropped without [`close`](Consumer::close), it stops, and its leases run out.
pub struct QueueConsumer<Q: Queue> {
    shared: Arc<Shared<Q>>,
    polls: AsyncMutex<(Polls<Q::Handle>, Answers)>,
    closed: watch::Sender<bool>,
}

pub(super) struct Shared<Q: Queue> {
    pub(super) queue: Q,
    pub(super) settings: QueueSettings,
    held: Mutex<Held<Q::Handle>>,
}

impl<Q: Queue> Shared<Q> {
    pub(super) fn held(&self) -> MutexGuard<'_, Held<Q::Handle>> {
        self.held.lock().expect("nothing panics while holding this")
    }
}

impl<Q: Queue> QueueConsumer<Q> {
    /// Consumes `queue`. Must be called inside a Tokio runtime.
    pub fn new(queue: Q, settings: QueueSettings) -> Self {
        let guarantees = queue.guarantees();
        let ordered = guarantees.ordering == Ordering::Key;
        let polls = Polls::new(settings.pollers.max(1), settings.per_poll.max(1), guarantees.message_bytes);
        let polls = AsyncMutex::new((polls, Answers::default()));
        let held = Mutex::new(Held::new(ordered, settings.release_lost));
        let shared = Arc::new(Shared { queue, settings, held });
        let closed = watch::Sender::new(false);
        tokio::spawn(keep(Arc::clone(&shared), closed.subscribe()));
        Self { shared, polls, closed }
    }

    /// The queue beneath: the way out to the provider's own client.
    pub fn queue(&self) -> &Q {
        &self.shared.queue
    }

    /// Ends the polls. What they still bring in time is not ours to keep; what comes after its lease, as to a process that
    /// was frozen, is not even ours to give back.
    async fn last_polls(&self) -> Vec<Q::Handle> {
        let (polls, _) = &mut *self.polls.lock().await;
        let end = Instant::now() + self.shared.settings.last_polls;
        let mut handles = Vec::new();
        while polls.are_under_way() {
            match timeout_at(end, polls.next()).await {
                Ok((sent, batch)) if self.is_ours(sent) => {
                    handles.extend(batch.into_iter().flatten().map(|leased| leased.handle));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        polls.clear();
        handles
    }

    /// Whether what a poll brought that was sent then is still leased, or nobody else's to lose.
    fn is_ours(&self, sent: Instant) -> bool {
        match self.shared.queue.keeping() {
            Keeping::Ours { lease, .. } => self.shared.settings.release_lost || Instant::now() < sent + lease,
            Keeping::Provider { .. } => true,
        }
    }

    fn enter(&self, mut batch: Vec<Leased<Q::Handle>>, sent: Instant) -> Vec<Received> {
        let (counts, keeping) = (self.shared.queue.counts_deliveries(), self.shared.queue.keeping());
        let sent = if planted!("lease-from-reply") { Instant::now() } else { sent }.into_std();
        let term = match keeping {
            Keeping::Ours { lease, .. } => {
                Term { received: sent, until: Some((sent + lease).into()), due: sent + lease / 3 }
            }
            Keeping::Provider { longest } => Term { received: sent, until: None, due: sent + longest },
        };
        let (mut claims, mut again) = (Vec::with_capacity(batch.len()), Vec::new());
        let mut held = self.shared.held();
        for (index, leased) in batch.iter_mut().enumerate() {
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
        self.shared.queue.guarantees()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Received>> {
        let mut closed = self.closed.subscribe();
        let (polls, said) = &mut *self.polls.lock().await;
        loop {
            polls.top_up(budget, |budget| {
                let shared = Arc::clone(&self.shared);
                async move { shared.queue.receive(budget).await }
            });
            let (sent, outcome) = tokio::select! {
                biased;
                () = raised(&mut closed) => return Err(answers::closed()),
                next = polls.next() => next,
            };
            let batch = self.enter(outcome?, sent);
            if !batch.is_empty() || said.is_news(Instant::now().into_std()) {
                return Ok(batch);
            }
        }
    }

    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        let lost = || Err(Error::new(ErrorKind::Lost, "the lease is lost, and the message comes again"));
        let (mut leases, mut handles) = (Vec::with_capacity(tokens.len()), Vec::with_capacity(tokens.len()));
        {
            let (held, now) = (self.shared.held(), Moment::from(Instant::now().into_std()));
            for token in tokens {
                let (lease, handle) = held.handle(*token, now).unzip();
                leases.push(lease);
                handles.extend(handle);
            }
        }
        let deleted = match handles.len() {
            0 => Vec::new(),
            count if planted!("settled-and-not-stored") => vec![Ok(()); count],
            _ => self.shared.queue.delete(&handles).await,
        };
        let missing = || Err(Error::new(ErrorKind::Other, "the provider gave fewer outcomes than it was asked for"));
        let mut deleted = deleted.into_iter();
        let mut held = self.shared.held();
        let outcome = |lease: Option<Named>| {
            let Some(lease) = lease else { return lost() };
            match deleted.next().unwrap_or_else(missing) {
                // By the one before it may be settled, or not: some providers do not say.
                _ if held.is_replaced(lease) => {
                    Err(Error::new(ErrorKind::Unavailable, "the message was leased again meanwhile").into_ambiguous())
                }
                Ok(()) => {
                    held.forget(lease);
                    Ok(())
                }
                Err(error) if is_gone(&error) => {
                    held.lose(lease);
                    lost()
                }
                Err(_) if planted!("settle-swallows-failure") => Ok(()),
                Err(error) => Err(error),
            }
        };
        leases.into_iter().map(outcome).collect()
    }

    async fn close(&self) -> Result<()> {
        if self.closed.send_replace(true) {
            return Ok(());
        }
        let mut handles = self.shared.held().drain(Instant::now().into_std());
        handles.extend(self.last_polls().await);
        let released = if handles.is_empty() { Vec::new() } else { self.shared.queue.release(&handles).await };
        let failed = released.into_iter().find_map(|outcome| outcome.err().filter(|error| !is_gone(error)));
        let closed = self.shared.queue.close().await;
        failed.map_or(Ok(()), Err).and(closed)
    }
}

/// Whether a lease is no longer ours, and will not be again.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Lost)
}

/// Resolves once the flag is raised, or nobody is left to raise it.
pub(super) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await.map(drop);
}
