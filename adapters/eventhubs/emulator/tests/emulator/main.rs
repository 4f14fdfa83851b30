//! What the service does, seen by a client.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::missing_panics_doc, missing_debug_implementations, missing_docs, unreachable_pub, reason = "tests")]

mod access;
mod client;
mod control;
mod events;
mod faults;
mod lifecycle;
mod program;
mod readers;
mod robustness;
mod tls;
