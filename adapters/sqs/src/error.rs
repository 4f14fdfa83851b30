//! What the codes of SQS and SNS mean, beside those that all services of AWS have.

use std::sync::Arc;

use strait_aws::Call;
use strait_core::{Error, ErrorKind};

/// A call of SQS or SNS, as [`Call::new`] has it.
pub(crate) fn call(what: impl Into<String>, action: &'static str, host: &Arc<str>) -> Call {
    Call::new(what, action, host).with_codes(codes)
}

/// An error of the configuration.
pub(crate) fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("sqs: {text}"))
}

fn codes(code: &str) -> Option<(ErrorKind, &'static str)> {
    Some(match code {
        "QueueDoesNotExist" | "NonExistentQueue" => (ErrorKind::NotFound, "does not exist"),
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => {
            (ErrorKind::Lost, "the receipt handle is not valid any more")
        }
        "InvalidMessageContents"
        | "BatchRequestTooLong"
        | "MessageTooLong"
        | "InvalidSecurity"
        | "InvalidBatchEntryId"
        | "TooManyEntriesInBatchRequest"
        | "BatchEntryIdsNotDistinct"
        | "EmptyBatchRequest" => (ErrorKind::Invalid, "refused"),
        "OverLimit" => (ErrorKind::Throttled, "throttled"),
        "QueueDeletedRecently" => (ErrorKind::Unavailable, "a queue of this name was deleted a moment ago"),
        _ => return None,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A call to send to `orders`.
    pub(crate) fn sending() -> Call {
        call("sqs: cannot send to \"orders\"", "sqs:SendMessage", &"sqs.example".into())
    }

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
        assert_eq!(kind("AWS.SimpleQueueService.OverLimit", 403), (ErrorKind::Throttled, false));
        assert_eq!(kind("AWS.SimpleQueueService.RequestThrottled", 403), (ErrorKind::Throttled, false));
        assert_eq!(kind("InvalidMessageContents", 400), (ErrorKind::Invalid, false));
        assert_eq!(kind("ReceiptHandleIsInvalid", 400), (ErrorKind::Lost, false));
    }

    #[test]
    fn the_words_of_the_service_stay_out() {
        let error = sending().refused("ReceiptHandleIsInvalid", Some("The handle hunter2 is not valid."), 400);
        let reason = "the receipt handle is not valid any more (ReceiptHandleIsInvalid)";
        assert_eq!(error.to_string(), format!("sqs: cannot send to \"orders\": {reason}"));
    }
}
