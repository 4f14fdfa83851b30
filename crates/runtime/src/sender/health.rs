use strait_core::ErrorKind;

use super::state::State;
use crate::State as Condition;

/// How a sender is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SenderHealth {
    /// In a word. Down after three requests in a row with a failure; it recovers by itself.
    pub state: Condition,
    /// Messages without an outcome.
    pub messages: usize,
    /// How much of the buffer they take.
    pub bytes: usize,
    /// How much of that is of keys that the provider throttles: see [`SenderSettings::buffer_bytes`](crate::SenderSettings::buffer_bytes).
    pub throttled_bytes: usize,
    /// Requests under way.
    pub requests: usize,
    /// How many requests in a row had a failure.
    pub failures: u32,
    /// How the last of them failed.
    pub last_failure: Option<ErrorKind>,
    /// Keys that are paused: [`Sender::paused_keys`](crate::Sender::paused_keys) lists them. With 10,000 of them a further one pauses all.
    pub paused_keys: usize,
}

impl SenderHealth {
    pub(super) fn of(state: &State) -> Self {
        let (failures, last_failure) = state.failures;
        let condition = match failures {
            _ if state.closed => Condition::Closed,
            0 => Condition::Up,
            1..=2 => Condition::Degraded,
            _ => Condition::Down,
        };
        Self {
            state: condition,
            messages: state.messages(),
            bytes: state.bytes(),
            throttled_bytes: state.throttled.bytes(),
            requests: state.requests(),
            failures,
            last_failure,
            paused_keys: state.paused.len(),
        }
    }
}
