//! Logs: partitions that are read in order, and progress that is committed as a position.

mod calls;
mod consumer;
mod driver;
mod fixed;
mod identity;
mod ownership;
mod pages;
mod partition;
mod quarantine;
mod reader;
mod reading;
mod settings;
mod tenure;
mod tenures;

use std::{fmt::Debug, time::SystemTime};

use async_trait::async_trait;
use strait_core::{Budget, Error, ErrorKind, Guarantees, Lag, Message, Position, Result};

pub use consumer::LogConsumer;
pub use fixed::Static;
pub use identity::Identity;
pub use ownership::{Change, Ownership, Progress, Quarantine, Renew, Suspect};
pub use partition::{Became, Partition};
pub use settings::{LogSettings, Trimmed};

/// The raw operations of a partitioned log. Every call has a deadline of its own.
#[async_trait]
pub trait Log: Debug + Send + Sync + 'static {
    /// What it is, and what it promises.
    fn guarantees(&self) -> Guarantees;

    /// Which log it is, as far as it could be told when it was opened; none where logs have nothing that tells one from
    /// another. A group that began with another log refuses this one.
    fn identity(&self) -> Option<Identity>;

    /// The partitions there are, of the log that [`identity`](Self::identity) tells. Rare: at the birth of a group, and at
    /// audits, which take what is not listed for gone: what cannot be listed whole is an error, and so is a log that is
    /// being deleted, or was made again under its name.
    async fn partitions(&self) -> Result<Vec<Partition>>;

    /// Opens a partition for reading. `epoch` grows with every owner, for providers that fence readers by it. Called once the
    /// reader before it, if there was one, is closed. A reader holds at most `ahead` bytes by itself, and a message: what its
    /// provider pushed, or what one call to it brought beyond what `next` was asked for. All readers of a consumer share a
    /// quarter of its buffer for that.
    ///
    /// Not dropped while the partition is to be read. Once it is not, the call has 2 s to end, and its reader is closed; then
    /// it is dropped, as it is at once with a consumer that is dropped without being closed. What a dropped call has attached
    /// by then, [`close`](Self::close) detaches.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](strait_core::ErrorKind::Lost) if a later owner reads it: the tenure is over. After any other it is
    /// called again.
    async fn open(&self, partition: &str, start: &Start, epoch: u64, ahead: usize) -> Result<Box<dyn Reader>>;

    /// Disconnects. Called once, after every reader is closed and nothing is owned any more.
    async fn close(&self) -> Result<()>;
}

/// Reads one partition in order.
#[async_trait]
pub trait Reader: Send {
    /// The next records within `budget`, after a while an empty page if there is nothing new. Cancel-safe: a dropped
    /// call skips nothing.
    ///
    /// The budget is the partition's share of what may wait, which is little where many are owned. Where calls to the
    /// provider are few, one brings as much as the reader may hold, and `next` returns the rest of it without another.
    ///
    /// # Errors
    ///
    /// As [`Log::open`]: after [`ErrorKind::Lost`](strait_core::ErrorKind::Lost) the tenure is over; after any other the
    /// reader is closed, and the partition opened again behind the last record that came.
    async fn next(&mut self, budget: Budget) -> Result<Page>;

    /// How many bytes it may come to hold by itself before `next` returns again: what it holds now, or all that it was
    /// opened with where its provider pushes. Asked for when it is open, and after each page. They count against the buffer
    /// of its partition.
    fn ahead(&self) -> usize;

    /// Ends the reading: detaches from the provider. Called for every reader, also after an error, and before its partition is
    /// released; dropped if it takes longer than 2 s.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// Where a reader starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// At the oldest record there is.
    Earliest,
    /// After the newest record there is.
    Latest,
    /// At the first record stored at this time or later.
    At(SystemTime),
    /// At the record behind this position.
    After(Position),
}

/// What a reader found.
#[derive(Debug)]
#[non_exhaustive]
pub enum Page {
    /// Records, in order; none if nothing new came in a while.
    Records {
        /// The records.
        records: Vec<Record>,
        /// How far behind the newest record of the partition they end, as far as is known.
        lag: Option<Lag>,
        /// Whether nothing was stored behind them when they were read. `false` if that is not known.
        caught_up: bool,
        /// Where the partition may be opened instead to go on behind them, if that can be told: [`Start::After`] a position
        /// that is none of a record, or [`Start::At`] a time before which nothing is stored any more. Where nothing comes
        /// for long it is stored in place of the last position, which the provider forgets. A record that is before it
        /// must be among these, or have come before; one that comes again is not delivered again.
        resume: Option<Start>,
    },
    /// The partition was split or merged, and ends here for good.
    End {
        /// What it became, as far as that is known. Without any the group looks for them in the list of partitions; while
        /// none is listed the partition has not ended, and is read again after a pause.
        children: Vec<Partition>,
    },
    /// The partition was removed, and ends here for good, without becoming any other. Of logs that only split and merge
    /// none ends so.
    Removed,
    /// What was asked for is no longer stored.
    Trimmed {
        /// The oldest position that is, where that is known.
        oldest: Option<Position>,
    },
}

/// What is wrong with an end of which it is not known what came after it.
pub(crate) fn unknown_children(partition: &str) -> Error {
    let text = format!("partition {partition:?} ended, and no partition is listed that it became");
    Error::new(ErrorKind::Unavailable, text)
}

/// A message in a partition.
#[derive(Debug)]
pub struct Record {
    /// The message.
    pub message: Message,
    /// Where it is.
    pub position: Position,
    /// When it was stored, where that is known.
    pub stored_at: Option<SystemTime>,
}
