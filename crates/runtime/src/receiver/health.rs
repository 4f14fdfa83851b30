use std::time::Duration;

use strait_core::Position;

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
    /// How many messages wait here for their next attempt.
    pub paused: usize,
    /// How many messages wait for it with the provider, which keeps back those with a long pause where it can: those that
    /// this receiver handed back, and that have not come again. One that somebody else received is counted up to an hour
    /// after its pause.
    pub postponed: usize,
    /// How long until the last of those pauses is over. Pauses of hours are set by `retry_after`.
    pub longest_pause: Duration,
    /// Messages that cannot go on by themselves, and why, ten at most. [`Counts::stalled`] is how many there are.
    pub stalled: Vec<Stalled>,
    /// What was counted.
    pub counts: Counts,
}

/// A message that cannot go on by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalled {
    /// The partition it came from, on a log.
    pub partition: Option<String>,
    /// Its position there.
    pub position: Position,
    /// Why: what its last attempt failed with, or what refused its dead letter.
    pub reason: String,
}

/// The health of a channel in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It works.
    Up,
    /// It works in part: a call to the provider failed and is tried again, a partition cannot be read, a message stalls,
    /// a permission is missing that some call needs, or the buffer is full of messages that wait for their next attempt, so
    /// that no other comes in.
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
        let desk = shared.desk();
        let (paused, longest_pause) = desk.pauses();
        let postponed = desk.postponed_count();
        let goes_on = counts.stalled == 0 && counts.failing.is_empty() && counts.denied.is_empty();
        let state = match receive_failures {
            _ if !desk.is_open() => State::Closed,
            0 if goes_on && !desk.is_full_of_pauses() => State::Up,
            0..=2 => State::Degraded,
            _ => State::Down,
        };
        let stalled = desk.stalled().take(10).collect();
        drop(desk);
        Self { state, receive_failures, paused, postponed, longest_pause, stalled, counts }
    }
}
