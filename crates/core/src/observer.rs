use std::{
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crate::ErrorKind;

/// Hears what engines and the runtime measure. `health()` is one; an application may hang its metrics beneath it.
///
/// Called on the path of every batch, sometimes under a lock: implementations count, and neither block nor call back.
/// What one panics with is caught.
pub trait Observer: Debug + Send + Sync {
    /// Something was measured.
    fn observe(&self, measure: Measure<'_>);
}

/// Something measured. None holds a payload, a key or a secret.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Measure<'a> {
    /// How far the reader of a partition is behind its newest message, on a log.
    Lag {
        /// Which partition.
        partition: &'a str,
        /// How far.
        lag: Lag,
    },
    /// How long the oldest message that is received and not settled has been held.
    OldestUnsettled(Duration),
    /// How much is held, waiting, running or between attempts.
    Buffered {
        /// How many messages.
        messages: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// How much the engine of a log holds: read ahead, or delivered and not settled. What a receiver has buffered is part
    /// of it.
    Held {
        /// How many messages.
        messages: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// So many messages were received.
    Received(usize),
    /// So many messages were settled.
    Settled(usize),
    /// An attempt failed and another follows.
    Retried,
    /// A message was stored among the dead letters, or discarded by policy.
    DeadLettered,
    /// So many claims were lost that a receiver held. Engines do not count them, lest each counts twice.
    ClaimsLost(usize),
    /// How many messages cannot go on by themselves: their dead letter is refused for good, or policy blocks them.
    Stalled(usize),
    /// A partition was gained.
    Gained(&'a str),
    /// A partition was handed over or lost.
    Released(&'a str),
    /// Whether a partition can be read.
    Reading {
        /// Which partition.
        partition: &'a str,
        /// How that failed last; nothing once it is read again.
        failed: Option<ErrorKind>,
    },
    /// The provider refuses a call for a message for want of a permission, or no longer does.
    Denied {
        /// Which one: `settle`, `extend`, `release`.
        call: &'static str,
        /// Whether it does now.
        now: bool,
    },
    /// A call to the provider failed.
    Failed {
        /// Which one: `receive`, `settle`, `extend`, `release`, `send`, `commit`, ...
        call: &'static str,
        /// How.
        kind: ErrorKind,
    },
}

/// How far a reader is behind the newest message of a partition, in what the provider tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lag {
    /// How many messages are stored and not yet read.
    Messages(u64),
    /// How long before the newest message the last message read was stored.
    Time(Duration),
}

/// Passes everything on to an observer, and catches what it panics with: observers are the application's, and are called
/// by tasks and under locks that would not outlive a panic. The engines and the runtime wrap theirs in it.
#[derive(Clone, Debug)]
pub struct Guarded(Arc<dyn Observer>);

impl Guarded {
    /// Passes everything on to `observer`.
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self(observer)
    }
}

impl Observer for Guarded {
    fn observe(&self, measure: Measure<'_>) {
        // The panic hook has told of it.
        let _ = catch_unwind(AssertUnwindSafe(|| self.0.observe(measure)));
    }
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn observe(&self, _: Measure<'_>) {}
}
