//! Failed attempts: what is tried again, what becomes a dead letter, and what stalls its key.

use std::{
    fmt::{self, Display},
    mem,
    time::Duration,
};

use strait_core::{ClaimState, Error, ErrorKind, Key, Measure, Observer as _, Receipt, Result, planted};

use super::{Desk, Phase};
use crate::{
    Failure,
    failure::Then,
    receiver::{
        DeadLetter,
        item::{Item, Next},
    },
};

impl Desk {
    /// Takes back a message whose attempt failed. The driver should know. Returns whether it is still held here, in its
    /// place before others of its key.
    pub(in crate::receiver) fn fail(&mut self, item: Box<Item>, failure: Failure) -> bool {
        self.fail_of(item, failure, Blame::Itself)
    }

    fn fail_of(&mut self, mut item: Box<Item>, failure: Failure, blame: Blame) -> bool {
        self.running -= 1;
        if self.phase == Phase::Ended || item.state() != ClaimState::Held {
            self.lose(item);
            return false;
        }
        if planted!("failure-is-success") {
            self.over.push(item);
            return true;
        }
        let last = item.attempt >= self.settings.retry.attempts && !planted!("retries-for-ever");
        let ends = failure.then == Then::Reject || last;
        if ends && blame == Blame::Itself {
            self.attempt_failed(&item, &failure, &WhatNext::DeadLetter);
            item.reason = failure.reason;
            return self.doom(item);
        }
        if !self.goes_on(&item) {
            self.attempt_failed(&item, &failure, &WhatNext::Redelivery);
            self.leave(item);
            return false;
        }
        self.settings.meter.observe(Measure::Retried);
        let pause = match failure.then {
            Then::RetryAfter(pause) if !planted!("retry-after-ignored") => pause,
            _ if planted!("pauses-do-not-grow") => self.settings.retry.backoff.pause(1),
            _ => self.settings.retry.backoff.pause(item.attempt),
        };
        self.attempt_failed(&item, &failure, &WhatNext::Retry(pause));
        if blame == Blame::Batch {
            item.alone = true;
            item.attempt -= u32::from(ends); // the attempt that ends it is its own
        }
        self.pause_for_work(item, pause);
        true
    }

    #[cold]
    fn attempt_failed(&self, item: &Item, failure: &Failure, next: &WhatNext) {
        let received = item.received();
        tracing::warn!(
            receiver = %self.settings.name, id = received.message.id.map(display), partition = received.claim.partition(),
            position = %received.origin.position(), attempt = item.attempt, attempts = self.settings.retry.attempts,
            reason = failure.reason, %next, "an attempt failed"
        );
    }

    /// Takes back messages that were worked on as one, in order, and what failed of them. Of a key with a failure, what
    /// is behind it is to be done again, and that is not counted as an attempt; here, or where the one that failed is done
    /// again, if that left. Returns whether the driver should know.
    ///
    /// A failure of the batch says of none of several messages that it is the one: each is tried alone before it is given
    /// up.
    pub(in crate::receiver) fn finish(
        &mut self,
        items: Vec<Box<Item>>,
        mut failed: impl FnMut(usize) -> Option<(Failure, Blame)>,
    ) -> bool {
        let several = items.len() > 1;
        // Of each, whether the last that failed is still here.
        let mut broken: Vec<(Key, bool)> = Vec::new();
        let mut work = false;
        for (index, mut item) in items.into_iter().enumerate() {
            let key = || item.lane.and(item.received().message.key.clone());
            let failure = failed(index);
            let before = match &broken[..] {
                [] => None,
                broken => key().and_then(|key| broken.iter().rfind(|(other, _)| *other == key)).map(|(_, here)| *here),
            };
            match (failure, before) {
                (Some(_), Some(false)) | (None, Some(_)) => {
                    self.running -= 1;
                    item.attempt -= 1;
                    if before == Some(true) && self.goes_on(&item) { self.line_up(item) } else { self.leave(item) }
                }
                (Some((failure, blame)), _) => {
                    let key = key();
                    let is_known = !several || planted!("batch-buries-its-messages");
                    let here = self.fail_of(item, failure, if is_known { Blame::Itself } else { blame });
                    broken.extend(key.filter(|_| !planted!("batch-goes-past-a-failure")).map(|key| (key, here)));
                    work = true;
                }
                (None, None) => work |= self.ack(item),
            }
        }
        work
    }

    /// A message that its process died of as often as it may be tried.
    #[cold]
    pub(super) fn bury_unopened(&mut self, mut item: Box<Item>) {
        item.reason = format!("{} processes ended while they worked on it", item.received().origin.crashes());
        tracing::warn!(
            receiver = %self.settings.name, id = item.received().message.id.map(display),
            partition = item.received().claim.partition(), position = %item.received().origin.position(), reason = item.reason,
            "a message is not worked on any more"
        );
        self.doom(item);
    }

