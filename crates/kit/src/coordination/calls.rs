use std::time::{Instant, SystemTime};

use bytes::Bytes;
use strait_core::{Error, Position, Result};

use super::rows::Name;
use crate::{Became, Change, Expect, Partition, Progress, Put, Row, Start, Suspect, Version};

/// The time of an event.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// By this process's own monotonic clock: all waiting and all belief.
    pub instant: Instant,
    /// By the wall clock, which may be wrong and may jump: only for where a new group starts and for first epochs.
    pub wall: SystemTime,
}

impl Now {
    /// Where the epochs of a row begin that is made now: later than those of one that was made before, and deleted.
    pub(super) fn first_epoch(self) -> u64 {
        self.wall.duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs())
    }
}

/// What a [`Machine`](super::Machine) is told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Time has passed.
    Tick,
    /// A call has ended.
    Reply {
        /// Which one.
        call: u64,
        /// How.
        reply: Reply,
    },
    /// Store progress; answered by [`Output::Done`].
    Commit {
        /// The caller's name for this request.
        ticket: u64,
        /// What is settled.
        progress: Progress,
    },
    /// Store where the partition is resumed at while nothing comes; answered by [`Output::Done`].
    ResumeAt {
        /// The caller's name for this request.
        ticket: u64,
        /// The partition.
        partition: Name,
        /// The tenure.
        epoch: u64,
        /// The place: everything before it is settled.
        start: Start,
    },
    /// Store which message is worked on next, alone; answered by [`Output::Done`].
    Suspect {
        /// The caller's name for this request.
        ticket: u64,
        /// The partition.
        partition: Name,
        /// The tenure.
        epoch: u64,
        /// Everything up to here is settled.
        settled: Option<Position>,
        /// The message.
        suspect: Suspect,
    },
    /// Hand a partition over: nothing of it is in hand any more. Answered by [`Output::Done`].
    Release {
        /// The caller's name for this request.
        ticket: u64,
        /// The partition.
        partition: Name,
        /// The tenure.
        epoch: u64,
    },
    /// A partition was read to its end, settled and committed. Answered by [`Output::Done`].
    Finish {
        /// The caller's name for this request.
        ticket: u64,
        /// The partition.
        partition: Name,
        /// The tenure.
        epoch: u64,
        /// What it became. Where that is not known it is looked for in the provider's list, and this fails for a moment
        /// while nothing is listed.
        became: Became,
    },
    /// Every handler of a tenure that was lost has returned. If the partition is still held in that tenure, it is taken
    /// anew.
    Returned {
        /// The partition.
        partition: Name,
        /// The tenure.
        epoch: u64,
    },
    /// Leave the group. [`Output::Left`] says when that is done.
    Close,
}

/// What a [`Machine`](super::Machine) asks for, in this order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Make a call, and tell its end.
    Call {
        /// Its number.
        id: u64,
        /// What to do.
        call: Call,
    },
    /// Whether the rows of the group are those of this log. Said once it is known; after an error, which is of kind
    /// [`Config`](strait_core::ErrorKind::Config), it leaves the group, or has never joined it.
    Opened(Result<()>),
    /// What is owned has changed.
    Change(Change),
    /// A request has ended.
    Done {
        /// Which.
        ticket: u64,
        /// How.
        result: Result<()>,
    },
    /// Something is wrong that does not mend itself.
    Report(Error),
    /// It has left the group.
    Left,
}

/// A call to the store, or to the provider of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// [`RowStore::get`](crate::RowStore::get).
    Get(String),
    /// [`RowStore::versions`](crate::RowStore::versions).
    Versions(&'static str),
    /// [`RowStore::put`](crate::RowStore::put).
    Put {
        /// The row.
        key: String,
        /// What it is to be.
        expect: Expect,
        /// What it becomes.
        value: Bytes,
    },
    /// [`RowStore::delete`](crate::RowStore::delete).
    Delete(String),
    /// [`Log::partitions`](crate::Log::partitions).
    Partitions,
}

/// How a [`Call`] ended: the variant is the call's.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reply {
    /// Of [`Call::Get`].
    Row(Result<Option<Row>>),
    /// Of [`Call::Versions`].
    Versions(Result<Vec<(String, Version)>>),
    /// Of [`Call::Put`].
    Put(Result<Put>),
    /// Of [`Call::Delete`].
    Deleted(Result<()>),
    /// Of [`Call::Partitions`].
    Partitions(Result<Vec<Partition>>),
}

/// What a call was for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Admission,
    Beat(u64),
    BeatBack,
    Members,
    Plan,
    Member(Name),
    Look(Name),
    Take(Name),
    Write(Name),
    ReadBack(Name),
    Parent { child: Name, parent: Name },
    Child { parent: Name, child: Name },
    PlanPut,
    Provider,
    Rows,
    AuditRow(Name),
    Verify(Name),
    Sweep,
    Farewell,
}

impl Purpose {
    /// Whether it counts against the bound on calls that concern partitions.
    pub(super) fn is_bounded(&self) -> bool {
        matches!(
            self,
            Self::Look(_)
                | Self::Take(_)
                | Self::Write(_)
                | Self::ReadBack(_)
                | Self::Parent { .. }
                | Self::Child { .. }
                | Self::AuditRow(_)
                | Self::Verify(_)
                | Self::Sweep
        )
    }
}
