use super::shared::Shared;
use crate::{Counts, Meter};

/// How a receiver is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Health {
    /// In a word.
    pub state: State,
    /// How often receiving failed in a row.
    pub receive_failures: u32,
    /// What was counted.
    pub counts: Counts,
}

/// The health of a channel in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It works.
    Up,
    /// It works in part: a call to the provider failed and is tried again, a partition cannot be read, a message stalls, or
    /// a permission is missing that some call needs.
    Degraded,
    /// Nothing comes in: receiving failed three times in a row or more. It recovers by itself, once the provider
    /// answers, if only that there is nothing, or a call has gone on for 30 s without failing.
    Down,
    /// It is closed.
    Closed,
}

impl Health {
    pub(super) fn of(shared: &Shared, meter: &Meter) -> Self {
        let (counts, receive_failures) = (meter.counts(), shared.failures());
        let state = if shared.desk().is_open() {
            match receive_failures {
                0 if counts.stalled == 0 && counts.failing.is_empty() && counts.denied.is_empty() => State::Up,
                0..=2 => State::Degraded,
                _ => State::Down,
            }
        } else {
            State::Closed
        };
        Self { state, receive_failures, counts }
    }
}
