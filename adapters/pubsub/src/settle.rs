//! What became of each acknowledgement of a request.

use strait_core::{Error, ErrorKind, Result};
use tonic::{Code, Status};

use crate::{details, error, operation::Operation};

/// Most of them in a request: it may have 512 KiB, and they have about 200 bytes each.
pub(crate) const IDS: usize = 1000;

/// One outcome per id. On a subscription with exactly-once delivery a request fails in part, and the status names which;
/// on another it has its effect as a whole.
pub(crate) fn outcomes<'a>(
    operation: Operation<'_>,
    ids: impl IntoIterator<Item = &'a str>,
    outcome: Result<Result<(), Status>>,
) -> Vec<Result<()>> {
    let ids = ids.into_iter();
    let status = match outcome {
        Ok(Ok(())) => return ids.map(|_| Ok(())).collect(),
        Err(error) => return ids.map(|_| Err(error.clone())).collect(),
        Ok(Err(status)) => status,
    };
    let failed = details::failures(&status);
    if failed.is_empty() {
        // An id that is none: they are the service's own, so that it does not know it any more.
        let error =
            if status.code() == Code::InvalidArgument { lost(operation) } else { error::of(operation, &status) };
        return ids.map(|_| Err(error.clone())).collect();
    }
    ids.map(|id| match failed.get(id) {
        None => Ok(()),
        Some(failure) if details::is_permanent(failure) => Err(lost(operation)),
        Some(_) => Err(error::unavailable(format!("{operation}: not now"))),
    })
    .collect()
}

fn lost(operation: Operation<'_>) -> Error {
    Error::new(ErrorKind::Lost, format!("{operation}: the lease is over"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::details::tests::of_acks;

    fn kinds(outcome: Result<Result<(), Status>>) -> Vec<Option<ErrorKind>> {
        let operation = Operation { asks: "settle on", name: "s", host: "pubsub.example:443", permission: "" };
        let outcomes = outcomes(operation, ["a", "b", "c"], outcome);
        outcomes.into_iter().map(|outcome| outcome.err().map(|error| error.kind())).collect()
    }

    #[test]
    fn each_is_told_the_truth() {
        assert_eq!(kinds(Ok(Ok(()))), [None; 3]);
        let some = [("b", "PERMANENT_FAILURE_INVALID_ACK_ID"), ("c", "TRANSIENT_FAILURE_OTHER")];
        let partly = kinds(Ok(Err(of_acks(Code::InvalidArgument, &some))));
        assert_eq!(partly, [None, Some(ErrorKind::Lost), Some(ErrorKind::Unavailable)]);
        let unnamed = kinds(Ok(Err(Status::new(Code::InvalidArgument, "Invalid ack id"))));
        assert_eq!(unnamed, [Some(ErrorKind::Lost); 3]);
        assert_eq!(kinds(Ok(Err(Status::new(Code::Unavailable, "")))), [Some(ErrorKind::Unavailable); 3]);
        assert_eq!(kinds(Ok(Err(Status::new(Code::FailedPrecondition, "")))), [Some(ErrorKind::Other); 3]);
        assert_eq!(kinds(Err(error::unavailable(String::new()))), [Some(ErrorKind::Unavailable); 3]);
    }
}
