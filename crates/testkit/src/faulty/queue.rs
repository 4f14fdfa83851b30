use std::{
    slice,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use strait_core::{Budget, ErrorKind, Guarantees, Message, Origin, Result};
use strait_kit::{LeaseTerms, Leased, Pause, Queue};
use tokio::time::Instant;

use super::{Fault, Faults, Site, error, lost_answer};

/// A [`Queue`] whose calls go wrong as planned.
pub struct FaultyQueue<Q: Queue> {
    inner: Q,
    faults: Faults,
    leases: AtomicU64,
    /// A delivery that is leased here, to come along once more.
    old: Mutex<Option<Old<Q::Handle>>>,
}

/// A delivery, as long as it is leased.
struct Old<H> {
    message: Message,
    origin: Origin,
    handle: Numbered<H>,
    until: Instant,
}

/// Handles stay out of debug output, and so does the delivery that is kept with one.
impl<Q: Queue> std::fmt::Debug for FaultyQueue<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyQueue").field("inner", &self.inner).field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// A handle, and which lease it is for: they count from 0, in the order in which they were given.
#[derive(Clone)]
pub struct Numbered<H> {
    handle: H,
    number: u64,
}

impl<H> std::fmt::Debug for Numbered<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Numbered").field("number", &self.number).finish_non_exhaustive()
    }
}

impl<Q: Queue> FaultyQueue<Q> {
    /// Leases from `inner`.
    pub fn new(inner: Q, faults: Faults) -> Self {
        Self { inner, faults, leases: AtomicU64::new(0), old: Mutex::default() }
    }

    fn old(&self) -> MutexGuard<'_, Option<Old<Q::Handle>>> {
        self.old.lock().expect("nothing panics while holding this")
    }

    /// These are given up, or deleted: whoever else has one next, it does not come along once more here.
    fn forget(&self, handles: &[Numbered<Q::Handle>]) {
        self.old().take_if(|old| handles.iter().any(|handle| handle.number == old.handle.number));
    }

    fn number(&self, leased: Leased<Q::Handle>) -> Leased<Numbered<Q::Handle>> {
        let number = self.leases.fetch_add(1, Relaxed);
        let Leased { message, handle, origin } = leased;
        Leased { message, handle: Numbered { handle, number }, origin }
    }

    /// Takes away the first lease, and answers as `rest` does for the others.
    async fn lose_first<'a, F>(
        &self,
        handles: &'a [Numbered<Q::Handle>],
        rest: impl FnOnce(&'a [Numbered<Q::Handle>]) -> F,
    ) -> Vec<Result<()>>
    where
        F: Future<Output = Vec<Result<()>>>,
    {
        let Some((first, others)) = handles.split_first() else { return Vec::new() };
        self.forget(slice::from_ref(first));
        self.inner.release(slice::from_ref(&first.handle)).await;
        self.faults.note(|in_hand| in_hand.end([first.number]));
        let mut outcomes = vec![Err(error(ErrorKind::Lost))];
        if !others.is_empty() {
            outcomes.extend(rest(others).await);
        }
        outcomes
    }

    async fn pass_delete(&self, handles: &[Numbered<Q::Handle>]) -> Vec<Result<()>> {
        let outcomes = self.inner.delete(&bare(handles)).await;
        self.faults.note(|in_hand| in_hand.end(over(handles, &outcomes)));
        outcomes
    }

    async fn pass_extend(&self, handles: &[Numbered<Q::Handle>]) -> Vec<Result<()>> {
        let sent = Instant::now();
        let outcomes = self.inner.extend(&bare(handles)).await;
        if let Some(old) = &mut *self.old()
            && which(handles, &outcomes, Result::is_ok).any(|number| number == old.handle.number)
        {
            old.until = self.end_of_lease(sent);
        }
        self.faults.note(|in_hand| in_hand.extend(which(handles, &outcomes, Result::is_ok), self.end_of_lease(sent)));
        self.faults.note(|in_hand| in_hand.end(which(handles, &outcomes, is_gone)));
        outcomes
    }

    /// When a lease ends that was asked for at `sent`.
    fn end_of_lease(&self, sent: Instant) -> Instant {
        sent + self.inner.lease_terms().lease
    }
}

/// Which leases a call ended, or found ended.
fn over<H>(handles: &[Numbered<H>], outcomes: &[Result<()>]) -> impl Iterator<Item = u64> {
    which(handles, outcomes, |outcome| outcome.is_ok() || is_gone(outcome))
}

fn which<H>(
    handles: &[Numbered<H>],
    outcomes: &[Result<()>],
    so: impl Fn(&Result<()>) -> bool,
) -> impl Iterator<Item = u64> {
    handles.iter().zip(outcomes).filter(move |(_, outcome)| so(outcome)).map(|(handle, _)| handle.number)
}

fn is_gone(outcome: &Result<()>) -> bool {
    outcome.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::Lost | ErrorKind::NotFound))
}

