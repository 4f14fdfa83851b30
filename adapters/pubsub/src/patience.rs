use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

/// How long a pull may take, its answer included.
///
/// The service ends a pull before its deadline if there is nothing, and breaks off at its deadline what it is sending. So a
/// deadline is as long as a pull is to wait, and a little more; and where answers take longer on their way, as long as they
/// are of use. Without that they would be broken off again and again.
#[derive(Debug)]
pub(crate) struct Patience {
    usual: Duration,
    most: Duration,
    long: AtomicBool,
}

/// How much earlier than the deadline of a pull the service ends it, so that what it brings is not on the way then.
const MARGIN: Duration = Duration::from_secs(1);

impl Patience {
    /// For pulls that wait so long, for messages that are leased so long from when it was sent.
    pub(crate) fn new(wait: Duration, lease: Duration) -> Self {
        let usual = wait + MARGIN;
        Self { usual, most: lease.saturating_sub(MARGIN).max(usual), long: AtomicBool::new(false) }
    }

    pub(crate) fn time(&self) -> Duration {
        if self.long.load(Relaxed) { self.most } else { self.usual }
    }

    /// An answer was broken off after it was on its way for `time`. Returns whether another may take longer: one may begin
    /// late, when what it brings comes late.
    pub(crate) fn broken_off(&self, time: Duration) -> bool {
        self.long.store(true, Relaxed);
        time < self.most / 4 * 3
    }

    /// An answer with messages took so long from when it was asked for.
    pub(crate) fn came(&self, took: Duration) {
        if took < self.usual / 2 {
            self.long.store(false, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_long_from_an_answer_that_is_broken_off_until_one_is_quick() {
        let secs = Duration::from_secs;
        let patience = Patience::new(secs(5), secs(20));
        assert_eq!(patience.time(), secs(6));
        assert!(patience.broken_off(secs(6)), "there is more");
        assert_eq!(patience.time(), secs(19));
        assert!(!patience.broken_off(secs(18)), "that was all");
        patience.came(secs(4));
        assert_eq!(patience.time(), secs(19));
        patience.came(secs(2));
        assert_eq!(patience.time(), secs(6));
    }
}
