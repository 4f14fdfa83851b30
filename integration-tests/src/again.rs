//! Asking again, as those do who use a service: on a busy machine an emulator may take longer to answer than any call may
//! take.

use strait_core::Result;

/// How often something is asked in all.
const ATTEMPTS: usize = 30;

/// Asks until there is an answer, or a failure that is to stay.
///
/// # Errors
///
/// The failure that is to stay, or the last of very many.
pub async fn again<T, F: Future<Output = Result<T>>>(ask: impl Fn() -> F) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match ask().await {
            Err(error) if error.is_transient() => {}
            outcome => return outcome,
        }
    }
    ask().await
}
