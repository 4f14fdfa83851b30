//! Statuses of calls, by what the caller can do about them.
//!
//! The words of the service are left out where they may repeat what an acknowledgement is made by.

use std::error::Error as StdError;

use google_cloud_auth::errors::CredentialsError;
use google_cloud_gax::error::Error as AdminError;
use strait_core::{Error, ErrorKind};
use tonic::{Code, ConnectError, Status};

use crate::{operation::Operation, refusal::Refusal, unreachable::unreachable};

pub(crate) const NO_CREDENTIALS_NOW: &str = "the credentials cannot be had now";

/// An error for a call that had this status.
pub(crate) fn of(operation: Operation<'_>, status: &Status) -> Error {
    match never_left(status) {
        Some(cause) => unreachable(operation, cause),
        None => refused(operation, &Refusal::from(status)),
    }
}

/// An error for a call of which the service, or what is before it, said this.
pub(crate) fn refused(operation: Operation<'_>, refusal: &Refusal) -> Error {
    let code = refusal.code;
    let (kind, reason) = match code {
        Code::NotFound => (ErrorKind::NotFound, "does not exist"),
        Code::PermissionDenied | Code::Unauthenticated => return denied(operation, refusal),
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
    let error = Error::new(kind, format!("{operation}: {reason} ({})", named(refusal)));
    let error = if kind == ErrorKind::Unavailable { error.into_ambiguous() } else { error };
    match refusal.retry_after {
        Some(pause) if error.is_transient() => error.with_retry_after(pause),
        _ => error,
    }
}

/// Says which permission is missing, or that it is the credentials, and what the service says of it.
fn denied(operation: Operation<'_>, refusal: &Refusal) -> Error {
    let why = if refusal.lacks_permission() {
        let permission = refusal.permission.as_deref().unwrap_or(operation.permission);
        format!("not allowed without {permission}")
    } else if refusal.code == Code::Unauthenticated {
        "the credentials are not accepted".to_owned()
    } else {
        "not allowed".to_owned()
    };
    Error::new(ErrorKind::Denied, format!("{operation}: {why} ({})", named(refusal)))
}

/// The code of a refusal, Google's name for the reason, and what it says.
fn named(refusal: &Refusal) -> String {
    let reason = refusal.reason.as_ref().map(|reason| format!(", {reason}")).unwrap_or_default();
    match &*refusal.words() {
        "" => format!("{:?}{reason}", refusal.code),
        words => format!("{:?}{reason}: {words}", refusal.code),
    }
}

/// Credentials that cannot be had for a call by Google's client.
pub(crate) fn no_credentials(operation: Operation<'_>, error: &AdminError) -> Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<CredentialsError>());
    if cause.is_some_and(CredentialsError::is_transient) {
        return unavailable(format!("{operation}: {NO_CREDENTIALS_NOW}"));
    }
    Error::new(ErrorKind::Denied, format!("{operation}: the credentials are refused"))
}

/// Why there was no connection to send it on, if there was none.
fn never_left(status: &Status) -> Option<&(dyn StdError + 'static)> {
    std::iter::successors(status.source(), |error| (*error).source()).find(|error| error.is::<ConnectError>())
}

pub(crate) fn unavailable(text: String) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{details::tests::why, operation::permission::CONSUME};

    fn operation() -> Operation<'static> {
        Operation { asks: "receive from", name: "orders", host: "pubsub.example:443", permission: CONSUME }
    }

    #[test]
    fn only_what_may_have_been_done_is_ambiguous() {
        let of = |code| {
            let error = of(operation(), &Status::new(code, "hunter2"));
            let silent = error.kind() == ErrorKind::Denied || !format!("{error} {error:?}").contains("hunter2");
            assert!(silent, "the words of the service stay out");
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

    #[test]
    fn what_is_not_allowed_names_the_permission_and_what_the_service_says() {
        let text = |status: &Status| of(operation(), status).to_string();
        let what = "pubsub: cannot receive from \"orders\"";
        assert_eq!(
            text(&Status::permission_denied("User not authorized to perform this action.")),
            format!(
                "{what}: not allowed without pubsub.subscriptions.consume (PermissionDenied: User not authorized to \
                 perform this action)"
            )
        );
        let named = [("permission", "pubsub.topics.attachSubscription")];
        assert_eq!(
            text(&why(Code::PermissionDenied, "IAM_PERMISSION_DENIED", &named)),
            format!("{what}: not allowed without {} (PermissionDenied, IAM_PERMISSION_DENIED)", named[0].1)
        );
        assert_eq!(
            text(&why(Code::PermissionDenied, "SERVICE_DISABLED", &[])),
            format!("{what}: not allowed (PermissionDenied, SERVICE_DISABLED)")
        );
        assert_eq!(
            text(&why(Code::Unauthenticated, "ACCESS_TOKEN_EXPIRED", &[])),
            format!("{what}: the credentials are not accepted (Unauthenticated, ACCESS_TOKEN_EXPIRED)")
        );
    }
}
