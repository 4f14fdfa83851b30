//! Errors of the SDK, by what the caller can do about them.
//!
//! The words of the service are left out, since some repeat the receipt handle or the signature, and the SDK's own text the
//! whole response. The one exception is the sentence that says who may not do what.

mod codes;
mod connection;

use std::{error::Error as StdError, sync::Arc, time::Duration};

use aws_sdk_sts::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use strait_core::{Error, ErrorKind};

pub use codes::{Codes, is_access_denied};

use self::codes::Meaning;

/// A call as its errors tell of it: what it cannot do, where, and which permission it needs.
#[derive(Clone, Debug)]
pub struct Call {
    /// `sqs: cannot send to "orders"`.
    what: String,
    /// The action that a policy allows it by. Those of batches have the names of single calls.
    action: &'static str,
    host: Arc<str>,
    codes: Codes,
    /// Whether it changes something.
    changes: bool,
}

/// The longest that a sentence of the service is kept.
const SENTENCE: usize = 512;

impl Call {
    /// A call that cannot do `what` if it fails (`sqs: cannot send to "orders"`), is allowed by `action`
    /// (`sqs:SendMessage`), and goes to a `host`.
    pub fn new(what: impl Into<String>, action: &'static str, host: &Arc<str>) -> Self {
        Self { what: what.into(), action, host: Arc::clone(host), codes: |_| None, changes: true }
    }

    /// Knows the codes of its service, too.
    pub fn with_codes(self, codes: Codes) -> Self {
        Self { codes, ..self }
    }

    /// Changes nothing, so that nothing is ambiguous about its failures.
    pub fn read_only(self) -> Self {
        Self { changes: false, ..self }
    }

    /// What it means that the call failed so. Ambiguous if the service may have done what it was asked for; with the pause
    /// that the service asks for, if it does. It is the caller's to try again.
    pub fn failed<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> Error {
        match error {
            SdkError::ConstructionFailure(_) => self.error(ErrorKind::Config, "the request cannot be made"),
            SdkError::TimeoutError(_) => self.not_answered(None, true),
            SdkError::DispatchFailure(failure) => {
                let cause = failure.as_connector_error().and_then(StdError::source);
                self.not_answered(cause, failure.is_timeout())
            }
            SdkError::ResponseError(_) => {
                let reason = format!("the answer of {} cannot be read", self.host);
                self.ambiguous(self.error(ErrorKind::Unavailable, &reason))
            }
            SdkError::ServiceError(error) => {
                let (status, headers) = (error.raw().status().as_u16(), error.raw().headers());
                let wait = headers.get("retry-after").and_then(|seconds| seconds.parse().ok());
                let error = self.refused(error.err().code().unwrap_or("no code"), error.err().message(), status);
                match wait.map(Duration::from_secs) {
                    Some(wait) if error.is_transient() => error.with_retry_after(wait),
                    _ => error,
                }
            }
            _ => self.ambiguous(self.error(ErrorKind::Unavailable, "failed")),
        }
    }

    /// What it means that the service refused it, or an entry of a batch, with such a code, sentence and status.
    pub fn refused(&self, code: &str, sentence: Option<&str>, status: u16) -> Error {
        let (kind, reason) = match codes::meaning(code, status, self.codes) {
            Meaning::NotPermitted => {
                let reason = format!("not allowed: needs the permission {} ({code}", self.action);
                return self.error(ErrorKind::Denied, &with_sentence(reason, sentence));
            }
            Meaning::KeyNotPermitted => {
                let reason =
                    "its KMS key may not be used: needs the permission kms:Decrypt, to send kms:GenerateDataKey too";
                return self.error(ErrorKind::Denied, &with_sentence(format!("{reason} ({code}"), sentence));
            }
            Meaning::Failed => {
                let reason = format!("failed inside the service ({code})");
                return self.ambiguous(self.error(ErrorKind::Unavailable, &reason));
            }
            // Most often the region, or the account, is another than was meant.
            Meaning::Plain(kind @ ErrorKind::NotFound, reason) => {
                (kind, format!("{reason} at {}, or may not be seen with these credentials ({code})", self.host))
            }
            Meaning::Plain(kind, reason) => (kind, format!("{reason} ({code})")),
        };
        self.error(kind, &reason)
    }

    /// It may have been done, if there is something to do.
    fn ambiguous(&self, error: Error) -> Error {
        if self.changes { error.into_ambiguous() } else { error }
    }

    /// An error of this call.
    pub fn error(&self, kind: ErrorKind, reason: &str) -> Error {
        Error::new(kind, format!("{}: {reason}", self.what))
    }
}

/// Ends a parenthesis, with what the service says in it.
fn with_sentence(text: String, sentence: Option<&str>) -> String {
    let sentence = sentence.unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c });
    let sentence: String = sentence.take(SENTENCE).collect();
    match sentence.trim() {
        "" => text + ")",
        sentence => format!("{text}: {sentence})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call to send to `orders`.
    pub(super) fn sending() -> Call {
        Call::new("sqs: cannot send to \"orders\"".to_owned(), "sqs:SendMessage", &"sqs.example".into())
    }

    #[test]
    fn the_words_of_the_service_stay_out() {
        let error = sending().refused("InvalidParameterValue", Some("Value hunter2 is not valid."), 400);
        assert_eq!(error.to_string(), "sqs: cannot send to \"orders\": refused (InvalidParameterValue)");
        let error = sending().refused("SignatureDoesNotMatch", Some("The Canonical String was hunter2"), 403);
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(!format!("{error:?}").contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_not_allowed_names_its_permission_and_keeps_the_sentence() {
        let sentence = "User: arn:aws:iam::1:user/x is not authorized to perform: sqs:sendmessage\non resource: orders";
        for code in ["AccessDenied", "AccessDeniedException", "com.amazonaws.sqs#AccessDeniedException"] {
            let error = sending().refused(code, Some(sentence), 403);
            assert_eq!(error.kind(), ErrorKind::Denied, "{code}");
            let reason = format!("needs the permission sqs:SendMessage ({code}: {}", sentence.replace('\n', " "));
            assert_eq!(error.to_string(), format!("sqs: cannot send to \"orders\": not allowed: {reason})"));
        }
        let bare = sending().refused("AccessDenied", None, 0);
        assert!(bare.to_string().ends_with("needs the permission sqs:SendMessage (AccessDenied)"), "{bare}");
        let long = sending().refused("AccessDenied", Some(&"x".repeat(1 << 20)), 403);
        assert!(long.to_string().len() < 700);
        let key = sending().refused("KMS.AccessDeniedException", Some("may not decrypt"), 400);
        assert!(key.to_string().contains("kms:Decrypt") && key.to_string().ends_with("may not decrypt)"), "{key}");
    }
}
