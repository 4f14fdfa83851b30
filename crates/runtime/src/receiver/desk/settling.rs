//! What becomes of messages that were to be settled.

use std::{mem, time::Duration};

use strait_core::{Error, ErrorKind, Measure, Observer as _, Result, Token, planted};

use super::{Desk, Phase};
use crate::{
    Backoff,
    receiver::item::{Item, Next},
};

/// Between attempts to settle a message: leases are short, and a settlement that comes late is a redelivery.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Whether the provider lets messages be settled, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    Denied,
}

impl Desk {
    /// What is to be settled: swaps it for the empty `batch`, and lists the tokens.
    pub(in crate::receiver) fn settling(&mut self, batch: &mut Vec<Box<Item>>) -> Vec<Token> {
        mem::swap(&mut self.over, batch);
        batch.iter().map(|item| item.claim().token()).collect()
    }

    /// These were settled, or not.
    pub(in crate::receiver) fn settled(&mut self, batch: &mut Vec<Box<Item>>, outcomes: Vec<Result<()>>) {
        let mut count = 0;
        let missing = || Err(Error::new(ErrorKind::Other, "the provider gave fewer outcomes than it was asked for"));
        let mut outcomes = outcomes.into_iter();
        for mut item in batch.drain(..) {
            match outcomes.next().unwrap_or_else(missing) {
                Ok(()) => {
                    count += 1;
                    if let Some(confirm) = item.confirm.take() {
                        let _ = confirm.send(Ok(())); // nobody waits any more
                    }
                    self.forget(item);
                }
                Err(error) if error.kind() == ErrorKind::Lost || self.phase == Phase::Ended => self.lose(item),
                Err(error) => self.not_settled(item, error),
            }
        }
        if count > 0 && mem::replace(&mut self.permission, Permission::Granted) == Permission::Denied {
            tracing::info!(receiver = %self.settings.name, "messages can be settled again");
            self.settings.meter.observe(Measure::Denied { call: "settle", now: false });
        }
        self.settings.meter.observe(Measure::Settled(count));
        self.observe_buffer();
    }

    /// At least once: it is settled again for as long as its claim is held, and the worst is a redelivery. Who waits for it
    /// does not wait for what somebody has to mend, and neither does a close.
    fn not_settled(&mut self, mut item: Box<Item>, error: Error) {
        self.settings.meter.observe(Measure::Failed { call: "settle", kind: error.kind() });
        let is_denied = error.kind() == ErrorKind::Denied;
        if is_denied && mem::replace(&mut self.permission, Permission::Denied) == Permission::Granted {
            tracing::warn!(
                receiver = %self.settings.name, %error,
                "messages are processed and may not be settled: they come again until that is allowed"
            );
            self.settings.meter.observe(Measure::Denied { call: "settle", now: true });
        }
        item.failures += 1;
        let pause = AGAIN.pause_after(&error, item.failures);
        if !error.is_transient()
            && !planted!("denied-settlement-untold")
            && let Some(confirm) = item.confirm.take()
        {
            let _ = confirm.send(Err(error)); // nobody waits any more
        }
        if is_denied && !self.is_open() {
            return self.leave(item);
        }
        self.pause(item, Next::Settle, pause);
    }
}
