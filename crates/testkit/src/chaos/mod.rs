//! Seeded chaos.
//!
//! A [`storm`] has senders, members that come, go and are killed, and faults of every kind at every call, and shows that
//! nothing is lost, out of order or worked on by two at once. [`ends`] has members that come, close and are killed while
//! they hold hundreds of messages and calls are slow or fail for a while, and shows that whoever closes hands everything
//! over in time, so that nothing is processed again.

mod ends;
mod handling;
mod member;
mod storm;

use std::collections::BTreeMap;

pub use ends::ends;
pub use storm::storm;

use crate::Site;

/// What went wrong, and how often.
pub type Fired = BTreeMap<(Site, &'static str), usize>;

/// The faults that [`ends`] is shown to find, on some backend.
pub const FAULTS: &[&str] = &[
    "forgotten-while-released",
    "released-without-its-commit",
    "report-ends-close",
    "close-waits-out-a-back-off",
    "log-ends-too-early",
];
