//! The engine of logs over a scene: a log, and who owns it, that do and note what a test says.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod bytes;
mod closing;
mod commits;
mod moves;
mod pace;
mod quarantine;
mod readers;
mod resuming;
mod scene;
