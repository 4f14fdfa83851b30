use std::sync::{Mutex, PoisonError};

use crate::config::Quota;

/// Counts what a hub takes in the second that runs.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    second: i64,
    events: u64,
    bytes: u64,
}

impl Meter {
    /// Whether so much more is within the quota; then it is counted. The first request of a second always is.
    pub(crate) fn admit(&self, quota: Quota, millis: i64, events: usize, bytes: usize) -> bool {
        if quota.events.is_none() && quota.bytes.is_none() {
            return true;
        }
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let second = millis.div_euclid(1000);
        if used.second != second {
            *used = Used { second, ..Used::default() };
        }
        let (all_events, all_bytes) = (used.events + events as u64, used.bytes + bytes as u64);
        let within = |all: u64, most: Option<u32>| most.is_none_or(|most| all <= u64::from(most));
        let first = used.events == 0;
        if !(first || within(all_events, quota.events) && within(all_bytes, quota.bytes)) {
            return false;
        }
        (used.events, used.bytes) = (all_events, all_bytes);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_quota() {
        let (meter, quota) = (Meter::default(), Quota { events: Some(10), bytes: Some(1000) });
        assert!(meter.admit(quota, 5_000, 6, 10));
        assert!(!meter.admit(quota, 5_999, 5, 10));
        assert!(meter.admit(quota, 5_999, 4, 10));
        assert!(!meter.admit(quota, 5_999, 1, 1));
        assert!(meter.admit(quota, 6_000, 50, 5_000), "the first of a second is always taken");
        assert!(!meter.admit(quota, 6_001, 1, 1));
        assert!(meter.admit(Quota::default(), 6_001, 1_000_000, 1));
    }
}
