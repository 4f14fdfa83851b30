use std::{sync::Arc, time::Duration};

use strait_core::{Error, ErrorKind, Limits, Observer, Result, Unobserved};
use tokio::sync::Semaphore;

use crate::Backoff;

/// How a [`Sender`](crate::Sender) sends. The same on every provider.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SenderSettings {
    /// What the sender is called, in errors and logs. Default: `sender`.
    pub name: Arc<str>,
    /// Most bytes accepted and without an outcome; each message counts 128 more than it has. A message that is larger
    /// than all of it is accepted while nothing else is held. Default: 16 MiB.
    ///
    /// A key whose message was [`Throttled`](strait_core::ErrorKind::Throttled) waits to be sent again, and is throttled until
    /// all that it holds has an outcome, or a message of it is sent and throttled keys hold less than a quarter of the
    /// buffer. Nothing more of such keys is accepted once they hold half of it: a partition whose quota is used up leaves
    /// the other half to the others.
    pub buffer_bytes: usize,
    /// How long a message may wait for others to share its request. Default: none; while requests are under way,
    /// batches form by themselves.
    pub linger: Duration,
    /// How long to try, from acceptance, at most a year, and at most what the provider says. The outcome is known at most
    /// a second later. Default: 2 minutes.
    pub deadline: Duration,
    /// The pauses between attempts.
    pub backoff: Backoff,
    /// Most requests under way at once, at least 1; never two with messages of the same key. Default: 8.
    pub requests: usize,
    /// What happens to later messages of a key after one of it was not sent. Default: they go on.
    pub after_failure: AfterFailure,
    /// What hears of what is measured.
    pub observer: Arc<dyn Observer>,
}

/// What happens to later messages of a key after one of it was not sent, or nobody knows.
///
/// Those accepted before that was reported fail in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AfterFailure {
    /// They are sent.
    #[default]
    Continue,
    /// They are refused until [`Sender::resume`](crate::Sender::resume) or
    /// [`resume_all`](crate::Sender::resume_all). Up to 10,000 keys that are paused are remembered; where one more would be,
    /// all messages that have a key are refused, until all are resumed.
    Pause,
}

impl Default for SenderSettings {
    fn default() -> Self {
        Self {
            name: "sender".into(),
            buffer_bytes: 16 << 20,
            linger: Duration::ZERO,
            deadline: Duration::from_secs(120),
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            requests: 8,
            after_failure: AfterFailure::default(),
            observer: Arc::new(Unobserved),
        }
    }
}

/// The longest deadline. Every clock can count that far.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl SenderSettings {
    /// The largest [`buffer_bytes`](Self::buffer_bytes): what a semaphore can count, and hand out at once.
    pub const LARGEST_BUFFER: usize =
        if Semaphore::MAX_PERMITS < u32::MAX as usize { Semaphore::MAX_PERMITS } else { u32::MAX as usize };

    /// Checks every field, and that the provider's requests can hold anything.
    pub(super) fn check(&self, limits: Limits) -> Result<()> {
        let wrong =
            |field: &str, rule: &str| Err(Error::new(ErrorKind::Config, format!("{}: {field}: {rule}", self.name)));
        if self.buffer_bytes == 0 || self.buffer_bytes > Self::LARGEST_BUFFER {
            return wrong("buffer_bytes", &format!("must be 1 to {}", Self::LARGEST_BUFFER));
        }
        if self.requests == 0 {
            return wrong("requests", "must be at least 1");
        }
        if self.deadline.is_zero() || self.deadline > LONGEST {
            return wrong("deadline", "must be longer than nothing, and at most a year");
        }
        if let Some(longest) = limits.deadline.filter(|longest| self.deadline > *longest) {
            let rule = format!(
                "must be at most {longest:?}: the provider stores each message once for as long as it remembers it"
            );
            return wrong("deadline", &rule);
        }
        if self.linger >= self.deadline {
            return wrong("linger", "must be shorter than the deadline");
        }
        if self.backoff.first > self.backoff.longest {
            return wrong("backoff.first", "must not be longer than backoff.longest");
        }
        if limits.messages == 0 || limits.message_bytes == 0 {
            return wrong("limits", "the provider says that a request of it holds nothing");
        }
        if limits.message_bytes > limits.request_bytes {
            return wrong("limits", "the provider says that a message may be larger than a request");
        }
        Ok(())
    }
}
