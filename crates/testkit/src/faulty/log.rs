use std::sync::Arc;

use async_trait::async_trait;
use strait_core::{Budget, Guarantees, Result};
use strait_kit::{Identity, Log, Page, Partition, Reader, Start};

use super::{Fault, Faults, Site, error};

/// A [`Log`] whose calls, and those of its readers, go wrong as planned.
#[derive(Debug)]
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    faults: Faults,
}

impl FaultyLog {
    /// Reads `inner`.
    pub fn new(inner: Arc<dyn Log>, faults: Faults) -> Arc<Self> {
        Arc::new(Self { inner, faults })
    }
}

#[async_trait]
impl Log for FaultyLog {
    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    fn identity(&self) -> Option<Identity> {
        self.inner.identity()
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        self.inner.partitions().await
    }

    async fn open(&self, partition: &str, start: &Start, epoch: u64, ahead: usize) -> Result<Box<dyn Reader>> {
        let fault = self.faults.next(Site::Open, 1);
        if let Some(Fault::Fail(kind)) = fault {
            return Err(error(kind));
        }
        self.faults.wait(fault.as_ref()).await;
        let inner = self.inner.open(partition, start, epoch, ahead).await?;
        Ok(Box::new(FaultyReader { inner, faults: self.faults.clone() }))
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

struct FaultyReader {
    inner: Box<dyn Reader>,
    faults: Faults,
}

#[async_trait]
impl Reader for FaultyReader {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        let fault = self.faults.next(Site::Read, 1);
        if let Some(Fault::Fail(kind)) = fault {
            return Err(error(kind));
        }
        self.faults.wait(fault.as_ref()).await; // before, so that a dropped call skips nothing
        self.inner.next(budget).await
    }

    fn ahead(&self) -> usize {
        self.inner.ahead()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.inner.close().await
    }
}
