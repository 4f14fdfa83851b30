//! What a status says beside its code: why, which acknowledgements failed, and when to try again.
//!
//! Three messages of `google.rpc`, of which no more is read than is needed.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use tonic::Status;

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

fn details<D: Message + Default>(status: &Status, name: &str) -> Vec<D> {
    let all = RpcStatus::decode(status.details()).unwrap_or_default().details;
    let of_name = all.iter().filter(|any| any.type_url.rsplit('/').next() == Some(name));
    of_name.filter_map(|any| D::decode(&*any.value).ok()).collect()
}

/// What became of each acknowledgement on an exactly-once subscription, by its id: of others than those that are named,
/// the request had its effect. Empty if the status speaks of all of it.
pub(crate) fn failures(status: &Status) -> HashMap<String, String> {
    let all = details::<ErrorInfo>(status, "google.rpc.ErrorInfo").into_iter().flat_map(|info| info.metadata);
    all.filter(|(_, what)| is_permanent(what) || what.starts_with("TRANSIENT_FAILURE_")).collect()
}

/// Google's name for why a call failed, and what it says beside it.
pub(crate) fn reason(status: &Status) -> Option<(String, HashMap<String, String>)> {
    let info = details::<ErrorInfo>(status, "google.rpc.ErrorInfo").into_iter().find(|info| !info.reason.is_empty())?;
    Some((info.reason, info.metadata))
}

/// Whether one that failed so will fail for ever.
pub(crate) fn is_permanent(what: &str) -> bool {
    what.starts_with("PERMANENT_FAILURE_")
}

/// How long the service asks to wait.
pub(crate) fn retry_after(status: &Status) -> Option<Duration> {
    let delay = details::<RetryInfo>(status, "google.rpc.RetryInfo").into_iter().find_map(|info| info.retry_delay)?;
    Duration::try_from(delay).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use tonic::Code;

    use super::*;

    /// A status as the service makes it for acknowledgements that failed.
    pub(crate) fn of_acks(code: Code, failed: &[(&str, &str)]) -> Status {
        let metadata = failed.iter().map(|(id, what)| ((*id).to_owned(), (*what).to_owned())).collect();
        with(code, "google.rpc.ErrorInfo", &ErrorInfo { reason: String::new(), metadata })
    }

    /// A status as the service makes it for a call that it does not allow.
    pub(crate) fn why(code: Code, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata = metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        with(code, "google.rpc.ErrorInfo", &ErrorInfo { reason: reason.to_owned(), metadata })
    }

    fn with(code: Code, name: &str, detail: &impl Message) -> Status {
        let any = prost_types::Any { type_url: format!("type.googleapis.com/{name}"), value: detail.encode_to_vec() };
        Status::with_details(code, "", RpcStatus { details: vec![any] }.encode_to_vec().into())
    }

    #[test]
    fn what_was_said_is_read_and_nonsense_is_nothing() {
        let known = [("a", "PERMANENT_FAILURE_INVALID_ACK_ID"), ("b", "TRANSIENT_FAILURE_UNORDERED_ACK_ID")];
        let status = of_acks(Code::InvalidArgument, &[known[0], known[1], ("service", "pubsub.googleapis.com")]);
        let failed = failures(&status);
        assert_eq!((failed.len(), is_permanent(&failed["a"]), is_permanent(&failed["b"])), (2, true, false));
        assert_eq!(retry_after(&status), None);
        let delay = prost_types::Duration { seconds: 2, nanos: 0 };
        let status = with(Code::ResourceExhausted, "google.rpc.RetryInfo", &RetryInfo { retry_delay: Some(delay) });
        assert_eq!((retry_after(&status), failures(&status).len()), (Some(Duration::from_secs(2)), 0));
        let status = Status::with_details(Code::Internal, "", bytes::Bytes::from_static(b"\x1a\xff nonsense"));
        assert!(failures(&status).is_empty() && retry_after(&status).is_none());
    }
}
