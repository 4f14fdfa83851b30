use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use slab::Slab;
use strait_core::{Error, Receipt, Result, planted};

use super::shared::Shared;

/// What became of a message. Every accepted message has exactly one.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is stored durably.
    Sent(Receipt),
    /// It is not stored and never will be.
    NotSent(Error),
    /// It may be stored, or still land late: a request was under way when its answer was lost. Consumers deduplicate by
    /// the message's id.
    Unknown(Error),
}

impl Outcome {
    /// The receipt, or the error; [`Error::is_ambiguous`] tells an unknown outcome.
    ///
    /// # Errors
    ///
    /// Why it was not sent, or is not known to be.
    pub fn into_result(self) -> Result<Receipt> {
        match self {
            Self::Sent(receipt) => Ok(receipt),
            Self::NotSent(error) => Err(error),
            Self::Unknown(error) if error.is_ambiguous() => Err(error),
            Self::Unknown(error) => Err(error.into_ambiguous()),
        }
    }

    /// Whether it is stored.
    pub fn is_sent(&self) -> bool {
        matches!(self, Self::Sent(_))
    }
}

/// The outcomes of accepted messages, until somebody asks for them.
#[derive(Debug, Default)]
pub(super) struct Tickets(Slab<Ticket>);

#[derive(Debug)]
enum Ticket {
    Open(Option<Waker>),
    /// Nobody will ask.
    Abandoned,
    Over(Outcome),
}

/// Who waited for an outcome, or the outcome itself, if nobody will ask: neither is to be dropped under a lock.
#[derive(Debug)]
pub(super) enum Ended {
    Waited(Option<Waker>),
    Unread(Outcome),
}

impl Tickets {
    #[inline]
    pub(super) fn issue(&mut self) -> usize {
        self.0.insert(Ticket::Open(None))
    }

    /// Ends a ticket.
    #[inline]
    pub(super) fn end(&mut self, ticket: usize, outcome: Outcome) -> Ended {
        let held = &mut self.0[ticket];
        if let Ticket::Open(waker) = held {
            let waker = waker.take();
            *held = Ticket::Over(outcome);
            return Ended::Waited(waker);
        }
        self.0.remove(ticket);
        Ended::Unread(outcome)
    }

    /// The outcome, if there is one. Otherwise `waker` is to be woken: of it `clone` is a clone, which is taken if it is
    /// needed, in exchange for what it replaces. `None` if there is none to take.
    #[inline]
    fn poll(&mut self, ticket: usize, waker: &Waker, clone: &mut Option<Waker>) -> Option<Poll<Outcome>> {
        if let Ticket::Open(old) = &mut self.0[ticket] {
            if !old.as_ref().is_some_and(|old| old.will_wake(waker)) {
                clone.as_ref()?;
                std::mem::swap(old, clone);
            }
            return Some(Poll::Pending);
        }
        let Ticket::Over(outcome) = self.0.remove(ticket) else { unreachable!("abandoned only by drop") };
        Some(Poll::Ready(outcome))
    }

    /// Nobody will ask. Returns what is to be dropped without a lock.
    fn abandon(&mut self, ticket: usize) -> Ticket {
        if matches!(self.0[ticket], Ticket::Over(_)) || planted!("abandoned-ticket-used-again") {
            return self.0.remove(ticket);
        }
        std::mem::replace(&mut self.0[ticket], Ticket::Abandoned)
    }
}

/// The outcome of an accepted message, once it is known.
///
/// Dropping it abandons the answer, never the message. Must not be polled again after it is ready.
#[derive(Debug)]
#[must_use = "the message may fail"]
pub struct Pending {
    ticket: usize,
    /// Whether a waker is cloned before it is known that one is needed.
    expects_to_wait: bool,
    shared: Option<Arc<Shared>>,
}

impl Pending {
    pub(super) fn new(ticket: usize, shared: Arc<Shared>) -> Self {
        Self { ticket, expects_to_wait: false, shared: Some(shared) }
    }

    /// It is waited for at once, when nothing can have been sent yet.
    pub(super) fn expecting_to_wait(mut self) -> Self {
        self.expects_to_wait = true;
        self
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let shared = self.shared.as_ref().expect("not polled again after it was ready");
        // Wakers are not ours: one is cloned while the lock is not held, and what it replaces dropped after.
        let mut clone = self.expects_to_wait.then(|| context.waker().clone());
        let outcome = loop {
            let polled = shared.state().tickets.poll(self.ticket, context.waker(), &mut clone);
            match polled {
                Some(outcome) => break outcome,
                None => clone = Some(context.waker().clone()),
            }
        };
        self.expects_to_wait = false;
        if outcome.is_ready() {
            self.shared = None;
        }
        outcome
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            let gone = shared.state().tickets.abandon(self.ticket);
            drop(gone);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// The waker of a task of tokio, whose clones are known to wake the same. Those of [`Waker::noop`] need not be: each may
    /// have a copy of its functions.
    async fn with_a_waker(test: impl FnOnce(&Waker) + Send + 'static) {
        let mut test = Some(test);
        let polled = poll_fn(move |context| {
            if let Some(test) = test.take() {
                test(context.waker());
            }
            Poll::Ready(())
        });
        tokio::spawn(polled).await.expect("it does not panic");
    }

    #[tokio::test]
    async fn a_waker_is_asked_for_only_while_there_is_no_outcome() {
        with_a_waker(|waker| {
            let mut tickets = Tickets::default();
            let sent = || Outcome::Sent(Receipt::new(1));
            let (known, open) = (tickets.issue(), tickets.issue());
            tickets.end(known, sent());
            assert!(matches!(tickets.poll(known, waker, &mut None), Some(Poll::Ready(_))));
            assert!(tickets.poll(open, waker, &mut None).is_none(), "one is to be cloned, without the lock");
            let mut clone = Some(waker.clone());
            assert!(matches!(tickets.poll(open, waker, &mut clone), Some(Poll::Pending)));
            assert!(clone.is_none(), "taken");
            assert!(matches!(tickets.poll(open, waker, &mut None), Some(Poll::Pending)), "it waits already");
            assert!(matches!(tickets.end(open, sent()), Ended::Waited(Some(_))));
            let ended_meanwhile = tickets.issue();
            assert!(tickets.poll(ended_meanwhile, waker, &mut None).is_none());
            tickets.end(ended_meanwhile, sent());
            let mut clone = Some(waker.clone());
            assert!(matches!(tickets.poll(ended_meanwhile, waker, &mut clone), Some(Poll::Ready(_))));
            assert!(clone.is_some(), "left to be dropped without the lock");
        })
        .await;
    }

    #[test]
    fn an_answer_that_nobody_waits_for_leaves_nothing_behind() {
        let mut tickets = Tickets::default();
        let sent = || Outcome::Sent(Receipt::new(1));
        let (before, after) = (tickets.issue(), tickets.issue());
        tickets.abandon(before);
        tickets.end(before, sent());
        tickets.end(after, sent());
        tickets.abandon(after);
        assert!(tickets.0.is_empty());
    }
}
