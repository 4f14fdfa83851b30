use strait_core::Watch;
use tokio::time::Instant;

use crate::receiver::{lost, now};

/// What a handler may want to know while it runs.
#[derive(Debug)]
pub struct Context {
    pub(super) watch: Option<Watch>,
    pub(super) attempt: u32,
    pub(super) deadline: Option<Instant>,
}

impl Context {
    /// Which attempt this is, from 1; of a batch, the most that one of its messages had.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the handler is cancelled, if the worker has a time-out.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether the message was taken away: what is done from here on will be done again, here or elsewhere. Of a batch,
    /// the first message.
    pub fn is_lost(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_lost(now))
    }

    /// Resolves when the message is taken away; work may stop early then. Cancel-safe.
    pub async fn lost(&self) {
        match &self.watch {
            Some(watch) => lost(watch).await,
            None => std::future::pending().await,
        }
    }
}
