use std::time::{Duration, SystemTime};

/// So much in a second, filled up at once at the second's end. What was taken beyond it is paid off first.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    most: usize,
    used: usize,
    /// When the next second's worth comes.
    until: SystemTime,
}

impl Quota {
    pub(super) fn new(most: usize) -> Self {
        Self { most, used: 0, until: SystemTime::UNIX_EPOCH }
    }

    /// Pays off as much as the seconds that are over were worth.
    fn renew(&mut self, now: SystemTime) {
        let Ok(late) = now.duration_since(self.until) else { return };
        let seconds = usize::try_from(late.as_secs()).unwrap_or(usize::MAX).saturating_add(1);
        self.used = self.used.saturating_sub(self.most.saturating_mul(seconds));
        self.until = now + Duration::from_secs(1) - Duration::from_nanos(late.subsec_nanos().into());
        if self.used == 0 {
            self.until = now + Duration::from_secs(1);
        }
    }

    /// Whether there is as much left, and anything at all.
    pub(super) fn has(&mut self, amount: usize, now: SystemTime) -> bool {
        self.renew(now);
        self.used + amount.max(1) <= self.most
    }

    /// Takes as much. What exceeds the quota holds up what comes after it, a second for each time that it goes into it.
    pub(super) fn take(&mut self, amount: usize, now: SystemTime) {
        self.renew(now);
        self.used += amount;
    }
}
