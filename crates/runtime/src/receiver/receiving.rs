use std::{mem, pin::Pin, sync::Arc, time::Duration};

use strait_core::{Budget, Consumer, Error, ErrorKind, Received, Result, planted};
use tokio::time::{self, Instant};

use super::{driver::sleep_until, item::after};
use crate::Backoff;

/// Between calls to a provider that fails to deliver.
const AGAIN: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));

/// How long a call to a provider that failed before goes on until that counts as an answer, for consumers that do not
/// reply empty: a provider that cannot be reached says so sooner.
const CALM: Duration = Duration::from_secs(30);

type Call = Pin<Box<dyn Future<Output = Result<Vec<Received>>> + Send>>;

/// The one `receive` under way, and how those before it ended. It is never cancelled while the consumer is open.
pub(super) struct Receiving {
    consumer: Arc<dyn Consumer>,
    call: Option<Call>,
    /// Whether any has succeeded, if only by an empty reply.
    opened: bool,
    /// How many failed in a row.
    pub(super) failures: u32,
    /// How long to wait before the next.
    pause: Duration,
    /// When the failures before it are over, if it goes on so long.
    calm: Option<Instant>,
}

/// How a call ended.
pub(super) enum Came {
    /// It brought messages.
    Batch(Vec<Received>),
    /// It brought none, or goes on for so long that the provider is up again.
    Quiet,
    /// It failed, and another may follow.
    Failed(Error),
    /// It failed for good.
    Broken(Error),
    /// The consumer is closed.
    Closed,
}

impl Receiving {
    pub(super) fn new(consumer: Arc<dyn Consumer>) -> Self {
        Self { consumer, call: None, opened: false, failures: 0, pause: Duration::ZERO, calm: None }
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.call.is_some()
    }

    /// Begins the next call, after a pause if the last one failed.
    pub(super) fn begin(&mut self, budget: Budget) {
        let (consumer, pause) = (Arc::clone(&self.consumer), mem::take(&mut self.pause));
        self.calm = (self.failures > 0).then(|| after(pause.saturating_add(CALM)));
        self.call = Some(Box::pin(async move {
            if !pause.is_zero() {
                time::sleep(pause).await;
            }
            consumer.receive(budget).await
        }));
    }

    /// What comes of the call under way. Cancel-safe: the call goes on.
    pub(super) async fn next(&mut self) -> Came {
        let Some(call) = &mut self.call else { return std::future::pending().await };
        let outcome = tokio::select! {
            biased;
            outcome = call => outcome,
            () = sleep_until(self.calm) => {
                (self.failures, self.calm) = (0, None);
                return Came::Quiet;
            }
        };
        self.call = None;
        match outcome {
            Ok(batch) => {
                self.failures = 0;
                if batch.is_empty() {
                    self.opened |= !planted!("empty-reply-is-no-answer");
                    return Came::Quiet;
                }
                self.opened = true;
                Came::Batch(batch)
            }
            Err(error) if error.kind() == ErrorKind::Closed => Came::Closed,
            // What cannot be had when it is opened never comes by itself. Later it may: somebody mends it.
            Err(error) if !self.opened && is_fatal(error.kind()) => Came::Broken(error),
            Err(error) if planted!("gives-up-after-ten-failures") && self.failures >= 10 => Came::Broken(error),
            Err(error) => {
                self.failures += 1;
                self.pause = AGAIN.pause_after(&error, self.failures);
                Came::Failed(error)
            }
        }
    }

    /// What the call under way still brings is dropped: given back.
    pub(super) async fn end(self) {
        if let Some(call) = self.call {
            drop(call.await);
        }
    }
}

fn is_fatal(kind: ErrorKind) -> bool {
    !planted!("missing-source-tried-for-ever")
        && matches!(kind, ErrorKind::Config | ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unsupported)
}
