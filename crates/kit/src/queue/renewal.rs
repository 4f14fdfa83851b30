use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use strait_core::{Result, planted};
use tokio::{sync::watch, time::Instant};

use super::{
    Queue,
    held::Named,
    shared::{Call, Shared, complete, is_gone, raised, ticks},
};
use crate::guard::guard_all;

/// How many calls that extend are under way at most.
const EXTENSIONS: usize = 4;

/// What was to be extended, when that was asked for, and what became of it.
type Extension = (Vec<Named>, StdInstant, Vec<Result<()>>);

/// Extends what is held until the consumer is closed, without waiting for one call before the next.
pub(super) async fn keep_renewed<Q: Queue>(shared: Arc<Shared<Q>>, mut closed: watch::Receiver<bool>) {
    let lease = shared.terms.lease;
    let mut ticks = ticks(shared.settings.sweep.min(lease / 6).max(Duration::from_millis(1)));
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            () = raised(&mut closed), if !planted!("keeper-outlives-close") => return,
            Some(extension) = calls.next() => extended(&shared, extension),
            due = ticks.tick(), if calls.len() < EXTENSIONS => {
                let late = due.elapsed();
                if late >= lease / 3 {
                    tracing::warn!(?late, ?lease, "leases are extended late: handlers block the threads of the runtime");
                }
                let sent = Instant::now().into_std();
                // Due again while the answer is awaited: a call that hangs is not to cost the leases.
                let due = shared.held().due(sent, shared.terms.longest, sent + lease / 3);
                if !due.is_empty() && !planted!("no-heartbeat") {
                    let (leases, handles): (Vec<_>, Vec<_>) = due.into_iter().unzip();
                    let queue = &shared.queue;
                    calls.push(async move {
                        let outcomes = guard_all(handles.len(), || queue.extend(&handles)).await;
                        (leases, sent, outcomes)
                    });
                }
            }
        }
    }
}

fn extended<Q: Queue>(shared: &Shared<Q>, (leases, sent, outcomes): Extension) {
    let (lease, now, (first, longest)) = (shared.terms.lease, Instant::now().into_std(), shared.pauses());
    let (mut lost, mut late, mut failed, mut worked) = (Vec::new(), Vec::new(), Vec::new(), false);
    let mut held = shared.held();
    for (named, outcome) in leases.into_iter().zip(complete(outcomes)) {
        worked |= outcome.is_ok();
        match outcome {
            Ok(()) if held.extended(named, sent + lease, now, sent + lease / 3) => {}
            Ok(()) => late.push(named),
            Err(error) if !is_gone(&error) => {
                held.not_extended(named, now, first, longest);
                failed.push(error);
            }
            Err(_) => lost.push(named),
        }
    }
    held.lose(lost);
    held.lose_claims(late);
    drop(held);
    shared.heard(Call::Extend, worked, &failed);
}
