use std::time::Duration;

use tokio::time::Instant;

/// An answer that brings nothing within this time did not wait for a message.
const QUICK: Duration = Duration::from_millis(250);
/// How long to wait after the first such answer; twice as long after each one more.
const FIRST: Duration = Duration::from_millis(50);
/// How long to wait at most.
const LONGEST: Duration = Duration::from_secs(1);

/// Keeps polls apart where the provider answers at once that there is nothing: else each answer would be followed by the
/// next poll, a thousand times a second.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pause: Duration,
    until: Option<Instant>,
}

impl Pace {
    /// Until when no poll is to begin.
    #[inline]
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The pause is over.
    pub(super) fn resume(&mut self) {
        self.until = None;
    }

    /// A poll brought something.
    #[inline]
    pub(super) fn brought_some(&mut self) {
        *self = Self::default();
    }

    /// A poll that was sent at `sent` brought nothing, and that is known at `now`. Of the polls that are under way at the
    /// same time, one begins a pause.
    pub(super) fn brought_none(&mut self, sent: Instant, now: Instant) {
        if now.saturating_duration_since(sent) >= QUICK {
            self.brought_some();
        } else if self.until.is_none() {
            self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
            self.until = Some(now + self.pause);
        }
    }
}
