//! Queues: every message has a lease of its own.

mod consumer;
mod held;
mod leases;
mod pace;
mod polls;
mod postponing;
mod release;
mod renewal;
mod settings;
mod shared;

use std::{fmt::Debug, time::Duration};

use strait_core::{Budget, Guarantees, Message, Origin, Result};

pub use consumer::QueueConsumer;
pub use settings::QueueSettings;

/// The raw operations of a queue: messages are leased, and come back unless they are deleted in time.
///
/// Not object-safe on purpose: the engine is generic over it, so that nothing is boxed beneath the engine.
/// Every call has a deadline of its own. None retries by itself.
pub trait Queue: Debug + Send + Sync + 'static {
    /// Names one lease of a message. Its clones are cheap (a number, an `Arc<str>`): settling, extending and retrying
    /// all name it at the same time.
    type Handle: Clone + Send + Sync + 'static;

    /// What it is, and what it promises.
    fn guarantees(&self) -> Guarantees;

    /// How long leases last. The engine asks once.
    fn lease_terms(&self) -> LeaseTerms;

    /// Whether [`Origin::redeliveries`] tells a second delivery from the first: then a second delivery of a message in
    /// hand is looked for only where it says so.
    fn counts_deliveries(&self) -> bool;

    /// Leases messages within `budget`, waiting a while for the first. May return none: if that takes less than 250 ms,
    /// the engine pauses before it polls again, 50 ms at first and 1 s at most. It calls this concurrently, and drops it
    /// when the consumer closes.
    fn receive(&self, budget: Budget) -> impl Future<Output = Result<Vec<Leased<Self::Handle>>>> + Send;

    /// Deletes messages. Idempotent. One outcome per handle; [`ErrorKind::NotFound`](strait_core::ErrorKind::NotFound)
    /// or [`ErrorKind::Lost`](strait_core::ErrorKind::Lost) says that the lease is gone.
    fn delete(&self, handles: &[Self::Handle]) -> impl Future<Output = Vec<Result<()>>> + Send;

    /// Starts leases over. One outcome per handle, as for [`delete`](Self::delete).
    fn extend(&self, handles: &[Self::Handle]) -> impl Future<Output = Vec<Result<()>>> + Send;

    /// Ends leases now, in the given order, so that the messages may be received again. One outcome per handle, as for
    /// [`delete`](Self::delete). The engine calls it for a hundred at most, and once at a time.
    fn release(&self, handles: &[Self::Handle]) -> impl Future<Output = Vec<Result<()>>> + Send;

    /// Keeps messages back until their pauses are over, and ends their leases then. One outcome per entry, as for
    /// [`delete`](Self::delete); [`ErrorKind::Unsupported`](strait_core::ErrorKind::Unsupported) where a pause is longer
    /// than the queue can keep. The engine calls it only where [`Guarantees::postpones`] is set, and while no lease among
    /// them is being extended.
    fn postpone(&self, pauses: &[Pause<Self::Handle>]) -> impl Future<Output = Vec<Result<()>>> + Send;

    /// Disconnects. Called after everything was released, or could not be; again, if a close was broken off in it.
    fn close(&self) -> impl Future<Output = Result<()>> + Send;
}

/// A lease that is to end after a pause.
#[derive(Clone, Debug)]
pub struct Pause<H> {
    /// Names the lease.
    pub handle: H,
    /// How long the message is to be kept back from now on. Never shorter than that: round it up.
    pub time: Duration,
    /// How long the message has been in hand, at most: it counts from before it was asked for.
    pub held: Duration,
}

/// How long the leases of a [`Queue`] last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long a lease lasts, unless it is extended; the engine does that at a third of it.
    pub lease: Duration,
    /// How long a message may be held in all: from then on its lease is not extended.
    pub longest: Duration,
}

/// A message and its lease.
#[derive(Debug)]
pub struct Leased<H> {
    /// The message.
    pub message: Message,
    /// Its lease.
    pub handle: H,
    /// Where it came from. Its position must tell messages apart: a second delivery of a message in hand is known by it.
    pub origin: Origin,
}
