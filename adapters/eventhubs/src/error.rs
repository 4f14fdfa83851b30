//! What the conditions of AMQP and of the service mean, by what the caller can do about them.

use std::time::Duration;

use fe2o3_amqp_types::{
    definitions::{self, ErrorCondition},
    primitives::Symbol,
};
use strait_core::{Error, ErrorKind};

/// How long the service asks to wait when it is busy: its words say "Please wait 4 seconds".
const BUSY: Duration = Duration::from_secs(4);
/// How much of the words of the service is passed on.
const WORDS: usize = 300;

/// Another reader of the partition has a higher epoch.
const STOLEN: &str = "amqp:link:stolen";
const TOO_LARGE: &str = "amqp:link:message-size-exceeded";
/// A place that there is not, or a setting of a link that is none.
const ARGUMENT: &str = "com.microsoft:argument-error";

/// A call that failed, as the service or the AMQP library has it.
#[derive(Clone, Debug)]
pub(crate) struct Failed {
    /// The condition that the service named, if it named one.
    condition: Option<String>,
    words: String,
    /// What it is, where no condition says it.
    kind: ErrorKind,
}

impl Failed {
    /// Failed without a word of the service.
    pub(crate) fn here(words: impl Into<String>) -> Self {
        Self::of_kind(ErrorKind::Unavailable, words)
    }

    /// Failed for this reason, without a word of the service.
    pub(crate) fn of_kind(kind: ErrorKind, words: impl Into<String>) -> Self {
        Self { condition: None, words: words.into(), kind }
    }

    /// The service named this condition.
    fn named(condition: String, words: String) -> Self {
        Self { condition: Some(condition), words, kind: ErrorKind::Unavailable }
    }

    /// The service would refuse it for its size.
    pub(crate) fn too_large(words: String) -> Self {
        Self::named(TOO_LARGE.to_owned(), words)
    }

    /// The answer to a request has this status.
    pub(crate) fn status(status: i32, condition: Option<String>, words: &str) -> Self {
        let by_status = || {
            let condition = match status {
                401 | 403 => "amqp:unauthorized-access",
                404 => "amqp:not-found",
                503 => "com.microsoft:server-busy",
                _ => return None,
            };
            Some(condition.to_owned())
        };
        Self { condition: condition.or_else(by_status), ..Self::here(format!("{status} {words}")) }
    }

    /// Whether the service said so, and all is well but for that.
    pub(crate) fn is_answer(&self) -> bool {
        self.condition.is_some()
    }

    /// Whether the place to read from is not there.
    pub(crate) fn is_no_place(&self) -> bool {
        self.condition.as_deref() == Some(ARGUMENT)
    }

    /// An error of the library. `what` says what cannot be done: `cannot send to "orders"`.
    pub(crate) fn into_error(self, what: &str) -> Error {
        let (kind, reason) = match self.condition.as_deref() {
            Some("amqp:not-found") => (ErrorKind::NotFound, "does not exist"),
            Some("amqp:unauthorized-access" | "com.microsoft:auth-failed") => (ErrorKind::Denied, "not allowed"),
            Some("com.microsoft:entity-disabled") => (ErrorKind::Denied, "it is disabled"),
            Some("com.microsoft:server-busy") => (ErrorKind::Throttled, "throttled"),
            Some(STOLEN) => (ErrorKind::Lost, "another reader has taken the partition"),
            Some(TOO_LARGE) => (ErrorKind::Invalid, "too large"),
            Some(ARGUMENT) => (ErrorKind::Invalid, "refused"),
            Some("amqp:not-allowed" | "amqp:not-implemented" | "amqp:decode-error") => (ErrorKind::Other, "refused"),
            _ => (self.kind, "failed"),
        };
        let words: String = self.words.chars().take(WORDS).collect();
        let said = match &self.condition {
            Some(condition) if words.is_empty() => condition.clone(),
            Some(condition) => format!("{condition}: {words}"),
            None => words,
        };
        let error = Error::new(kind, format!("eventhubs: {what}: {reason} ({said})"));
        if kind == ErrorKind::Throttled { error.with_retry_after(BUSY) } else { error }
    }
}

impl From<&definitions::Error> for Failed {
    fn from(error: &definitions::Error) -> Self {
        let words = error.description.as_ref().map(ToString::to_string).unwrap_or_default();
        Self::named(name(&error.condition), words)
    }
}

fn name(condition: &ErrorCondition) -> String {
    let symbol = match condition {
        ErrorCondition::AmqpError(error) => Symbol::from(error),
        ErrorCondition::ConnectionError(error) => Symbol::from(error),
        ErrorCondition::SessionError(error) => Symbol::from(error),
        ErrorCondition::LinkError(error) => Symbol::from(error),
        ErrorCondition::Custom(symbol) => symbol.clone(),
    };
    symbol.0
}

/// An error of the configuration.
pub(crate) fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("eventhubs: {text}"))
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::definitions::{AmqpError, LinkError};

    use super::*;

    fn of(condition: impl Into<ErrorCondition>, words: &str) -> Error {
        let error = definitions::Error::new(condition, Some(words.to_owned()), None);
        Failed::from(&error).into_error("cannot send to \"orders\"")
    }

    #[test]
    fn conditions_say_what_the_caller_can_do() {
        let custom = |name: &str| ErrorCondition::Custom(Symbol::from(name));
        let busy = of(custom("com.microsoft:server-busy"), "Error code : 50002. Please wait 4 seconds and try again.");
        assert_eq!((busy.kind(), busy.retry_after()), (ErrorKind::Throttled, Some(BUSY)));
        assert_eq!(
            busy.to_string(),
            "eventhubs: cannot send to \"orders\": throttled (com.microsoft:server-busy: Error code : 50002. Please wait \
             4 seconds and try again.)"
        );
        for (error, kind) in [
            (of(AmqpError::NotFound, ""), ErrorKind::NotFound),
            (of(AmqpError::UnauthorizedAccess, ""), ErrorKind::Denied),
            (of(LinkError::Stolen, ""), ErrorKind::Lost),
            (of(LinkError::DetachForced, ""), ErrorKind::Unavailable),
            (of(LinkError::MessageSizeExceeded, ""), ErrorKind::Invalid),
            (of(AmqpError::ResourceLimitExceeded, ""), ErrorKind::Unavailable),
            (of(custom("com.microsoft:timeout"), ""), ErrorKind::Unavailable),
            (of(custom("something:new"), ""), ErrorKind::Unavailable),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn a_status_stands_for_its_condition() {
        let kind = |status| Failed::status(status, None, "").into_error("cannot").kind();
        assert_eq!(
            [401, 404, 503, 500].map(kind),
            [ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Throttled, ErrorKind::Unavailable]
        );
    }

    #[test]
    fn long_words_are_cut_off() {
        assert!(Failed::here("ö".repeat(9999)).into_error("cannot").to_string().len() < 1000);
    }
}
