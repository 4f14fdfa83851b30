use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::{Failure, receiver::Shared};

/// What a worker lends to a handler: a delivery, or a batch.
pub(crate) trait Lend: Sized {
    /// What comes back of it.
    type Parts: Settle;

    /// Lends it: dropped, it goes back to `home`.
    fn lend(self, home: Home<Self::Parts>) -> Self;
}

/// What came back of a loan, to be ended.
pub(crate) trait Settle {
    /// Ends the attempts as the handler did.
    fn settle(self, shared: &Shared, outcome: Result<(), Failure>);
}

/// Where what a worker lends to a handler comes back to, so that the handler's result decides what becomes of it.
#[derive(Debug)]
pub(crate) struct Slot<P> {
    /// Which loan is open, or else the next. Changed only by the worker, with what came back locked.
    loan: AtomicU64,
    back: Mutex<Option<P>>,
}

impl<P: Settle> Slot<P> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { loan: AtomicU64::new(0), back: Mutex::new(None) })
    }

    /// Lends out something of `shared`.
    #[inline]
    pub(super) fn lend<'a, D: Lend<Parts = P>>(self: &'a Arc<Self>, lent: D, shared: &'a Shared) -> (D, Loan<'a, P>) {
        let lent = lent.lend(Home { slot: Arc::clone(self), loan: self.loan.load(Relaxed) });
        (lent, Loan { slot: self, shared, is_open: true })
    }
}

impl<P> Slot<P> {
    /// Ends the loan. Returns what came back, unless the handler ended it by a verdict of its own, or keeps it.
    #[inline]
    fn close(&self) -> Option<P> {
        let mut back = self.back();
        self.loan.fetch_add(1, Relaxed);
        back.take()
    }

    #[inline]
    fn back(&self) -> MutexGuard<'_, Option<P>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way back to a slot, for one loan.
#[derive(Debug)]
pub(crate) struct Home<P> {
    slot: Arc<Slot<P>>,
    loan: u64,
}

impl<P> Home<P> {
    /// Takes it back, or returns it if the loan is over: it ended later than its handler.
    #[inline]
    pub(crate) fn take_back(self, lent: P) -> Option<P> {
        let mut back = self.slot.back();
        if self.slot.loan.load(Relaxed) != self.loan {
            return Some(lent);
        }
        *back = Some(lent);
        None
    }
}

/// An open loan. Dropped with a worker that is cancelled, it counts as a failed attempt.
#[derive(Debug)]
pub(super) struct Loan<'a, P: Settle> {
    slot: &'a Slot<P>,
    shared: &'a Shared,
    is_open: bool,
}

impl<P: Settle> Loan<'_, P> {
    /// Ends it as the handler did, unless the handler gave a verdict of its own.
    #[inline]
    pub(super) fn end(mut self, outcome: Result<(), Failure>) {
        self.is_open = false;
        if let Some(parts) = self.slot.close() {
            parts.settle(self.shared, outcome);
        }
    }
}

impl<P: Settle> Drop for Loan<'_, P> {
    fn drop(&mut self) {
        if self.is_open
            && let Some(parts) = self.slot.close()
        {
            parts.settle(self.shared, Err(Failure::retry("the worker was cancelled")));
        }
    }
}
