use std::time::Duration;

use strait_core::Error;

/// How long to wait between attempts: doubling, with jitter.
///
/// Half of each pause is random, so that those who failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The pause after the first failure, at most; it doubles from there. Default: 200 ms.
    pub first: Duration,
    /// The longest pause. Default: 30 s.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Pauses that double from `first` up to `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    /// The pause after `failures` failures in a row.
    pub fn pause(&self, failures: u32) -> Duration {
        self.pause_by(failures, fastrand::f64())
    }

    /// The pause after `failures` failures in a row, the last of which is `error`: longer if the provider asks for that,
    /// see [`Error::pause`].
    pub fn pause_after(&self, error: &Error, failures: u32) -> Duration {
        error.pause(self.pause(failures))
    }

    /// The pause after `failures` failures in a row, with so much of its random half, from 0 to 1.
    pub(crate) fn pause_by(&self, failures: u32, luck: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest);
        whole / 2 + (whole / 2).mul_f64(luck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_with_jitter_in_the_upper_half() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for (failures, whole) in [(0, 100), (1, 100), (2, 200), (4, 800), (5, 1000), (u32::MAX, 1000)] {
            for _ in 0..100 {
                let pause = backoff.pause(failures);
                assert!((whole / 2..=whole).contains(&pause.as_millis()), "{failures}: {pause:?}");
            }
        }
        assert!(Backoff::new(Duration::MAX, Duration::MAX).pause(9) >= Duration::MAX / 2, "and none overflows");
    }
}
