use std::time::Duration;

use strait_core::{Error, ErrorKind, Result, Token};
use tokio::time::Instant;

use super::{
    Pause, Queue,
    held::{Named, NotNow},
    shared::{Call, Shared, complete, is_gone},
};
use crate::guard::guard_all;

/// Hands leases back to the queue, each for its pause. One outcome per token.
pub(super) async fn postpone<Q: Queue>(shared: &Shared<Q>, pauses: &[(Token, Duration)]) -> Vec<Result<()>> {
    let Some(longest) = shared.queue.guarantees().postpones else {
        return pauses.iter().map(|_| Err(too_long())).collect();
    };
    let (mut asked, mut named) = (Vec::with_capacity(pauses.len()), Vec::with_capacity(pauses.len()));
    let now = Instant::now().into_std();
    {
        let mut held = shared.held();
        for (token, time) in pauses {
            let found = if *time > longest { Err(too_long()) } else { held.postponing(*token, now).map_err(not_now) };
            named.push(found.map(|(named, handle, held)| {
                asked.push(Pause { handle, time: *time, held });
                named
            }));
        }
    }
    let outcomes = match asked.len() {
        0 => Vec::new(),
        count => guard_all(count, || shared.queue.postpone(&asked)).await,
    };
    let mut outcomes = complete(outcomes);
    let (mut done, mut gone, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    let mut held = shared.held();
    let outcome = |named: Result<Named>| {
        let named = named?;
        match outcomes.next().expect("it never ends") {
            // The pause is that of the lease before, or of this one: some providers do not say.
            _ if held.is_replaced(named) => {
                Err(Error::new(ErrorKind::Unavailable, "the message was leased again meanwhile").into_ambiguous())
            }
            Ok(()) => {
                done.push(named);
                Ok(())
            }
            Err(error) if is_gone(&error) => {
                gone.push(named);
                Err(not_now(NotNow::Lost))
            }
            Err(error) => {
                held.not_postponed(named);
                if error.kind() != ErrorKind::Unsupported {
                    failed.push(error.clone());
                }
                Err(error)
            }
        }
    };
    let outcomes = named.into_iter().map(outcome).collect();
    held.lose(gone);
    held.postponed(&done);
    drop(held);
    shared.heard(Call::Postpone, !done.is_empty(), &failed);
    outcomes
}

fn too_long() -> Error {
    Error::new(ErrorKind::Unsupported, "the queue cannot keep a message back so long")
}

fn not_now(why: NotNow) -> Error {
    match why {
        NotNow::Lost => Error::new(ErrorKind::Lost, "the lease is lost, and the message comes again"),
        NotNow::Changing => Error::new(ErrorKind::Unavailable, "the lease is being extended or postponed"),
    }
}
