//! Errors of the SDK, by what the caller can do about them.
//!
//! The words of the service are left out: some repeat the receipt handle, and the SDK's own text the whole response.

use std::{error::Error as StdError, io, time::Duration};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use strait_core::{Error, ErrorKind};

/// What was asked for, as a sentence that `:` and a reason end: `sqs: cannot send to "orders"`.
pub(crate) fn of<E: ProvideErrorMetadata>(what: &str, error: &SdkError<E, HttpResponse>) -> Error {
    match error {
        SdkError::ConstructionFailure(_) => {
            Error::new(ErrorKind::Config, format!("{what}: the request cannot be made"))
        }
        SdkError::TimeoutError(_) => unavailable(format!("{what}: no answer in time")).into_ambiguous(),
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().and_then(StdError::source);
            of_dispatch(what, chain(cause), failure.is_timeout())
        }
        SdkError::ResponseError(_) => unavailable(format!("{what}: the answer cannot be read")).into_ambiguous(),
        SdkError::ServiceError(error) => {
            let (status, headers) = (error.raw().status().as_u16(), error.raw().headers());
            let code = error.err().code().unwrap_or("no code");
            let wait = headers.get("retry-after").and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
            let error = of_code(what, code, status);
            match wait {
                Some(wait) if error.is_transient() => error.with_retry_after(wait),
                _ => error,
            }
        }
        _ => unavailable(format!("{what}: failed")).into_ambiguous(),
    }
}

/// Says what a code means; a status of 0 is an entry of a batch.
pub(crate) fn of_code(what: &str, code: &str, status: u16) -> Error {
    // `com.amazonaws.sqs#QueueDoesNotExist`, `AWS.SimpleQueueService.NonExistentQueue`, `InvalidParameterValueException`
    let short = code.rsplit(['#', '.']).next().unwrap_or(code);
    let kind = match short.strip_suffix("Exception").unwrap_or(short) {
        "QueueDoesNotExist" | "NonExistentQueue" | "NotFound" | "ResourceNotFound" => ErrorKind::NotFound,
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => ErrorKind::Lost,
        "UnsupportedOperation" => ErrorKind::Unsupported,
        "InvalidMessageContents"
        | "BatchRequestTooLong"
        | "MessageTooLong"
        | "InvalidParameterValue"
        | "InvalidParameter"
        | "InvalidParameterCombination"
        | "ParameterValueInvalid"
        | "InvalidAttributeValue"
        | "InvalidAttributeName"
        | "MissingParameter"
        | "Validation"
        | "ValidationError"
        | "InvalidSecurity"
        | "InvalidBatchEntryId"
        | "TooManyEntriesInBatchRequest"
        | "BatchEntryIdsNotDistinct"
        | "EmptyBatchRequest" => ErrorKind::Invalid,
        "AccessDenied"
        | "AuthFailure"
        | "AuthorizationError"
        | "InvalidClientTokenId"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "OptInRequired"
        | "MissingAuthenticationToken"
        | "InvalidAccessKeyId"
        | "ExpiredToken"
        | "KmsAccessDenied"
        | "KMSAccessDenied"
        | "NotAuthorized" => ErrorKind::Denied,
        "OverLimit"
        | "RequestThrottled"
        | "Throttling"
        | "Throttled"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "KmsThrottled"
        | "KMSThrottling"
        | "PriorRequestNotComplete" => ErrorKind::Throttled,
        "RequestExpired" | "RequestTimeTooSkewed" | "QueueDeletedRecently" | "InvalidSystemClock" => {
            ErrorKind::Unavailable
        }
        _ => match status {
            429 => ErrorKind::Throttled,
            401 | 403 => ErrorKind::Denied,
            0 | 500.. => return unavailable(format!("{what}: failed inside the service ({code})")).into_ambiguous(),
            _ => ErrorKind::Other,
        },
    };
    let reason = match kind {
        ErrorKind::NotFound => "does not exist",
        ErrorKind::Lost => "the receipt handle is not valid any more",
        ErrorKind::Denied => "not allowed",
        ErrorKind::Throttled => "throttled",
        ErrorKind::Unavailable => "not now",
        _ => "refused",
    };
    Error::new(kind, format!("{what}: {reason} ({code})"))
}

