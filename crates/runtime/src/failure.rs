use std::{error::Error, fmt, fmt::Write as _, time::Duration};

use strait_core::ErrorKind;

/// Any error, or a text.
type Cause = Box<dyn Error + Send + Sync>;

/// Why an attempt at a message failed, and what is to become of it.
///
/// `?` makes one of every standard error, of a `Box<dyn Error + Send + Sync>`, of a text and of what converts into these,
/// such as `anyhow::Error`. It is a [`retry`](Self::retry), unless the error is one of this library that no retry can
/// mend: of the kind [`ErrorKind::Invalid`]. What can never succeed is a [`reject`](Self::reject):
///
/// ```
/// use std::time::Duration;
///
/// use strait_runtime::{Delivery, Failure, OrFail as _};
///
/// async fn ship(delivery: Delivery) -> Result<(), Failure> {
///     let text = std::str::from_utf8(&delivery.message().payload).or_reject()?; // never tried again
///     let address: std::net::SocketAddr = text.parse().or_reject()?;
///     let stream = std::net::TcpStream::connect(address)?; // tried again, as the receiver's `retry` says
///     stream.set_nodelay(true).or_retry_after(Duration::from_secs(60))?;
///     Ok(())
/// }
/// ```
///
/// Its reason holds the error and all its causes. It is written to the log and, when no attempt is left, to the dead
/// letter: it must hold no secret.
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
    pub fn retry(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { reason: chain(&*reason.into()), then: Then::Retry }
    }

    /// Try again, not earlier than after `pause`. Other messages go on meanwhile, those of the same key excepted. After
    /// a crash the message survives, the pause need not. A pause of more than a minute goes back to a provider that can keep
    /// it: [`Guarantees::postpones`](strait_core::Guarantees::postpones).
    pub fn retry_after(reason: impl Into<Box<dyn Error + Send + Sync>>, pause: Duration) -> Self {
        Self { then: Then::RetryAfter(pause), ..Self::retry(reason) }
    }

    /// Never try again: to the dead letters.
    pub fn reject(reason: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { then: Then::Reject, ..Self::retry(reason) }
    }

    /// Why the attempt failed: the error's text, and those of its causes.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Whether the message is not to be tried again.
    pub fn is_reject(&self) -> bool {
        self.then == Then::Reject
    }

    /// How long to wait at least before the next attempt, if the handler said so.
    pub fn pause(&self) -> Option<Duration> {
        match self.then {
            Then::RetryAfter(pause) => Some(pause),
            Then::Retry | Then::Reject => None,
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: Cause = error.into();
        let invalid =
            error.downcast_ref::<strait_core::Error>().is_some_and(|error| error.kind() == ErrorKind::Invalid);
        if invalid { Self::reject(error) } else { Self::retry(error) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// The text of `error` and those of its causes. Many an error's text ends with that of its cause: it is not repeated.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !last.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
        (last, next) = (cause, error.source());
    }
    text
}

/// Says on the same line what is to become of a message when something fails. `?` alone tries it again.
pub trait OrFail<T> {
    /// A failure is a [`Failure::reject`]: the message is never tried again.
    ///
    /// # Errors
    ///
    /// That failure, of this error.
    fn or_reject(self) -> Result<T, Failure>;

    /// A failure is a [`Failure::retry_after`]: the message is tried again, not earlier than after `pause`.
    ///
    /// # Errors
    ///
    /// That failure, of this error.
    fn or_retry_after(self, pause: Duration) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrFail<T> for Result<T, E> {
    fn or_reject(self) -> Result<T, Failure> {
        self.map_err(Failure::reject)
    }

    fn or_retry_after(self, pause: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure::retry_after(error, pause))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    fn failed<T>(outcome: impl FnOnce() -> Result<T, Failure>) -> Failure {
        outcome().err().expect("it fails")
    }

    #[test]
    fn what_handlers_fail_by_becomes_one() {
        let boxed = || -> Result<(), Cause> { Err("out of stock".into()) };
        let any = || -> anyhow::Result<()> { Err(anyhow::anyhow!("refused").context("cannot ship")) };
        let standard = || Err::<(), _>(Outer("cannot bill", io::Error::other("no route")));
        for (failure, reason) in [
            (failed(|| Ok(boxed()?)), "out of stock"),
            (failed(|| Ok(any()?)), "cannot ship: refused"),
            (failed(|| Ok(standard()?)), "cannot bill: no route"),
            (failed(|| Ok(Err::<(), _>("a text")?)), "a text"),
            (failed(|| Ok(Err::<(), _>(format!("{} texts", 2))?)), "2 texts"),
        ] {
            assert_eq!((failure.reason(), failure.is_reject(), failure.pause()), (reason, false, None));
        }
        let failure = failed(|| standard().or_reject());
        assert_eq!((failure.reason(), failure.is_reject()), ("cannot bill: no route", true));
        let pause = Duration::from_secs(7);
        let failure = failed(|| any().or_retry_after(pause));
        assert_eq!((failure.reason(), failure.pause()), ("cannot ship: refused", Some(pause)));
    }

    #[test]
    fn a_cause_that_is_told_already_is_not_repeated() {
        let failure = Failure::retry(Outer("cannot bill: no route", io::Error::other("no route")));
        assert_eq!(failure.reason(), "cannot bill: no route");
    }

    #[test]
    fn what_no_retry_can_mend_is_rejected() {
        let of = |kind| Failure::from(strait_core::Error::new(kind, "payload: is not JSON"));
        assert!(of(ErrorKind::Invalid).is_reject());
        assert!(!of(ErrorKind::Unavailable).is_reject());
    }
}
