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
    turn: Turn,
    /// Whether any has succeeded, if only by an empty reply.
    opened: bool,
    /// How many failed in a row.
    pub(super) failures: u32,
    /// How long to wait before the next.
    pause: Duration,
    /// When the failures before it are over, if it goes on so long.
    calm: Option<Instant>,
}

enum Turn {
    /// Nothing was asked for.
    Idle,
    /// The call begins when the pause is over.
    Pausing(Budget, Instant),
    Calling(Call),
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
        Self { consumer, turn: Turn::Idle, opened: false, failures: 0, pause: Duration::ZERO, calm: None }
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.turn, Turn::Idle)
    }

    /// Begins the next call, after a pause if the last one failed.
    pub(super) fn begin(&mut self, budget: Budget) {
        let pause = mem::take(&mut self.pause);
        self.turn = if pause.is_zero() { self.call(budget) } else { Turn::Pausing(budget, after(pause)) };
    }

    fn call(&mut self, budget: Budget) -> Turn {
        self.calm = (self.failures > 0).then(|| after(CALM));
        let consumer = Arc::clone(&self.consumer);
        Turn::Calling(Box::pin(async move { consumer.receive(budget).await }))
    }

    /// What comes of the call under way. Cancel-safe: the call goes on.
    pub(super) async fn next(&mut self) -> Came {
        if let Turn::Pausing(budget, end) = self.turn {
            time::sleep_until(end).await;
            self.turn = self.call(budget);
        }
        let Turn::Calling(call) = &mut self.turn else { return std::future::pending().await };
        let outcome = tokio::select! {
            biased;
            outcome = call => outcome,
            () = sleep_until(self.calm) => {
                (self.failures, self.calm) = (0, None);
                return Came::Quiet;
            }
        };
        self.turn = Turn::Idle;
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

    /// Begins no call any more. One that is under way goes on.
    pub(super) fn stop(&mut self) {
        if matches!(self.turn, Turn::Pausing(..)) && !planted!("close-waits-out-a-back-off") {
            self.turn = Turn::Idle;
        }
    }

    /// What the call under way still brings is dropped: given back.
    pub(super) async fn end(self) {
        match self.turn {
            Turn::Calling(call) => drop(call.await),
            Turn::Pausing(_, end) if planted!("close-waits-out-a-back-off") => time::sleep_until(end).await,
            _ => {}
        }
    }
}

fn is_fatal(kind: ErrorKind) -> bool {
    !planted!("missing-source-tried-for-ever")
        && matches!(kind, ErrorKind::Config | ErrorKind::NotFound | ErrorKind::Denied | ErrorKind::Unsupported)
}
