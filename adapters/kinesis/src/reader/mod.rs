//! Reading a shard: by asking for its records, or by having them pushed.

mod fan_out;
mod polling;
mod shard;

use async_trait::async_trait;
use strait_core::{Budget, Position, Result};
use strait_kit::{Page, Reader};

pub(crate) use self::{
    fan_out::FanOut,
    polling::Polling,
    shard::{Answer, Shard},
};

/// How records of a shard come here.
pub(crate) trait Fetch: Send {
    /// Waits for the next answer, and lets the shard take it in: for about so many bytes, where that can be said. Cancel-safe:
    /// what came is taken in at once.
    fn fetch(&mut self, shard: &mut Shard, bytes: usize) -> impl Future<Output = Result<Found>> + Send;

    /// Most bytes that may be buffered here; the shard has buffered `brought` of them already.
    fn ahead(&self, brought: usize) -> usize;
}

/// What came.
#[derive(Debug)]
pub(crate) enum Found {
    /// Records to be handed out, or none.
    Records,
    /// Nothing that can be believed yet, or nothing at all.
    Again,
    /// The place is no longer stored; the oldest one, if that is known.
    Trimmed(Option<Position>),
}

/// Reads a shard.
#[derive(Debug)]
pub(crate) struct ShardReader<F> {
    shard: Shard,
    fetch: F,
}

impl<F> ShardReader<F> {
    pub(crate) fn new(shard: Shard, fetch: F) -> Self {
        Self { shard, fetch }
    }
}

#[async_trait]
impl<F: Fetch> Reader for ShardReader<F> {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        loop {
            if let Some(page) = self.shard.page(budget) {
                return Ok(page);
            }
            match self.fetch.fetch(&mut self.shard, budget.bytes).await? {
                Found::Records if self.shard.has_nothing() => return Ok(self.shard.nothing()),
                Found::Records | Found::Again => {}
                Found::Trimmed(oldest) => return Ok(Page::Trimmed { oldest }),
            }
        }
    }

    fn ahead(&self) -> usize {
        self.fetch.ahead(self.shard.brought())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
