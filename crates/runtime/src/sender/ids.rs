use std::time::SystemTime;

use strait_core::Id;

/// Makes ids that grow: a `UUIDv7` from a clock that is read once in a while, a counter, and this sender's own noise.
#[derive(Debug)]
pub(super) struct Ids {
    /// Milliseconds since 1970. It never goes back, whatever the clock does.
    millis: u64,
    counter: u64,
    /// 30 random bits. Together with the random start of the counter they tell senders apart.
    noise: u64,
}

/// How many ids share one look at the clock.
const RUN: u64 = 64;

impl Default for Ids {
    fn default() -> Self {
        let start = u64::from(fastrand::u32(..1 << 30)) / RUN * RUN;
        Self { millis: 0, counter: start, noise: u64::from(fastrand::u32(..1 << 30)) << 32 }
    }
}

impl Ids {
    pub(super) fn next(&mut self) -> Id {
        if self.counter.is_multiple_of(RUN) {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis();
            self.millis = self.millis.max(u64::try_from(now).unwrap_or(0));
        }
        let high = (self.millis << 16) | 0x7000 | ((self.counter >> 32) & 0xfff);
        let low = (1 << 63) | self.noise | (self.counter & 0xffff_ffff);
        self.counter += 1;
        Id::from_bytes(((u128::from(high) << 64) | u128::from(low)).to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn grow_and_are_of_version_7() {
        let mut ids = Ids::default();
        let list: Vec<_> = (0..1000).map(|_| ids.next()).collect();
        assert!(list.is_sorted_by(|a, b| a < b));
        assert!(list.iter().all(|id| id.as_bytes()[6] >> 4 == 7 && id.as_bytes()[8] >> 6 == 2));
    }

    #[test]
    fn of_different_senders_differ() {
        let ids: HashSet<_> = (0..1000).map(|_| Ids::default().next()).collect();
        assert_eq!(ids.len(), 1000);
    }
}
