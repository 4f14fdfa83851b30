use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use strait_core::{Position, Result};
use strait_kit::{Became, Change, Ownership, Progress, Renew, Start, Suspect};

/// Hears what is committed.
type Report = Box<dyn Fn(&Progress) -> BoxFuture<'static, ()> + Send + Sync>;

/// An [`Ownership`] that reports what it has committed, to a log that forgets what all groups have settled.
pub struct Reported {
    inner: Arc<dyn Ownership>,
    report: Report,
}

impl Reported {
    /// Owns what `inner` does, and awaits `report` for each commit that is confirmed.
    pub fn new(
        inner: Arc<dyn Ownership>,
        report: impl Fn(&Progress) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { inner, report: Box::new(report) })
    }
}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reported").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Ownership for Reported {
    async fn next(&self) -> Result<Option<Change>> {
        self.inner.next().await
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
