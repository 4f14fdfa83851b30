//! A log as a process reads it that a test may kill.

use std::sync::Arc;

use async_trait::async_trait;
use strait_core::{Budget, Guarantees, Result};
use strait_kit::{Identity, Log, Page, Partition, Reader, Start};
use strait_memory::Life;

/// Whatever it asks from its death on hangs, and what is under way has no effect.
#[derive(Debug)]
pub(crate) struct MortalLog {
    log: Arc<dyn Log>,
    life: Life,
}

impl MortalLog {
    pub(crate) fn new(log: Arc<dyn Log>, life: Life) -> Arc<Self> {
        Arc::new(Self { log, life })
    }
}

#[async_trait]
impl Log for MortalLog {
    fn guarantees(&self) -> Guarantees {
        self.log.guarantees()
    }

    fn identity(&self) -> Option<Identity> {
        self.log.identity()
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        self.life.breathe().await;
        self.log.partitions().await
    }

    async fn open(&self, partition: &str, start: &Start, epoch: u64, ahead: usize) -> Result<Box<dyn Reader>> {
        self.life.breathe().await;
        let reader = self.log.open(partition, start, epoch, ahead).await?;
        Ok(Box::new(MortalReader { reader, life: self.life.clone() }))
    }

    async fn close(&self) -> Result<()> {
        self.life.breathe().await;
        self.log.close().await
    }
}

struct MortalReader {
    reader: Box<dyn Reader>,
    life: Life,
}

#[async_trait]
impl Reader for MortalReader {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        self.life.breathe().await;
        let page = self.reader.next(budget).await;
        self.life.breathe().await;
        page
    }

    fn ahead(&self) -> usize {
        self.reader.ahead()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.life.breathe().await;
        self.reader.close().await
    }
}
