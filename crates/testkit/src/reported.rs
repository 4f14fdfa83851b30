use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use strait_core::{Position, Result};
use strait_kit::{Became, Change, Ownership, Progress, Renew, Start, Suspect};

/// Hears what is committed.
type Report = Box<dyn Fn(&Progress) -> BoxFuture<'static, ()> + Send + Sync>;

/// An [`Ownership`] that reports what it has committed, to a log that forgets what all groups have settled. A commit whose
/// answer was lost is reported by whoever owns the partition next: its process may have been killed before it heard.
pub struct Reported {
    inner: Arc<dyn Ownership>,
    report: Report,
    /// A change that is reported before it is handed out.
    change: Mutex<Option<Change>>,
}

impl Reported {
    /// Owns what `inner` does, and awaits `report` for each commit that is confirmed, and for where partitions go on.
    pub fn new(
        inner: Arc<dyn Ownership>,
        report: impl Fn(&Progress) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { inner, report: Box::new(report), change: Mutex::default() })
    }

    fn change(&self) -> MutexGuard<'_, Option<Change>> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is committed of a partition that is gained.
fn committed(change: &Change) -> Option<Progress> {
    let Change::Gained { partition, epoch, start, settled, .. } = change else { return None };
    let position = match (settled, start) {
        (Some(settled), _) => settled.clone(),
        (None, Start::After(position)) => position.clone(),
        _ => return None,
    };
    Some(Progress { partition: Arc::clone(partition), epoch: *epoch, position })
}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reported").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Ownership for Reported {
    async fn next(&self) -> Result<Option<Change>> {
        if self.change().is_none() {
            let change = self.inner.next().await?;
            *self.change() = change;
        }
        // Cancelled here, it is reported again.
        let progress = self.change().as_ref().and_then(committed);
        if let Some(progress) = progress {
            (self.report)(&progress).await;
        }
        Ok(self.change().take())
    }

    async fn commit(&self, progress: &Progress) -> Result<()> {
        self.inner.commit(progress).await?;
        (self.report)(progress).await;
        Ok(())
    }

    async fn resume_at(&self, partition: &str, epoch: u64, start: &Start) -> Result<()> {
        self.inner.resume_at(partition, epoch, start).await
    }

    async fn suspect(&self, partition: &str, epoch: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()> {
        let outcome = self.inner.suspect(partition, epoch, settled, suspect).await;
        if let (Ok(()), Some(position)) = (&outcome, settled) {
            let progress = Progress { partition: partition.into(), epoch, position: position.clone() };
            (self.report)(&progress).await;
        }
        outcome
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        self.inner.release(partition, epoch).await
    }

    async fn finish(&self, partition: &str, epoch: u64, became: Became) -> Result<()> {
        self.inner.finish(partition, epoch, became).await
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        self.inner.returned(partition, epoch).await;
    }

    fn on_renewal(&self, renew: Renew) {
        self.inner.on_renewal(renew);
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
