use std::{any::Any, fmt::Debug, sync::Arc, time::Instant};

use async_trait::async_trait;
use strait_core::{Position, Result};

use super::{Became, Start};

/// Who reads which partition, and how far they have come.
///
/// [`Static`](super::Static) is one implementation, the group of the memory log another, the coordinator of `strait-leases` a third.
///
/// - **W1** Of a partition at most one owner believes at a time that it is held: a new epoch is gained only after the
///   one before was released, lost, or has ended by its own clock.
/// - **W2** Epochs of a partition grow. A commit or release with an older epoch is refused with
///   [`ErrorKind::Lost`](strait_core::ErrorKind::Lost).
/// - **W3** A committed position never moves back.
/// - **W4** A tenure that came to its end by its own clock is never renewed: its owner may have seen the end. It is gained
///   anew, in a new epoch.
/// - **W5** Whatever was lost, and is still this process's to read, is gained anew once [`returned`](Self::returned) was
///   called for it, or after a while.
///
/// No method has a default: a wrapper that forgot one would switch off what it does.
#[async_trait]
pub trait Ownership: Any + Debug + Send + Sync {
    /// Waits for the next change. `None` once closed and nothing is owned any more. Cancel-safe.
    ///
    /// An error is a report: it says what is wrong, ends nothing, and is followed by the next call, also while closing. What
    /// is revoked is told before what is reported.
    async fn next(&self) -> Result<Option<Change>>;

    /// Stores the progress of one tenure. At most one call a tenure is under way at a time; tenures do not wait for each
    /// other.
    async fn commit(&self, progress: &Progress) -> Result<()>;

    /// Stores where whoever owns the partition next may begin, as long as no progress is committed behind it. Everything
    /// before it is settled. Rare. One that is before what is stored changes nothing.
    async fn resume_at(&self, partition: &str, epoch: u64, start: &Start) -> Result<()>;

    /// Stores which message is worked on next, alone, and that everything up to `settled` is. Called in tenures that were
    /// gained in quarantine only, before the message is handed out. Where no tenure is, nothing is to be done.
    async fn suspect(&self, partition: &str, epoch: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()>;

    /// Hands a partition over. Called when nothing of it is in hand any more, and progress is committed.
    async fn release(&self, partition: &str, epoch: u64) -> Result<()>;

    /// A partition was read to its end, settled and committed: its children may be read now. Called once all of it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](strait_core::ErrorKind::Unavailable) while it is not known what it became: it is owned
    /// still, and may not have ended.
    async fn finish(&self, partition: &str, epoch: u64, became: Became) -> Result<()>;

    /// Nothing of a tenure that was lost goes on here any more: its last handler has returned. Called once for each,
    /// whoever found out that it was lost; not for what was released or finished.
    async fn returned(&self, partition: &str, epoch: u64);

    /// Has `renew` called with the end of every [`Change::Renewed`], from whatever thread learns of it, so that claims
    /// hold while nobody asks for changes because handlers block the threads. Never while a [`Change::Lost`] is to be
    /// heard first. Where changes are enough, `renew` is dropped.
    fn on_renewal(&self, renew: Renew);

    /// Leaves the group: whatever is owned is revoked through [`next`](Self::next).
    async fn close(&self) -> Result<()>;
}

/// What is called with the end of every renewal.
pub type Renew = Box<dyn Fn(Instant) + Send + Sync>;

/// A change of what is owned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// The partition is ours.
    Gained {
        /// Which one.
        partition: Arc<str>,
        /// This tenure's number, larger than any before.
        epoch: u64,
        /// Where to start.
        start: Start,
        /// What is known to be settled beyond that: it may come again, and is not to be delivered.
        settled: Option<Position>,
        /// When it ends unless it is renewed.
        until: Option<Instant>,
        /// Set if owners died one after the other and came no further: perhaps a message kills its process.
        quarantine: Option<Quarantine>,
    },
    /// Everything that is owned is ours until then.
    Renewed {
        /// When it ends unless it is renewed again.
        until: Instant,
    },
    /// The partition is to be handed over: what is started goes on to settlement, then it is released.
    Revoked {
        /// Which one.
        partition: Arc<str>,
        /// Which tenure.
        epoch: u64,
    },
    /// The partition is gone already.
    Lost {
        /// Which one.
        partition: Arc<str>,
        /// Which tenure.
        epoch: u64,
    },
}

/// How a partition is worked on whose owners died: one message at a time, and each is [named](Ownership::suspect) before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quarantine {
    /// What the last owner was at when it died, if it was in quarantine too.
    pub suspect: Option<Suspect>,
}

impl Quarantine {
    /// After owners died, the last of them at this message.
    pub fn new(suspect: Option<Suspect>) -> Self {
        Self { suspect }
    }
}

/// A message that may have killed its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Which one.
    pub position: Position,
    /// How many owners in a row began to work on it, alone.
    pub attempts: u32,
}

/// How far a tenure has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The partition.
    pub partition: Arc<str>,
    /// The tenure.
    pub epoch: u64,
    /// Everything up to here is settled.
    pub position: Position,
}
