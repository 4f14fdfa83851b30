use std::{error::Error, fmt, time::Duration};

/// Why an attempt at a message failed, and what is to become of it.
///
/// Every standard error becomes [`retry`](Self::retry), so that `?` works in a handler. What can never succeed is a
/// [`reject`](Self::reject).
#[derive(Clone, Debug)]
pub struct Failure {
    pub(crate) reason: String,
    pub(crate) then: Then,
}

/// What is to become of a message whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Again, after the pause that the retry policy says.
    Retry,
    /// Again, not before this pause is over.
    RetryAfter(Duration),
    /// To the dead letters.
    Reject,
}

impl Failure {
    /// Try again, after the pause of the retry policy.
    ///
    /// The text is what the dead letter says if no attempt is left: it must hold no secret.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), then: Then::Retry }
    }

    /// Try again, not earlier than after `pause`. Other messages go on meanwhile, those of the same key excepted. After
    /// a crash the message survives, the pause need not. A pause of more than a minute goes back to a provider that can keep
    /// it: [`Guarantees::postpones`](strait_core::Guarantees::postpones).
    pub fn retry_after(reason: impl fmt::Display, pause: Duration) -> Self {
        Self { reason: reason.to_string(), then: Then::RetryAfter(pause) }
    }

    /// Never try again: to the dead letters.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self { reason: reason.to_string(), then: Then::Reject }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}
