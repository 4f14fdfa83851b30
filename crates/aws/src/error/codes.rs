//! What the codes mean that the services of AWS, and KMS, have in common.

use aws_sdk_sts::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use strait_core::ErrorKind;

/// What the codes of a service mean, beside those that all services have: a kind, and a reason. The code comes without its
/// namespace and without `Exception` at its end.
pub type Codes = fn(&str) -> Option<(ErrorKind, &'static str)>;

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The credentials are good, and no policy allows this.
    NotPermitted,
    /// The same, of the key by which the service encrypts.
    KeyNotPermitted,
    /// The service failed, and may have done what it was asked for.
    Failed,
    /// One of the kinds, and why.
    Plain(ErrorKind, &'static str),
}

/// Whether the service knows who asks, and refuses by its policies.
pub fn is_access_denied<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    let SdkError::ServiceError(error) = error else { return false };
    let code = error.err().code().unwrap_or_default();
    meaning(code, error.raw().status().as_u16(), |_| None) == Meaning::NotPermitted
}

/// Says what a code means; `own` comes before what it means elsewhere.
///
/// A code has a namespace before a dot or `#`: `AWS.SimpleQueueService.NonExistentQueue`, `KMS.NotFoundException`,
/// `com.amazonaws.sqs#QueueDoesNotExist`. What a word means in one says nothing of what it means in another.
pub(super) fn meaning(code: &str, status: u16, own: Codes) -> Meaning {
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    let code = code.strip_suffix("Exception").unwrap_or(code);
    let of_key = ["KMS.", "KMS", "Kms"].iter().find_map(|namespace| code.strip_prefix(namespace));
    let known = match of_key {
        Some(code) => meaning_of_key(code),
        None => own(code).map(|(kind, reason)| Meaning::Plain(kind, reason)).or_else(|| meaning_of_any(code)),
    };
    known.unwrap_or(match status {
        429 => Meaning::Plain(ErrorKind::Throttled, "throttled"),
        401 | 403 => Meaning::Plain(ErrorKind::Denied, "not allowed"),
        500.. => Meaning::Failed,
        _ => Meaning::Plain(ErrorKind::Other, "refused"),
    })
}

fn meaning_of_any(code: &str) -> Option<Meaning> {
    let (kind, reason) = match code {
        "AccessDenied" | "AuthorizationError" | "NotAuthorized" => return Some(Meaning::NotPermitted),
        "NotFound" | "ResourceNotFound" => (ErrorKind::NotFound, "does not exist"),
        "UnsupportedOperation" => (ErrorKind::Unsupported, "not supported"),
        "InvalidParameterValue"
        | "InvalidParameter"
        | "InvalidParameterCombination"
        | "ParameterValueInvalid"
        | "InvalidArgument"
        | "InvalidAttributeValue"
        | "InvalidAttributeName"
        | "MissingParameter"
        | "Validation"
        | "ValidationError" => (ErrorKind::Invalid, "refused"),
        "InvalidClientTokenId" | "UnrecognizedClient" | "InvalidAccessKeyId" | "AuthFailure" => {
            (ErrorKind::Denied, "the access key or the session token is not known")
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" => {
            (ErrorKind::Denied, "the signature does not match: the secret access key is wrong")
        }
        "ExpiredToken" | "TokenRefreshRequired" => (ErrorKind::Denied, "the credentials have expired"),
        "MissingAuthenticationToken" => (ErrorKind::Denied, "there are no credentials in the request"),
        "OptInRequired" => (ErrorKind::Denied, "the account has not signed up for the service"),
        "RequestThrottled"
        | "ProvisionedThroughputExceeded"
        | "LimitExceeded"
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
        "ResourceInUse" => (ErrorKind::Unavailable, "is being made, changed or deleted"),
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
        for code in ["ResourceNotFound", "NotFoundException", "com.amazonaws.kinesis#ResourceNotFoundException"] {
            assert_eq!(kind(code, 400), (ErrorKind::NotFound, false), "{code}");
        }
        for throttled in ["ThrottlingException", "ProvisionedThroughputExceededException", "LimitExceededException"] {
            assert_eq!(kind(throttled, 400), (ErrorKind::Throttled, false), "{throttled}");
        }
        assert_eq!(kind("AccessDenied", 403), (ErrorKind::Denied, false));
        assert_eq!(kind("InvalidParameterValueException", 500), (ErrorKind::Invalid, false));
        assert_eq!(kind("InvalidArgumentException", 400), (ErrorKind::Invalid, false));
        assert_eq!(kind("ResourceInUseException", 400), (ErrorKind::Unavailable, false));
        assert_eq!(kind("no code", 429), (ErrorKind::Throttled, false));
        assert_eq!(kind("no code", 403), (ErrorKind::Denied, false));
        assert_eq!(kind("Teapot", 418), (ErrorKind::Other, false));
    }

    #[test]
    fn what_a_service_says_of_its_codes_comes_first() {
        let call = sending().with_codes(|code| (code == "ResourceInUse").then_some((ErrorKind::Invalid, "taken")));
        let error = call.refused("ResourceInUseException", None, 400);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().ends_with(": taken (ResourceInUseException)"), "{error}");
        assert_eq!(call.refused("ThrottlingException", None, 400).kind(), ErrorKind::Throttled);
        assert_eq!(call.refused("KMS.ResourceInUse", None, 400).kind(), ErrorKind::Other, "that is the key");
    }

    #[test]
    fn what_is_wrong_with_a_key_is_not_wrong_with_what_it_encrypts() {
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
        let read = sending().read_only().refused("InternalFailure", None, 500);
        assert!(read.kind() == ErrorKind::Unavailable && !read.is_ambiguous(), "{read:?}");
    }
}
