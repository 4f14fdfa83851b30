use std::time::{Duration, SystemTime};

/// So much in a second, filled up at once at the second's end.
#[derive(Clone, Debug)]
pub(super) struct Quota {
    most: usize,
    used: usize,
    /// When it is full again.
    until: SystemTime,
}

impl Quota {
    pub(super) fn new(most: usize) -> Self {
        Self { most, used: 0, until: SystemTime::UNIX_EPOCH }
    }

    fn renew(&mut self, now: SystemTime) {
        if now >= self.until {
            (self.used, self.until) = (0, now + Duration::from_secs(1));
        }
    }

    /// Whether there is as much left.
    pub(super) fn has(&mut self, amount: usize, now: SystemTime) -> bool {
        self.renew(now);
        self.used + amount <= self.most
    }

    /// Takes as much. What exceeds the quota holds up what comes after it, a second for each time that it goes into it.
    pub(super) fn take(&mut self, amount: usize, now: SystemTime) {
        self.renew(now);
        self.used += amount;
        let beyond = u32::try_from(self.used.saturating_sub(1) / self.most).unwrap_or(u32::MAX);
        self.until += Duration::from_secs(1) * beyond;
        self.used -= self.most * beyond as usize;
    }
}
