use std::{future::Future, time::Duration};

use strait_core::{Error, ErrorKind, Result};

/// What a call that ran out of time may have done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Late {
    /// Nothing.
    Nothing,
    /// What was asked, now or later.
    Perhaps,
}

/// Ends a call at its deadline.
pub(crate) async fn within<T>(
    time: Duration,
    late: Late,
    place: &str,
    call: impl Future<Output = Result<T>>,
) -> Result<T> {
    match tokio::time::timeout(time, call).await {
        Ok(outcome) => outcome,
        Err(_) => Err(out_of_time(time, late, place)),
    }
}

/// The error of a call that ran out of time.
pub(crate) fn out_of_time(time: Duration, late: Late, place: &str) -> Error {
    let error = Error::new(ErrorKind::Unavailable, format!("leases: {place}: no answer within {time:?}"));
    match late {
        Late::Nothing => error,
        Late::Perhaps => error.into_ambiguous(),
    }
}
