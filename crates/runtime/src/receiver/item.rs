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
    /// How often settling or burying it failed in a row.
    pub(super) failures: u32,
    /// Why it is a dead letter.
    pub(super) reason: String,
    /// Whether it cannot go on by itself.
    pub(super) stalled: bool,
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
    pub(super) fn fill(&mut self, received: Received) {
        self.bytes = received.message.size();
        self.received = Some(received);
        (self.lane, self.attempt, self.next, self.failures, self.stalled) = (None, 0, Next::Work, 0, false);
    }

    /// Drops the message and its claim: gives it back, unless it is settled.
    pub(super) fn empty(&mut self) {
        self.received = None;
        self.reason = String::new();
        self.confirm = None;
    }

    pub(crate) fn received(&self) -> &Received {
        self.received.as_ref().expect("an item in use holds a message")
    }

    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    pub(super) fn claim(&self) -> &Claim {
        &self.received().claim
    }

    pub(crate) fn state(&self) -> ClaimState {
        self.claim().state(now)
    }
}

/// The time as claims count it.
pub(crate) fn now() -> std::time::Instant {
    Instant::now().into_std()
}
