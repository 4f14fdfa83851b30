use std::time::Duration;

use strait_core::Result;
use strait_runtime::Backoff;
use tokio::time::{Instant, sleep};

/// Between tries to open a channel.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));

/// Opens `channel`, and tries again until `end` while its provider cannot be reached. Cancel-safe, if `open` is.
///
/// # Errors
///
/// The last one, if another try cannot help, or would begin too late.
pub(crate) async fn try_until<T, F>(channel: &str, end: Instant, mut open: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut failures = 0;
    loop {
        let error = match open().await {
            Err(error) if error.is_transient() => error,
            outcome => return outcome,
        };
        failures += 1;
        let pause = PAUSES.pause_after(&error, failures);
        if Instant::now() + pause > end {
            return Err(error);
        }
        if failures == 1 {
            tracing::warn!(channel, %error, "cannot open, and tries again");
        }
        sleep(pause).await;
    }
}
