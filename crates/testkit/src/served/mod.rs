//! A log that several processes share: a server of topics in memory, for tests that kill and stop processes.
//!
//! The server holds each topic in a [`MemoryLog`](strait_memory::MemoryLog); who reads which partition is settled among
//! the processes, by a coordinator over rows that they share. Nothing here is fast, or meant for anything but tests.

mod client;
mod provider;
mod server;
mod wire;

pub use client::ServedLog;
pub use provider::Served;
pub use server::LogServer;
