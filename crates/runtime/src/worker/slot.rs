use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Failure, receiver::Shared};

/// What a worker lends to a handler: a delivery, or a batch.
pub(crate) trait Lend: Sized {
    /// What comes back of it.
    type Parts: Settle;

    /// Lends it: dropped, it goes back to `home`. Also returns who hears of its end.
    fn lend(self, home: Home<Self::Parts>) -> (Self, Arc<Shared>);
}

/// What came back of a loan, to be ended.
pub(crate) trait Settle {
    /// Ends the attempts as the handler did.
    fn settle(self, shared: &Shared, outcome: Result<(), Failure>);
}

/// Where what a worker lends to a handler comes back to, so that the handler's result decides what becomes of it.
#[derive(Debug)]
pub(crate) struct Slot<P> {
    state: Mutex<State<P>>,
}

#[derive(Debug)]
struct State<P> {
    /// Which loan is open. One that ended later than its handler is not taken back.
    loan: u64,
    back: Option<P>,
}

impl<P: Settle> Slot<P> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { loan: 0, back: None }) })
    }

    /// Lends something out.
    pub(super) fn lend<D: Lend<Parts = P>>(self: &Arc<Self>, lent: D) -> (D, Loan<'_, P>) {
        let loan = {
            let mut state = self.state();
            state.loan += 1;
            state.loan
        };
        let (lent, shared) = lent.lend(Home { slot: Arc::clone(self), loan });
        (lent, Loan { slot: self, shared })
    }
}

impl<P> Slot<P> {
    /// Ends the loan. Returns what came back, unless the handler ended it by a verdict of its own, or keeps it.
    fn close(&self) -> Option<P> {
        let mut state = self.state();
        state.loan += 1;
        state.back.take()
    }

    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way back to a slot, for one loan.
#[derive(Debug)]
pub(crate) struct Home<P> {
    slot: Arc<Slot<P>>,
    loan: u64,
}

impl<P> Home<P> {
    /// Takes it back, or returns it if the loan is over.
    pub(crate) fn take_back(self, lent: P) -> Option<P> {
        let mut state = self.slot.state();
        if state.loan != self.loan {
            return Some(lent);
        }
        state.back = Some(lent);
        None
    }
}

/// An open loan. Dropped with a worker that is cancelled, it counts as a failed attempt.
#[derive(Debug)]
pub(super) struct Loan<'a, P: Settle> {
    slot: &'a Slot<P>,
    shared: Arc<Shared>,
}

impl<P: Settle> Loan<'_, P> {
    /// Ends it as the handler did, unless the handler gave a verdict of its own.
    pub(super) fn end(self, outcome: Result<(), Failure>) {
        if let Some(parts) = self.slot.close() {
            parts.settle(&self.shared, outcome);
        }
    }
}

impl<P: Settle> Drop for Loan<'_, P> {
    fn drop(&mut self) {
        if let Some(parts) = self.slot.close() {
            parts.settle(&self.shared, Err(Failure::retry("the worker was cancelled")));
        }
    }
}
