//! A partitioned log and a queue in memory.
//!
//! They are reference and rehearsal: an application that runs on [`MemoryLog`] meets what Kinesis and Event Hubs do to it
//! (partitions that move, checkpoints, replay), and one that runs on [`MemoryQueue`] what SQS and Pub/Sub do (leases,
//! redelivery, groups of messages). Both are bounded in bytes: when full they ask for patience, so that a sender's
//! buffer fills and the application waits. Nothing survives the process.

mod life;
mod log;
mod producer;
mod provider;
mod queue;
mod topic;

pub use life::Life;
pub use log::{LogOptions, MemoryLog};
pub use provider::Memory;
pub use queue::{MemoryQueue, QueueOptions};
pub use topic::fan_out;
