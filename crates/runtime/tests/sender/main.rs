//! The sender, with a provider whose every answer a test decides.

#![allow(clippy::unwrap_used, clippy::unchecked_time_subtraction, reason = "a test may panic")]

mod accepting;
mod batching;
mod ending;
mod foreign;
mod gathering;
mod late;
mod model;
mod order;
mod outcomes;
mod provider;
mod retrying;
mod stopping;
mod throttled;
mod watching;
