use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use strait_core::Result;
use uuid::Uuid;

/// The names of attempts to receive from a FIFO queue.
///
/// When the answer of one is lost, its messages would be out of reach for a lease. A further attempt of the same name
/// gets them at once, under the same handles; the service remembers names for five minutes.
#[derive(Debug)]
pub(crate) struct Attempts {
    lost: Mutex<Vec<(Instant, String)>>,
    /// After that long the messages come again by themselves.
    remembered: Duration,
}

/// The longest that the service remembers a name, less some for the way.
const REMEMBERED: Duration = Duration::from_mins(4);

impl Attempts {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { lost: Mutex::default(), remembered: lease.min(REMEMBERED) }
    }

    /// Begins an attempt, under the name of one whose answer was lost, if there is one.
    pub(crate) fn begin(&self) -> Attempt<'_> {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.retain(|(begun, _)| begun.elapsed() < self.remembered);
        let (begun, id) = lost.pop().unwrap_or_else(|| (Instant::now(), Uuid::new_v4().to_string()));
        Attempt { attempts: self, begun, id }
    }
}

/// An attempt under way. One that is dropped may have got messages, as one that failed so.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    begun: Instant,
    id: String,
}

impl Attempt<'_> {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// It was answered, or nobody knows.
    pub(crate) fn end<T>(mut self, outcome: &Result<T>) {
        if outcome.as_ref().err().is_none_or(|error| !error.is_ambiguous()) {
            self.id.clear();
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.id.is_empty() {
            let mut lost = self.attempts.lost.lock().unwrap_or_else(PoisonError::into_inner);
            lost.push((self.begun, mem::take(&mut self.id)));
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_core::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_name_is_used_again_only_if_its_answer_was_lost() {
        let attempts = Attempts::new(Duration::from_mins(1));
        let name = |outcome: &Result<()>| {
            let attempt = attempts.begin();
            let id = attempt.id().to_owned();
            attempt.end(outcome);
            id
        };
        let failed = || Error::new(ErrorKind::Unavailable, "no answer");
        let lost = name(&Err(failed().into_ambiguous()));
        let (one, other) = (attempts.begin(), attempts.begin());
        assert_eq!(one.id(), lost);
        assert_ne!(other.id(), lost, "two polls never share a name");
        other.end(&Ok(()));
        drop(one); // as when it is cancelled
        assert_eq!(name(&Ok(())), lost);
        let refused = name(&Err(failed()));
        assert!(refused != lost && name(&Ok(())) != refused);
    }

    #[test]
    fn a_name_is_forgotten_when_its_messages_come_by_themselves() {
        let attempts = Attempts::new(Duration::ZERO);
        let lost = attempts.begin().id().to_owned(); // dropped at once
        assert_ne!(attempts.begin().id(), lost);
    }
}
