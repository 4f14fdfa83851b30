use std::{
    fmt::Debug,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Limits, Message, Plan, Producer, Receipt, Result, planted};

/// Most messages of a request, as with Kinesis.
pub(crate) const REQUEST_MESSAGES: usize = 500;

/// What keeps messages in memory.
pub(crate) trait Sink: Debug + Send + Sync + 'static {
    /// What a request may hold.
    fn limits(&self) -> Limits;

    /// Names that only the same places in memory have.
    fn names(&self) -> Vec<String>;

    /// Stores what fits. One outcome a message, in order.
    fn put(&self, batch: &[Message]) -> Vec<Result<Receipt>>;
}

/// A connection to send by.
#[derive(Debug)]
pub(crate) struct MemoryProducer<S> {
    sink: S,
    closed: AtomicBool,
}

impl<S: Sink> MemoryProducer<S> {
    pub(crate) fn new(sink: S) -> Self {
        Self { sink, closed: AtomicBool::new(false) }
    }
}

#[async_trait]
impl<S: Sink> Producer for MemoryProducer<S> {
    fn limits(&self) -> Limits {
        self.sink.limits()
    }

    fn destinations(&self) -> Vec<String> {
        self.sink.names()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(message.size()))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(Relaxed) && !planted!("sends-after-close") {
            return vec![Err(Error::new(ErrorKind::Closed, "memory: the connection is closed")); batch.len()];
        }
        self.sink.put(batch)
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Relaxed);
        Ok(())
    }
}
