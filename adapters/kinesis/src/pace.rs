//! How often a shard is read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Between two calls of a shard: five a second are allowed, of all who read it.
const BETWEEN: Duration = Duration::from_millis(200);
/// What a shard gives in a second.
const BYTES: usize = 2 << 20;
/// How long a shard that throttles is left alone at most.
const LONGEST: Duration = Duration::from_secs(5);
/// How long a shard may throttle, or its iterators expire, before that is a failure: others read it too.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a shard may refuse.
#[derive(Debug, Default)]
pub(crate) struct Patience(Option<Instant>);

impl Patience {
    /// It was refused. Whether to try again: `false` once that is a failure.
    pub(crate) fn is_left(&mut self) -> bool {
        let now = Instant::now();
        now - *self.0.get_or_insert(now) < PATIENCE
    }

    /// It was not refused.
    pub(crate) fn renew(&mut self) {
        self.0 = None;
    }
}

/// When a shard may be called again, and how long it may refuse.
#[derive(Debug)]
pub(crate) struct Pace {
    next: Instant,
    /// When the last call began.
    called: Instant,
    /// How long to wait where nothing comes.
    idle: Duration,
    /// How long it was left alone since it last throttled.
    throttled: Duration,
    patience: Patience,
}

impl Pace {
    pub(crate) fn new(idle: Duration) -> Self {
        let now = Instant::now();
        Self { next: now, called: now, idle, throttled: Duration::ZERO, patience: Patience::default() }
    }

    /// Waits until a call may begin. What is dropped while it is under way counts too. Cancel-safe.
    pub(crate) async fn wait(&mut self) {
        sleep_until(self.next).await;
        self.called = Instant::now();
        self.next = self.called + BETWEEN;
    }

    /// The call brought so many bytes, or nothing because there is nothing: `idle`.
    pub(crate) fn answered(&mut self, bytes: usize, idle: bool) {
        let millis = u64::try_from(bytes.saturating_mul(1000) / BYTES).unwrap_or(u64::MAX);
        let pause = if idle { self.idle } else { Duration::ZERO };
        self.next = self.called + BETWEEN.max(pause).max(Duration::from_millis(millis));
        self.throttled = Duration::ZERO;
        self.patience.renew();
    }

    /// The call was refused, since others read the shard too, or it cannot be read now. Whether to try again: `false` once
    /// that is a failure.
    pub(crate) fn refused(&mut self) -> bool {
        self.throttled = (self.throttled * 2).clamp(BETWEEN * 2, LONGEST);
        // Of those who are throttled together not all come back together.
        self.next = Instant::now() + self.throttled.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.patience.is_left()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    /// How long the next call waits.
    async fn waits(pace: &mut Pace) -> Duration {
        let before = Instant::now();
        pace.wait().await;
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_is_called_five_times_a_second_and_gives_two_mebibytes() {
        let mut pace = Pace::new(IDLE);
        assert_eq!(waits(&mut pace).await, Duration::ZERO);
        tokio::time::advance(50 * MS).await;
        pace.answered(1000, false);
        assert_eq!(waits(&mut pace).await, 150 * MS, "the time that the call took counts");
        assert_eq!(waits(&mut pace).await, 200 * MS, "a call that was dropped counts");
        pace.answered(10 << 20, false);
        assert_eq!(waits(&mut pace).await, 5 * IDLE);
        pace.answered(0, true);
        assert_eq!(waits(&mut pace).await, IDLE);
        pace.answered(0, false);
        assert_eq!(waits(&mut pace).await, 200 * MS, "an empty page that is behind is followed at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_throttles_is_left_alone_for_longer_and_fails_after_thirty_seconds() {
        let mut pace = Pace::new(IDLE);
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        while pace.refused() {
            let waited = waits(&mut pace).await;
            assert!(waited >= 200 * MS && waited <= LONGEST, "{waited:?}");
            longest = longest.max(waited);
        }
        assert!(longest > LONGEST / 2 && start.elapsed() >= PATIENCE && start.elapsed() < PATIENCE + LONGEST);
        assert!(!pace.refused(), "it goes on to fail");
        pace.answered(0, false);
        assert!(pace.refused() && waits(&mut pace).await <= 400 * MS, "an answer begins anew");
    }
}
