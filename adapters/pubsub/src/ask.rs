use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use strait_core::Budget;

/// How many messages a pull asks for, where there is room for so many bytes: the service is told a number only.
///
/// It goes by the largest that came lately, and forgets that an eighth at a time. What came is counted as it was sent.
#[derive(Debug)]
pub(crate) struct Ask {
    largest: AtomicUsize,
}

/// The most that a pull may ask for.
pub(crate) const MOST: usize = 1000;
/// What is thought of messages before there was one.
const FIRST: usize = 32 << 10;
/// What is thought of them at least, so that a few small ones promise nothing.
const LEAST: usize = 1 << 10;

impl Ask {
    pub(crate) fn new() -> Self {
        Self { largest: AtomicUsize::new(FIRST) }
    }

    /// How many fit.
    pub(crate) fn most(&self, budget: Budget) -> usize {
        (budget.bytes / self.largest.load(Relaxed)).min(budget.messages).clamp(1, MOST)
    }

    /// The largest of an answer was so large.
    pub(crate) fn came(&self, largest: usize) {
        let known = self.largest.load(Relaxed);
        self.largest.store(largest.max(known - known / 8).max(LEAST), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_are_asked_for_one_by_one_and_forgotten_slowly() {
        let (ask, budget) = (Ask::new(), Budget::new(5000, 16 << 20));
        assert_eq!(ask.most(budget), 512);
        assert_eq!(ask.most(Budget::new(7, 16 << 20)), 7);
        ask.came(10_000_000);
        assert_eq!((ask.most(budget), ask.most(Budget::new(5, 1))), (1, 1));
        for _ in 0..5 {
            ask.came(100);
        }
        assert_eq!(ask.most(budget), 3);
        for _ in 0..100 {
            ask.came(1);
        }
        assert_eq!(ask.most(budget), MOST);
    }
}
