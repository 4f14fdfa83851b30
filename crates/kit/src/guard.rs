//! Calls to an adapter whose panics count as failures.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use strait_core::{Error, ErrorKind, Result};

/// Makes a call to an adapter. What it panics with is an error, so that it ends none of the engine's tasks. Cancel-safe if
/// the call is.
pub(crate) async fn guard<T, F>(call: impl FnOnce() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    // The call may panic before its first poll. The panic hook has told of it.
    AssertUnwindSafe(async { call().await }).catch_unwind().await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Other, "the adapter panicked")) // with what may hold a payload
    })
}

/// The same for a call that has an outcome for each of `count` messages.
pub(crate) async fn guard_all<F>(count: usize, call: impl FnOnce() -> F) -> Vec<Result<()>>
where
    F: Future<Output = Vec<Result<()>>>,
{
    let outcomes = guard(|| async { Ok(call().await) }).await;
    outcomes.unwrap_or_else(|error| vec![Err(error); count])
}
