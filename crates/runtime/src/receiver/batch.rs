use std::{fmt, mem, sync::Arc};

use strait_core::{Message, planted};

use super::{delivery::Entry, desk::Blame, item::Item, shared::Shared};
use crate::{
    Failure,
    worker::{Home, Lend, Settle},
};

/// Some attempts that end as one.
///
/// [`ack`](Self::ack) ends it: what [`fail`](Self::fail) named is tried again or rejected, and of the same keys what is
/// behind it is done again; the rest is processed. Dropping it retries all; in a [`Worker`](crate::Worker) the handler's
/// result decides instead.
///
/// When a batch of several messages fails as a whole, which of them is at fault is not known: each is tried again in a batch
/// of its own, and becomes a dead letter only if it fails there.
pub struct Batch {
    parts: Parts,
    shared: Arc<Shared>,
    /// Where it goes back to when it is dropped, if a worker lent it out.
    home: Option<Home<Parts>>,
}

/// The messages of a batch, and what failed of them.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    items: Vec<Box<Item>>,
    failed: Vec<(usize, Failure)>,
}

impl Batch {
    pub(super) fn new(items: Vec<Box<Item>>, shared: Arc<Shared>) -> Self {
        Self { parts: Parts { items, failed: Vec::new() }, shared, home: None }
    }

    /// How many there are; at least one.
    pub fn len(&self) -> usize {
        self.parts.items.len()
    }

    /// Whether there are none, which is never so.
    pub fn is_empty(&self) -> bool {
        self.parts.items.is_empty()
    }

    /// The messages.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.parts.items.iter().map(|item| &item.received().message)
    }

    /// What is known of each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.parts.items.iter().map(|item| Entry::new(item, &self.shared))
    }

    /// The message at `index` failed. Nothing happens before the batch ends; a later word on it replaces this one.
    ///
    /// An `index` that the batch has not is a mistake, and which message failed is not known then: all of them are, but
    /// those that are named.
    pub fn fail(&mut self, index: usize, failure: Failure) {
        let failed = &mut self.parts.failed;
        match failed.iter_mut().find(|(other, _)| *other == index) {
            Some((_, old)) => *old = failure,
            None => failed.push((index, failure)),
        }
    }

    /// All but those that failed are processed.
    pub fn ack(mut self) {
        mem::take(&mut self.parts).settle(&self.shared, Ok(()));
    }

    pub(crate) fn watch(&self) -> Option<strait_core::Watch> {
        self.parts.items.first().map(|item| item.received().claim.watch())
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.parts.items.iter().map(|item| item.attempt()).max().unwrap_or(0)
    }
}

impl Lend for Batch {
    type Parts = Parts;

    fn lend(mut self, home: Home<Parts>) -> Self {
        self.home = Some(home);
        self
    }
}

impl Settle for Parts {
    /// Ends the attempts: what failed on its own account, and the rest as `outcome` says.
    fn settle(self, shared: &Shared, outcome: Result<(), Failure>) {
        let Self { items, mut failed } = self;
        if items.is_empty() {
            return;
        }
        let unknown = failed.iter().position(|(index, _)| *index >= items.len());
        let unknown = unknown.map(|place| {
            let (index, failure) = failed.swap_remove(place);
            tracing::warn!(receiver = %shared.name, index, messages = items.len(), "a failure names no message of its batch");
            failure
        });
        let all = outcome.err().or(unknown);
        let as_one = || failed.first().map(|(_, failure)| failure.clone()).filter(|_| planted!("batch-ends-as-one"));
        let all = all.or_else(as_one);
        shared.finish(items, |index| {
            let own = failed.iter().position(|(other, _)| *other == index).map(|found| failed.swap_remove(found).1);
            let own = own.map(|failure| (failure, Blame::Itself));
            own.or_else(|| all.clone().map(|failure| (failure, Blame::Batch)))
        });
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let parts = mem::take(&mut self.parts);
        if parts.items.is_empty() {
            return;
        }
        let parts = match self.home.take() {
            Some(home) => home.take_back(parts),
            None => Some(parts),
        };
        if let Some(parts) = parts {
            parts.settle(&self.shared, Err(Failure::retry("the batch was dropped")));
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("parts", &self.parts).finish_non_exhaustive()
    }
}
