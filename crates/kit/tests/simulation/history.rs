//! What happened, as an observer outside of all processes would write it down. The checker knows nothing else.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

/// Microseconds since the beginning, by a clock that nobody in the simulation has.
pub(crate) type Time = u64;

/// A process, and a partition's name.
pub(crate) type Pid = usize;

#[derive(Clone, Debug, Hash)]
pub(crate) enum What {
    /// A record was appended.
    Appended {
        partition: usize,
        position: u64,
        key: u32,
    },
    /// A partition was closed, and became these.
    Closed {
        partition: usize,
        children: Vec<usize>,
    },
    /// A process was told that it owns a partition until then, by its own reckoning.
    Gained {
        pid: Pid,
        partition: usize,
        epoch: u64,
        until: Time,
    },
    /// And until then.
    Renewed {
        pid: Pid,
        until: Time,
    },
    /// It gave a partition up, drained (`clean`) or not, or was told that it is lost.
    Released {
        pid: Pid,
        partition: usize,
        epoch: u64,
        clean: bool,
    },
    Lost {
        pid: Pid,
        partition: usize,
        epoch: u64,
    },
    /// A handler began, ended, and what it did was settled.
    Started {
        pid: Pid,
        partition: usize,
        epoch: u64,
        position: u64,
    },
    Ended {
        pid: Pid,
        partition: usize,
        epoch: u64,
        position: u64,
    },
    Settled {
        pid: Pid,
        partition: usize,
        epoch: u64,
        position: u64,
    },
    /// A process began, died, or left in good order.
    Began {
        pid: Pid,
    },
    /// A process began that reads another log.
    Strayed {
        pid: Pid,
    },
    Died {
        pid: Pid,
    },
    Left {
        pid: Pid,
    },
    /// The store holds this now.
    Stored {
        key: String,
        value: Option<Bytes>,
    },
    /// Somebody else than a member changed a row.
    Tampered {
        key: String,
    },
    /// The provider no longer lists a partition.
    Unlisted {
        partition: usize,
    },
    /// The way to the store is good, always.
    Calm,
    /// From here on nothing fails.
    Quiet,
    /// More happened than ever should: somebody is in a loop.
    Endless,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<(Time, What)>,
}

impl History {
    pub(crate) fn add(&mut self, time: Time, what: What) {
        self.events.push((time, what));
    }

    /// Equal for equal histories. Not stable over versions of the compiler, and not kept.
    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.events.hash(&mut hasher);
        hasher.finish()
    }
}
