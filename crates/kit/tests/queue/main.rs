//! The engine of queues.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod closing;
mod denied;
mod late;
mod pacing;
mod panics;
mod postponing;
mod stub;
