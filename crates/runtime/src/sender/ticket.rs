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

impl Tickets {
    pub(super) fn issue(&mut self) -> usize {
        self.0.insert(Ticket::Open(None))
    }

    /// Ends a ticket. Returns who waits for it.
    pub(super) fn end(&mut self, ticket: usize, outcome: Outcome) -> Option<Waker> {
        match std::mem::replace(&mut self.0[ticket], Ticket::Over(outcome)) {
            Ticket::Open(waker) => waker,
            Ticket::Abandoned | Ticket::Over(_) => {
                self.0.remove(ticket);
                None
            }
        }
    }

    fn poll(&mut self, ticket: usize, waker: &Waker) -> Poll<Outcome> {
        match &mut self.0[ticket] {
            Ticket::Open(Some(old)) => old.clone_from(waker),
            Ticket::Open(none) => *none = Some(waker.clone()),
            Ticket::Abandoned | Ticket::Over(_) => {
                let Ticket::Over(outcome) = self.0.remove(ticket) else { unreachable!("abandoned only by drop") };
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }

    fn abandon(&mut self, ticket: usize) {
        if matches!(self.0[ticket], Ticket::Over(_)) || planted!("abandoned-ticket-used-again") {
            self.0.remove(ticket);
        } else {
            self.0[ticket] = Ticket::Abandoned;
        }
    }
}

/// The outcome of an accepted message, once it is known.
///
/// Dropping it abandons the answer, never the message. Must not be polled again after it is ready.
#[derive(Debug)]
#[must_use = "the message may fail"]
pub struct Pending {
    ticket: usize,
    shared: Option<Arc<Shared>>,
}

impl Pending {
    pub(super) fn new(ticket: usize, shared: Arc<Shared>) -> Self {
        Self { ticket, shared: Some(shared) }
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let shared = self.shared.as_ref().expect("not polled again after it was ready");
        let outcome = shared.state().tickets.poll(self.ticket, context.waker());
        if outcome.is_ready() {
            self.shared = None;
        }
        outcome
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.state().tickets.abandon(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
