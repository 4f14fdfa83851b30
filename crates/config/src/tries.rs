use std::time::Duration;

use strait_core::{Error, Result};
use strait_runtime::Backoff;
use tokio::time::{Instant, sleep};

/// Between tries to open a channel.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// The tries to open a channel whose provider cannot be reached.
pub(crate) struct Tries<'a> {
    channel: &'a str,
    end: Instant,
    failures: u32,
}

impl<'a> Tries<'a> {
    /// Tries to open `channel`, until `end`.
    pub(crate) fn new(channel: &'a str, end: Instant) -> Self {
        Self { channel, end, failures: 0 }
    }

    /// Waits before the next try, after one that failed with `error`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// `error`, if another try cannot help, or would begin too late.
    pub(crate) async fn after(&mut self, error: Error) -> Result<()> {
        self.failures += 1;
        let pause = PAUSES.pause_after(&error, self.failures);
        if !error.is_transient() || Instant::now() + pause > self.end {
            return Err(error);
        }
        if self.failures == 1 {
            tracing::warn!(channel = self.channel, %error, "cannot open, and tries again");
        }
        sleep(pause).await;
        Ok(())
    }
}