    /// Ends the attempts at a message, as policy says. Returns whether it is still held here.
    fn doom(&mut self, mut item: Box<Item>) -> bool {
        match self.settings.dead_letter {
            DeadLetter::Channel(_) => self.doomed.push(item),
            DeadLetter::Discard => {
                tracing::warn!(
                    receiver = %self.settings.name, id = item.received().message.id.map(display),
                    partition = item.received().claim.partition(), position = %item.received().origin.position(),
                    attempts = item.attempt, reason = item.reason, "a message was discarded, as dead_letter = \"discard\" says"
                );
                self.settings.meter.observe(Measure::DeadLettered);
                self.over.push(item);
            }
            DeadLetter::Block if planted!("blocked-is-discarded") => self.over.push(item),
            DeadLetter::Block if !self.is_open() && !planted!("blocked-holds-close") => {
                self.leave(item);
                return false;
            }
            DeadLetter::Block => {
                let reason = mem::take(&mut item.reason);
                self.stall(&mut item, &reason);
                let pause = self.settings.retry.backoff.longest;
                self.pause(item, Next::Work, pause);
            }
        }
        true
    }

    fn stall(&mut self, item: &mut Item, reason: &dyn Display) {
        if item.stalled.replace(reason.to_string().into()).is_none() {
            self.stalled += 1;
            self.settings.meter.observe(Measure::Stalled(self.stalled));
            tracing::warn!(
                receiver = %self.settings.name, id = item.received().message.id.map(display),
                partition = item.received().claim.partition(), position = %item.received().origin.position(), %reason,
                "a message stalls its key: it cannot go to the dead letters"
            );
        }
    }

    /// What is to be buried.
    pub(in crate::receiver) fn burying(&mut self) -> Vec<Box<Item>> {
        mem::take(&mut self.doomed)
    }

    /// A message was buried, or not.
    pub(in crate::receiver) fn buried(&mut self, mut item: Box<Item>, outcome: Result<Receipt>) {
        match outcome {
            _ if self.phase == Phase::Ended => self.leave(item),
            Ok(receipt) => {
                self.dead_letter_stored(&item, &receipt);
                self.settings.meter.observe(Measure::DeadLettered);
                item.failures = 0;
                self.over.push(item);
            }
            Err(error) => {
                self.settings.meter.observe(Measure::Failed { call: "bury", kind: error.kind() });
                if planted!("dead-letter-failure-settles") {
                    return self.over.push(item);
                }
                item.failures += 1;
                let refused = matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported | ErrorKind::Closed);
                if refused {
                    self.stall(&mut item, &error);
                }
                if !self.is_open() && !error.is_transient() {
                    return self.leave(item); // whoever gets it next may have another channel
                }
                let backoff = self.settings.retry.backoff;
                let pause = if refused { backoff.longest } else { backoff.pause_after(&error, item.failures) };
                if item.failures == 1 && !refused {
                    self.dead_letter_not_stored(&item, &error);
                }
                self.pause(item, Next::Bury, pause);
            }
        }
    }

    #[cold]
    fn dead_letter_stored(&self, item: &Item, receipt: &Receipt) {
        let received = item.received();
        tracing::warn!(
            receiver = %self.settings.name, id = received.message.id.map(display), partition = received.claim.partition(),
            position = %received.origin.position(), attempts = item.attempt, reason = item.reason,
            sender = self.settings.dead_letter.sender().map(display), stored_at = %receipt.position, "a message became a dead letter"
        );
    }

    #[cold]
    fn dead_letter_not_stored(&self, item: &Item, error: &Error) {
        let received = item.received();
        tracing::warn!(
            receiver = %self.settings.name, id = received.message.id.map(display), partition = received.claim.partition(),
            position = %received.origin.position(), sender = self.settings.dead_letter.sender().map(display), %error,
            "a dead letter cannot be stored, and is tried again"
        );
    }
}

/// Whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::receiver) enum Blame {
    Itself,
    /// That of a batch, one of whose messages it is.
    Batch,
}

/// What becomes of a message whose attempt failed, for the log.
enum WhatNext {
    Retry(Duration),
    DeadLetter,
    /// This receiver closes, or the claim ends too soon.
    Redelivery,
}

impl Display for WhatNext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(pause) => write!(f, "in {pause:.1?}"),
            Self::DeadLetter => f.write_str("dead letter"),
            Self::Redelivery => f.write_str("redelivery"),
        }
    }
}
