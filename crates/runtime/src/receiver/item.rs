use std::{time::Duration, vec};

use strait_core::{Claim, ClaimState, Received, Result};
use tokio::{sync::oneshot, time::Instant};

/// A message in hand.
///
/// Its box moves from list to list and out to a delivery and back, so that the message itself stays where it is; then
/// the box is used again for another.
#[derive(Debug, Default)]
pub(crate) struct Item {
    /// `None` only between two uses of the box.
    received: Option<Received>,
    /// Its place in the lane of its key, where order is kept.
    pub(super) lane: Option<u32>,
    /// How often it was handed out.
    pub(super) attempt: u32,
    /// How much of the byte budget it takes.
    pub(super) bytes: usize,
    /// What is to be done with it once its pause is over.
    pub(super) next: Next,
    /// Whether it was in a batch that failed as a whole: it is in a batch of its own from then on.
    pub(super) alone: bool,
    /// How often settling or burying it failed in a row.
    pub(super) failures: u32,
    /// Why it is a dead letter.
    pub(super) reason: String,
    /// Why it cannot go on by itself, if it cannot.
    pub(super) stalled: Option<Box<str>>,
    /// Who waits for its settlement.
    pub(super) confirm: Option<oneshot::Sender<Result<()>>>,
}

/// What is to be done with a message once its pause is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Next {
    #[default]
    Work,
    Bury,
    Settle,
}

impl Item {
    /// Takes the next message out of `batch`, if there is one. Straight from there to here: a message is large to move.
    #[inline]
    pub(super) fn fill(&mut self, batch: &mut vec::IntoIter<Received>) {
        if self.received.is_none() {
            self.received = batch.next();
        }
        let of_message = self.received.as_ref().map(|received| (received.message.size(), received.origin.crashes()));
        (self.bytes, self.attempt) = of_message.unwrap_or_default();
        (self.lane, self.next, self.alone, self.failures) = (None, Next::Work, false, 0);
    }

    /// Drops the message and its claim: gives it back, unless it is settled. It stalls nothing and nobody waits for it.
    #[inline]
    pub(super) fn empty(&mut self) {
        self.received = None;
        if self.reason.capacity() > 0 {
            self.reason = String::new();
        }
    }

    #[inline]
    pub(crate) fn received(&self) -> &Received {
        self.received.as_ref().expect("an item in use holds a message")
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.received().claim
    }

    /// Whether it was received after `lost` was taken away: on a log in another tenure, on a queue as the same message.
    pub(super) fn comes_again_after(&self, lost: &Self) -> bool {
        let (ours, theirs) = (self.received(), lost.received());
        if ours.claim.partition().is_some() {
            ours.claim.token().source != theirs.claim.token().source
        } else {
            ours.origin.position() == theirs.origin.position()
        }
    }

    pub(crate) fn state(&self) -> ClaimState {
        self.claim().state(now)
    }
}

/// The end of a pause that begins now. Nobody waits for the end of one that is longer than clocks can count.
pub(crate) fn after(pause: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    let now = Instant::now();
    now.checked_add(pause).unwrap_or_else(|| now + FAR)
}

/// The time as claims count it.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
