use std::{error, fmt, sync::Arc, time::Duration};

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, named by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration cannot be used. Fix it and start again.
    Config,
    /// The stream, queue, topic or subscription does not exist.
    NotFound,
    /// The credentials are missing, expired or not allowed to do this.
    Denied,
    /// The provider cannot do what was asked, and never will.
    Unsupported,
    /// The message breaks a limit. Sending it again breaks it again.
    Invalid,
    /// The provider asks for patience. Retry after a pause.
    Throttled,
    /// The provider could not be reached or failed. Retry after a pause.
    Unavailable,
    /// The claim is gone: the message comes again, here or elsewhere. Nothing is to be done.
    Lost,
    /// This side was closed.
    Closed,
    /// None of the above, and not safe to retry blindly.
    Other,
}

/// The one error type of this library: one word wide, and cheap to clone.
///
/// It reads as a sentence that names the provider, the place and the reason. It never holds a payload, a key, a receipt
/// handle or a secret.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    ambiguous: bool,
    source: Option<Source>,
}

type Source = Arc<dyn error::Error + Send + Sync>;

impl Error {
    /// An error with no cause beneath it.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner { kind, message: message.into(), retry_after: None, ambiguous: false, source: None }))
    }

    /// Adds the cause, most often the error of a provider's SDK.
    pub fn with_source(self, source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        self.edit(|inner| inner.source = Some(Arc::from(source.into())))
    }

    /// Says how long the provider asked callers to wait.
    pub fn with_retry_after(self, pause: Duration) -> Self {
        self.edit(|inner| inner.retry_after = Some(pause))
    }

    /// Says that what was asked may have been done all the same: a time-out or a reset after the request left.
    pub fn into_ambiguous(self) -> Self {
        self.edit(|inner| inner.ambiguous = true)
    }

    fn edit(self, edit: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            kind: shared.kind,
            message: shared.message.clone(),
            retry_after: shared.retry_after,
            ambiguous: shared.ambiguous,
            source: shared.source.clone(),
        });
        edit(&mut inner);
        Self(Arc::new(inner))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Throttled | ErrorKind::Unavailable)
    }

    /// Whether what was asked may have been done all the same. A message that failed so may be stored.
    pub fn is_ambiguous(&self) -> bool {
        self.0.ambiguous
    }

    /// How long to wait before the same call, for a caller whose own back-off says `backoff`: as long as that, or as the
    /// provider asked for if that is longer. Of what a provider asks for a minute counts at most: more would stop all that
    /// waits for this call.
    pub fn pause(&self, backoff: Duration) -> Duration {
        self.retry_after().map_or(backoff, |asked| backoff.max(asked.min(Duration::from_secs(60))))
    }

    /// How long the provider asked callers to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &inner.kind).field("message", &inner.message);
        if let Some(pause) = inner.retry_after {
            debug.field("retry_after", &pause);
        }
        if inner.ambiguous {
            debug.field("ambiguous", &true);
        }
        if let Some(source) = &inner.source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn is_one_word_and_keeps_what_it_was_told() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
        let error = Error::new(ErrorKind::Throttled, "kinesis: throttled").with_retry_after(Duration::from_secs(1));
        let edited = error.clone().into_ambiguous().with_source("HTTP 429");
        assert!(error.is_transient() && !error.is_ambiguous() && error.source().is_none());
        assert!(edited.is_transient() && edited.is_ambiguous());
        assert_eq!(edited.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(edited.source().map(ToString::to_string).as_deref(), Some("HTTP 429"));
        for (asked, backoff, pause) in [(0, 3, 3), (9, 3, 9), (9, 30, 30), (3600, 3, 60), (3600, 90, 90)] {
            let error = error.clone().with_retry_after(Duration::from_secs(asked));
            assert_eq!(error.pause(Duration::from_secs(backoff)), Duration::from_secs(pause));
        }
        assert_eq!(edited.to_string(), "kinesis: throttled");
    }
}