/// No answer came. What is known never to have left is not ambiguous.
fn of_dispatch<'a>(
    what: &str,
    mut causes: impl Iterator<Item = &'a (dyn StdError + 'static)> + Clone,
    timed_out: bool,
) -> Error {
    if let Some(error) = causes.clone().find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
        return match error {
            CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => {
                unavailable(format!("{what}: the credentials cannot be had now"))
            }
            _ => Error::new(ErrorKind::Denied, format!("{what}: there are no credentials")),
        };
    }
    let never_left = causes.any(|cause| {
        let connecting = cause.downcast_ref::<hyper_util::client::legacy::Error>();
        let refused = cause.downcast_ref::<io::Error>();
        connecting.is_some_and(hyper_util::client::legacy::Error::is_connect)
            || refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    });
    if never_left {
        return unavailable(format!("{what}: cannot connect"));
    }
    let reason = if timed_out { "no answer in time" } else { "the connection broke off" };
    unavailable(format!("{what}: {reason}")).into_ambiguous()
}

fn chain<'a>(
    first: Option<&'a (dyn StdError + 'static)>,
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> + Clone {
    std::iter::successors(first, |cause| (*cause).source())
}

pub(crate) fn unavailable(text: String) -> Error {
    Error::new(ErrorKind::Unavailable, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(code: &str, status: u16) -> (ErrorKind, bool) {
        let error = of_code("sqs: cannot send", code, status);
        (error.kind(), error.is_ambiguous())
    }

    #[test]
    fn codes_are_known_in_every_spelling() {
        for code in
            ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "com.amazonaws.sqs#QueueDoesNotExist"]
        {
            assert_eq!(kind(code, 400), (ErrorKind::NotFound, false), "{code}");
        }
        assert_eq!(kind("ThrottlingException", 400), (ErrorKind::Throttled, false));
        assert_eq!(kind("KMS.ThrottlingException", 400), (ErrorKind::Throttled, false));
        assert_eq!(kind("AWS.SimpleQueueService.OverLimit", 403), (ErrorKind::Throttled, false));
        assert_eq!(kind("AccessDenied", 403), (ErrorKind::Denied, false));
        assert_eq!(kind("InvalidMessageContents", 400), (ErrorKind::Invalid, false));
        assert_eq!(kind("ReceiptHandleIsInvalid", 0), (ErrorKind::Lost, false));
        assert_eq!(kind("InvalidParameterValueException", 0), (ErrorKind::Invalid, false));
        assert_eq!(kind("no code", 429), (ErrorKind::Throttled, false));
        assert_eq!(kind("no code", 403), (ErrorKind::Denied, false));
        assert_eq!(kind("Teapot", 418), (ErrorKind::Other, false));
    }

    #[test]
    fn only_what_may_have_been_done_is_ambiguous() {
        assert_eq!(kind("InternalFailure", 500), (ErrorKind::Unavailable, true));
        assert_eq!(kind("no code", 503), (ErrorKind::Unavailable, true));
        assert_eq!(kind("InternalError", 0), (ErrorKind::Unavailable, true));
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = of_dispatch("sqs: cannot send", chain(Some(&refused)), false);
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false));
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(of_dispatch("sqs: cannot send", chain(Some(&reset)), false).is_ambiguous());
    }

    #[test]
    fn the_words_of_the_service_stay_out() {
        let error = of_code("sqs: cannot settle on \"orders\"", "ReceiptHandleIsInvalid", 400);
        let text =
            "sqs: cannot settle on \"orders\": the receipt handle is not valid any more (ReceiptHandleIsInvalid)";
        assert_eq!(error.to_string(), text);
    }
}
