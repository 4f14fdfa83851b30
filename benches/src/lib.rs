//! Strait beside its peers, measured in one run.
//!
//! A [`Case`] is something that is sent, received, looked at and acknowledged, by Strait or by a peer. All of them have
//! the same handler, which reads the length of the payload and counts in a [`Clock`]. The programs in `src/bin` measure
//! cases: `compare` by time, `one` under Valgrind by instructions.
//!
//! An adapter is measured beside its SDK by hand, in [`Rounds`] that take turns, against a [`stub`] in a process of its own.

mod case;
mod clock;
mod gauge;
mod peers;
mod rounds;
mod sending;
mod strait;
mod stream;
pub mod stub;

pub use case::{Case, Keys, Peer, Shape, Strait, Taking, Way};
pub use clock::Clock;
pub use gauge::{Gauge, Taken, processor};
pub use rounds::{Rounds, WHO, median};
pub use sending::{call, enqueue};

use std::sync::Arc;

use bytes::Bytes;

/// What every message carries. Static, so that the cost of making payloads is not measured, except where a peer copies.
pub fn payload() -> Bytes {
    Bytes::from_static(&[7; 1024])
}

/// Runs `case` until `clock` has counted all its messages.
///
/// # Panics
///
/// If the backend refuses anything, since then there is nothing to measure.
pub async fn run(case: Case, clock: Arc<Clock>) {
    match case {
        Case::Strait(case) => strait::run(case, clock).await,
        Case::Peer(peer) => peers::run(peer, clock).await,
    }
}
