//! What the codes of Kinesis mean, beside those that all services of AWS have.

use std::sync::Arc;

use strait_aws::Call;
use strait_core::{Error, ErrorKind};

/// A call of Kinesis, as [`Call::new`] has it.
pub(crate) fn call(what: impl Into<String>, action: &'static str, host: &Arc<str>) -> Call {
    Call::new(what, action, host).with_codes(codes)
}

/// An error of the configuration.
pub(crate) fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("kinesis: {text}"))
}

fn codes(code: &str) -> Option<(ErrorKind, &'static str)> {
    Some(match code {
        "ProvisionedThroughputExceeded" => (ErrorKind::Throttled, "the shard is throttled"),
        "ExpiredIterator" => (ErrorKind::Unavailable, "the iterator has expired"),
        "ExpiredNextToken" => (ErrorKind::Unavailable, "the list of shards took too long"),
        _ => return None,
    })
}
