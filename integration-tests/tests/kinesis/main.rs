//! Kinesis: what others write and read.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod aggregates;
