//! What the codes of SQS, SNS, STS and KMS mean.

use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use strait_core::ErrorKind;

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The credentials are good, and no policy allows this.
    NotPermitted,
    /// The same, of the key that messages are encrypted by.
    KeyNotPermitted,
    /// The service failed, and may have done what it was asked for.
    Failed,
    /// One of the kinds, and why.
    Plain(ErrorKind, &'static str),
}

/// Whether the service knows who asks, and refuses by its policies.
pub(crate) fn is_access_denied<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(error) = error else { return false };
    let code = error.err().code().unwrap_or_default();
    meaning(code, error.raw().status().as_u16()) == Meaning::NotPermitted
}

/// Says what a code means.
///
/// A code has a namespace before a dot or `#`: `AWS.SimpleQueueService.NonExistentQueue`, `KMS.NotFoundException`,
/// `com.amazonaws.sqs#QueueDoesNotExist`. What a word means in one says nothing of what it means in another.
pub(super) fn meaning(code: &str, status: u16) -> Meaning {
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    let code = code.strip_suffix("Exception").unwrap_or(code);
    let of_key = ["KMS.", "KMS", "Kms"].iter().find_map(|namespace| code.strip_prefix(namespace));
    let known = match of_key {
        Some(code) => meaning_of_key(code),
        None => meaning_of_own(code),
    };
    known.unwrap_or(match status {
        429 => Meaning::Plain(ErrorKind::Throttled, "throttled"),
        401 | 403 => Meaning::Plain(ErrorKind::Denied, "not allowed"),
        500.. => Meaning::Failed,
        _ => Meaning::Plain(ErrorKind::Other, "refused"),
    })
}

fn meaning_of_own(code: &str) -> Option<Meaning> {
    let (kind, reason) = match code {
        "AccessDenied" | "AuthorizationError" | "NotAuthorized" => return Some(Meaning::NotPermitted),
        "QueueDoesNotExist" | "NonExistentQueue" | "NotFound" | "ResourceNotFound" => {
            (ErrorKind::NotFound, "does not exist")
        }
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => {
            (ErrorKind::Lost, "the receipt handle is not valid any more")
        }
        "UnsupportedOperation" => (ErrorKind::Unsupported, "not supported"),
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
        | "EmptyBatchRequest" => (ErrorKind::Invalid, "refused"),
        "InvalidClientTokenId" | "UnrecognizedClient" | "InvalidAccessKeyId" | "AuthFailure" => {
            (ErrorKind::Denied, "the access key or the session token is not known")
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" => {
            (ErrorKind::Denied, "the signature does not match: the secret access key is wrong")
        }
        "ExpiredToken" | "TokenRefreshRequired" => (ErrorKind::Denied, "the credentials have expired"),
        "MissingAuthenticationToken" => (ErrorKind::Denied, "there are no credentials in the request"),
        "OptInRequired" => (ErrorKind::Denied, "the account has not signed up for the service"),
        "OverLimit"
        | "RequestThrottled"
        | "Throttling"
        | "Throttled"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "SlowDown"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete" => (ErrorKind::Throttled, "throttled"),
        "RequestExpired" | "RequestTimeTooSkewed" | "InvalidSystemClock" => {
            (ErrorKind::Unavailable, "the clocks of this machine and of the service differ")
        }
        "QueueDeletedRecently" => (ErrorKind::Unavailable, "a queue of this name was deleted a moment ago"),
        _ => return None,
    };
    Some(Meaning::Plain(kind, reason))
}

/// Nothing that is wrong with a key says that there is no queue. Only who manages the key can mend most of it, and a state
/// may pass.
fn meaning_of_key(code: &str) -> Option<Meaning> {
    let (kind, reason) = match code {
        "AccessDenied" => return Some(Meaning::KeyNotPermitted),
        "NotFound" => (ErrorKind::Denied, "its KMS key does not exist"),
        "Disabled" => (ErrorKind::Denied, "its KMS key is disabled"),
        "InvalidKeyUsage" => (ErrorKind::Denied, "its KMS key is not for encryption"),
        "OptInRequired" => (ErrorKind::Denied, "the account of its KMS key has not signed up for KMS"),
        "InvalidState" | "Internal" | "DependencyTimeout" | "KeyUnavailable" => {
            (ErrorKind::Unavailable, "its KMS key cannot be used now")
        }
        "Throttling" | "Throttled" => (ErrorKind::Throttled, "KMS throttles the use of its key"),
        _ => return None,
    };
    Some(Meaning::Plain(kind, reason))
}

#[cfg(test)]
mod tests {
    use super::super::tests::sending;
    use super::*;

    fn kind(code: &str, status: u16) -> (ErrorKind, bool) {
        let error = sending().refused(code, None, status);
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
        assert_eq!(kind("AWS.SimpleQueueService.OverLimit", 403), (ErrorKind::Throttled, false));
        assert_eq!(kind("AccessDenied", 403), (ErrorKind::Denied, false));
        assert_eq!(kind("InvalidMessageContents", 400), (ErrorKind::Invalid, false));
        assert_eq!(kind("ReceiptHandleIsInvalid", 400), (ErrorKind::Lost, false));
        assert_eq!(kind("InvalidParameterValueException", 500), (ErrorKind::Invalid, false));
        assert_eq!(kind("no code", 429), (ErrorKind::Throttled, false));
        assert_eq!(kind("no code", 403), (ErrorKind::Denied, false));
        assert_eq!(kind("Teapot", 418), (ErrorKind::Other, false));
    }

    #[test]
    fn what_is_wrong_with_a_key_is_not_wrong_with_the_queue() {
        let told = [
            ("NotFound", ErrorKind::Denied),
            ("Disabled", ErrorKind::Denied),
            ("AccessDenied", ErrorKind::Denied),
            ("OptInRequired", ErrorKind::Denied),
            ("InvalidKeyUsage", ErrorKind::Denied),
            ("InvalidState", ErrorKind::Unavailable),
        ];
        for (code, kind_of_it) in told {
            // As a call's code, as an entry's, and as SNS spells it.
            for (spelling, status) in
                [(format!("KMS.{code}Exception"), 400), (format!("Kms{code}"), 500), (format!("KMS{code}"), 400)]
            {
                assert_eq!(kind(&spelling, status), (kind_of_it, false), "{spelling}");
            }
        }
        for throttled in ["KMS.ThrottlingException", "KmsThrottled", "KMSThrottling"] {
            assert_eq!(kind(throttled, 400), (ErrorKind::Throttled, false), "{throttled}");
        }
    }

    #[test]
    fn a_code_of_an_unknown_namespace_means_nothing_else() {
        assert_eq!(kind("DynamoDB.NotFoundException", 400), (ErrorKind::Other, false));
        assert_eq!(kind("DynamoDB.AccessDenied", 500), (ErrorKind::Unavailable, true));
    }

    #[test]
    fn only_what_may_have_been_done_is_ambiguous() {
        assert_eq!(kind("InternalFailure", 500), (ErrorKind::Unavailable, true));
        assert_eq!(kind("no code", 503), (ErrorKind::Unavailable, true));
        assert_eq!(kind("InternalError", 500), (ErrorKind::Unavailable, true));
    }
}
