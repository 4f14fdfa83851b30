//! What adapters are made of.
//!
//! An adapter implements raw operations only, and one of two engines makes a [`Consumer`](strait_core::Consumer) of
//! them: [`QueueConsumer`] keeps the leases of a [`Queue`], [`LogConsumer`] keeps the partitions of a [`Log`] and
//! commits a contiguous watermark from its [`Ledger`]. What differs between providers is who can take a claim away: a
//! queue by message, a log by partition. The engines hide that.

mod answers;
pub mod coordination;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod ledger;
mod log;
mod order;
mod queue;
mod rows;

pub use ledger::Ledger;
pub use log::{
    Became, Change, Identity, Log, LogConsumer, LogSettings, Ownership, Page, Partition, Progress, Quarantine, Reader,
    Record, Renew, Start, Static, Suspect, Trimmed,
};
pub use order::compare;
pub use queue::{LeaseTerms, Leased, Pause, Queue, QueueConsumer, QueueSettings};
pub use rows::{Expect, Put, Row, RowStore, Version};