fn bare<H: Clone>(handles: &[Numbered<H>]) -> Vec<H> {
    handles.iter().map(|numbered| numbered.handle.clone()).collect()
}

impl<Q: Queue> Queue for FaultyQueue<Q> {
    type Handle = Numbered<Q::Handle>;

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    fn lease_terms(&self) -> LeaseTerms {
        self.inner.lease_terms()
    }

    fn counts_deliveries(&self) -> bool {
        self.inner.counts_deliveries()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Leased<Self::Handle>>> {
        let begun = Instant::now();
        let fault = self.faults.next(Site::Receive, 1);
        match fault {
            Some(Fault::Fail(kind)) => return Err(error(kind)),
            Some(Fault::Patience(pause)) => return Err(error(ErrorKind::Throttled).with_retry_after(pause)),
            _ => {}
        }
        let mut batch: Vec<_> =
            self.inner.receive(budget).await?.into_iter().map(|leased| self.number(leased)).collect();
        match fault {
            Some(Fault::Ambiguous) => return Err(lost_answer()), // its leases have to run out
            Some(Fault::Duplicate) => {
                if let Some(old) = self.old().as_ref().filter(|old| Instant::now() < old.until) {
                    let origin = old.origin.clone().with_redeliveries(old.origin.redeliveries() + 1);
                    batch.push(Leased { message: old.message.clone(), handle: old.handle.clone(), origin });
                }
            }
            fault => self.faults.wait(fault.as_ref()).await,
        }
        let (given, until) = (batch.iter().map(|leased| leased.handle.number), self.end_of_lease(begun));
        self.faults.note(|in_hand| in_hand.lease(given, until));
        if let Some(Leased { message, handle, origin, .. }) = batch.first() {
            let (message, origin, handle) = (message.clone(), origin.clone(), handle.clone());
            self.old().get_or_insert(Old { message, origin, handle, until });
        }
        Ok(batch)
    }

    async fn delete(&self, handles: &[Self::Handle]) -> Vec<Result<()>> {
        self.forget(handles);
        let begun = Instant::now();
        let fault = self.faults.next(Site::Delete, handles.len());
        match fault {
            Some(Fault::Fail(kind)) => vec![Err(error(kind)); handles.len()],
            Some(Fault::Ambiguous) => {
                self.pass_delete(handles).await;
                vec![Err(lost_answer()); handles.len()]
            }
            Some(Fault::Lose) => self.lose_first(handles, async |rest| self.pass_delete(rest).await).await,
            fault => {
                let outcomes = self.pass_delete(handles).await;
                self.faults.wait(fault.as_ref()).await;
                if outcomes.iter().all(Result::is_ok) {
                    self.faults.note_good(Site::Delete, begun);
                }
                outcomes
            }
        }
    }

    async fn extend(&self, handles: &[Self::Handle]) -> Vec<Result<()>> {
        let fault = self.faults.next(Site::Extend, handles.len());
        match fault {
            Some(Fault::Fail(kind)) => vec![Err(error(kind)); handles.len()],
            Some(Fault::Lose) => self.lose_first(handles, async |rest| self.pass_extend(rest).await).await,
            fault => {
                let outcomes = self.pass_extend(handles).await;
                self.faults.wait(fault.as_ref()).await;
                outcomes
            }
        }
    }

    async fn release(&self, handles: &[Self::Handle]) -> Vec<Result<()>> {
        self.faults.note_release(handles.iter().map(|numbered| numbered.number));
        let fault = self.faults.next(Site::Release, handles.len());
        if let Some(Fault::Fail(kind)) = fault {
            return vec![Err(error(kind)); handles.len()];
        }
        self.forget(handles);
        self.faults.wait(fault.as_ref()).await;
        let outcomes = self.inner.release(&bare(handles)).await;
        self.faults.note(|in_hand| in_hand.end(over(handles, &outcomes)));
        outcomes
    }

    async fn postpone(&self, pauses: &[Pause<Self::Handle>]) -> Vec<Result<()>> {
        let fault = self.faults.next(Site::Postpone, pauses.len());
        if let Some(Fault::Fail(kind)) = fault {
            return vec![Err(error(kind)); pauses.len()];
        }
        let bare = |pause: &Pause<Self::Handle>| {
            let Pause { handle, time, held } = pause.clone();
            Pause { handle: handle.handle, time, held }
        };
        let bare: Vec<_> = pauses.iter().map(bare).collect();
        let handles: Vec<_> = pauses.iter().map(|pause| pause.handle.clone()).collect();
        self.forget(&handles);
        let outcomes = self.inner.postpone(&bare).await;
        self.faults.note(|in_hand| in_hand.end(over(&handles, &outcomes)));
        self.faults.wait(fault.as_ref()).await;
        match fault {
            Some(Fault::Ambiguous) => vec![Err(lost_answer()); pauses.len()],
            _ => outcomes,
        }
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
