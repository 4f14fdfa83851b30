use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
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
///
/// It serves the next loan too, unless the handler keeps what it was lent.
#[derive(Debug)]
pub(super) struct Slot<P>(Arc<Mutex<Back<P>>>);

/// What became of a loan.
#[derive(Debug)]
enum Back<P> {
    /// It did not come back yet, or was ended by a verdict.
    Out,
    Came(P),
    /// Its handler has ended: nobody takes it back any more.
    Over,
}

impl<P: Settle> Slot<P> {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Back::Out)))
    }

    /// Lends out something of `shared`.
    #[inline]
    pub(super) fn lend<'a, D: Lend<Parts = P>>(&'a mut self, lent: D, shared: &'a Shared) -> (D, Loan<'a, P>) {
        let lent = lent.lend(Home(Arc::clone(&self.0)));
        (lent, Loan { slot: Some(self), shared })
    }

    /// Ends the loan. Returns what came back, unless the handler ended it by a verdict of its own, or keeps it.
    #[inline]
    fn close(&mut self) -> Option<P> {
        let back = match Arc::get_mut(&mut self.0) {
            // Nobody else has the slot any more: there is nothing to lock.
            Some(back) => mem::replace(back.get_mut().unwrap_or_else(PoisonError::into_inner), Back::Out),
            None => self.leave(),
        };
        if let Back::Came(parts) = back { Some(parts) } else { None }
    }

    /// Leaves the slot to a handler that keeps what it was lent, and takes another for the next loan.
    #[cold]
    fn leave(&mut self) -> Back<P> {
        let slot = mem::replace(self, Self::new());
        let mut back = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut *back, Back::Over)
    }
}

/// The way back to a slot, for one loan.
#[derive(Debug)]
pub(crate) struct Home<P>(Arc<Mutex<Back<P>>>);

impl<P> Home<P> {
    /// Takes it back, or returns it if the loan is over: it ended later than its handler.
    #[inline]
    pub(crate) fn take_back(self, lent: P) -> Option<P> {
        let mut back = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*back, Back::Over) {
            return Some(lent);
        }
        *back = Back::Came(lent);
        None
    }
}

/// An open loan. Dropped with a worker that is cancelled, it counts as a failed attempt.
#[derive(Debug)]
pub(super) struct Loan<'a, P: Settle> {
    /// `None` once it is ended.
    slot: Option<&'a mut Slot<P>>,
    shared: &'a Shared,
}

impl<P: Settle> Loan<'_, P> {
    /// Ends it. Returns what came back, to be ended as the handler did, unless the handler gave a verdict of its own.
    #[inline]
    pub(super) fn end(mut self) -> Option<P> {
        self.slot.take()?.close()
    }
}

impl<P: Settle> Drop for Loan<'_, P> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            break_off(slot, self.shared);
        }
    }
}

/// Ends a loan whose worker is cancelled.
#[cold]
fn break_off<P: Settle>(slot: &mut Slot<P>, shared: &Shared) {
    if let Some(parts) = slot.close() {
        parts.settle(shared, Err(Failure::retry("the worker was cancelled")));
    }
}
