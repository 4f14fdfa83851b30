use std::time::{Duration, Instant};

use strait_core::{Error, ErrorKind};

/// How often a consumer with nothing to deliver says that its provider answers.
const EVERY: Duration = Duration::from_secs(1);

/// Decides which answers of a provider that bring no message become an empty reply of
/// [`receive`](strait_core::Consumer::receive): the first, and then one a second.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    told: Option<Instant>,
}

impl Answers {
    /// The provider answered at `now`, and brought nothing. Returns whether to reply so.
    pub(crate) fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|told| now.saturating_duration_since(told) >= EVERY);
        if is_news {
            self.told = Some(now);
        }
        is_news
    }
}

/// What `receive` says once the consumer is closed.
pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the consumer is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_is_news_and_then_one_a_second() {
        let start = Instant::now();
        let mut answers = Answers::default();
        let news = [0, 1, 999, 1_000, 1_500, 2_000, 60_000, 60_001];
        let news = news.map(|millis| answers.is_news(start + Duration::from_millis(millis)));
        assert_eq!(news, [true, false, false, true, false, true, true, false]);
    }
}
