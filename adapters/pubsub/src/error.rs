//! Statuses of gRPC, by what the caller can do about them.
//!
//! The words of the service are left out: some repeat what an acknowledgement is made by.

use std::error::Error as StdError;

use strait_core::{Error, ErrorKind};
use tonic::{Code, ConnectError, Status};

use crate::details;

/// What was asked for, as a sentence that `:` and a reason end: `pubsub: cannot publish to "orders"`.
pub(crate) fn of(what: &str, status: &Status) -> Error {
    if never_left(status) {
        return unavailable(format!("{what}: cannot connect"));
    }
    let code = status.code();
    let (kind, reason) = match code {
        Code::NotFound => (ErrorKind::NotFound, "does not exist"),
        Code::PermissionDenied | Code::Unauthenticated => (ErrorKind::Denied, "not allowed"),
        Code::ResourceExhausted => (ErrorKind::Throttled, "throttled"),
        Code::InvalidArgument => (ErrorKind::Invalid, "refused"),
        Code::Unimplemented => (ErrorKind::Unsupported, "refused"),
        Code::FailedPrecondition | Code::AlreadyExists | Code::DataLoss => (ErrorKind::Other, "refused"),
        Code::OutOfRange => (ErrorKind::Other, "the answer is too large"),
        Code::DeadlineExceeded | Code::Cancelled => (ErrorKind::Unavailable, "no answer in time"),
        Code::Ok | Code::Unknown | Code::Aborted | Code::Internal | Code::Unavailable => {
            (ErrorKind::Unavailable, "failed, or the connection broke off")
        }
    };
    let error = Error::new(kind, format!("{what}: {reason} ({code:?})"));
    let error = if kind == ErrorKind::Unavailable { error.into_ambiguous() } else { error };
    match details::retry_after(status) {
        Some(pause) if error.is_transient() => error.with_retry_after(pause),
        _ => error,
    }
}

/// Whether there was no connection to send it on.
fn never_left(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

pub(crate) fn unavailable(text: String) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_have_been_done_is_ambiguous() {
        let of = |code| {
            let error = of("pubsub: cannot publish", &Status::new(code, "hunter2"));
            assert!(!format!("{error} {error:?}").contains("hunter2"), "the words of the service stay out");
            (error.kind(), error.is_ambiguous())
        };
        for code in
            [Code::DeadlineExceeded, Code::Cancelled, Code::Unknown, Code::Aborted, Code::Internal, Code::Unavailable]
        {
            assert_eq!(of(code), (ErrorKind::Unavailable, true), "{code:?}");
        }
        assert_eq!(of(Code::NotFound), (ErrorKind::NotFound, false));
        assert_eq!(of(Code::PermissionDenied), (ErrorKind::Denied, false));
        assert_eq!(of(Code::Unauthenticated), (ErrorKind::Denied, false));
        assert_eq!(of(Code::ResourceExhausted), (ErrorKind::Throttled, false));
        assert_eq!(of(Code::InvalidArgument), (ErrorKind::Invalid, false));
        assert_eq!(of(Code::FailedPrecondition), (ErrorKind::Other, false));
    }
}
