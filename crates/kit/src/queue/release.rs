use std::{sync::Arc, time::Duration};

use strait_core::{Error, Measure, Result, planted};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Queue,
    held::Named,
    shared::{Call, Shared, complete, is_gone, raised, ticks},
};
use crate::guard::guard_all;

/// How many leases one call releases at most: a close need not wait long for the call that it finds under way, and when
/// it runs out of time most of what was released is known.
pub(super) const BATCH: usize = 100;

/// How long a close waits before it tries again what could not be released. That often in all: else its time runs out.
const AGAIN: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1)];

/// Releases what was dropped, oldest first, until the consumer is closed: the close goes on with what is left.
pub(super) async fn release_dropped<Q: Queue>(shared: Arc<Shared<Q>>, mut closed: watch::Receiver<bool>) {
    let mut ticks = ticks(shared.settings.sweep);
    loop {
        tokio::select! {
            biased;
            () = raised(&mut closed), if !planted!("keeper-outlives-close") => return,
            _ = ticks.tick() => {}
        }
        let _turn = shared.releasing.lock().await;
        let now = Instant::now().into_std();
        let found = shared.held().sweep(now);
        let age = found.oldest.map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest));
        shared.settings.observer.observe(Measure::OldestUnsettled(age));
        if planted!("forgotten-while-released") {
            for (named, _) in &found.release {
                shared.held().released(*named);
            }
        }
        for batch in found.release.chunks(BATCH) {
            if *closed.borrow() {
                return;
            }
            release(&shared, batch).await;
        }
    }
}

/// Releases everything, oldest first, once the calls under way have ended. What fails for a moment is tried again before
/// what is behind it. Returns how many leases were released, or were gone.
///
/// Cancel-safe: another call goes on where this one was.
///
/// # Errors
///
/// How many leases could not be released, and why not the first of them.
pub(super) async fn release_all<Q: Queue>(shared: &Shared<Q>) -> Result<usize> {
    let _turn = shared.releasing.lock().await;
    let (mut pauses, mut last, mut failures, mut released) = (AGAIN.into_iter(), 0, Vec::new(), 0);
    loop {
        let batch = shared.held().left_behind(last, BATCH, Instant::now().into_std());
        let Some((named, _)) = batch.last() else { break };
        let newest = named.entry();
        let failed = release(shared, &batch).await;
        released += batch.len() - failed.len();
        if failed.iter().any(Error::is_transient)
            && let Some(pause) = pauses.next()
        {
            sleep(pause).await;
            continue; // what was released is not among them any more
        }
        failures.extend(failed);
        last = newest;
    }
    let Some(first) = failures.first() else { return Ok(released) };
    let (guarantees, count) = (shared.queue.guarantees(), failures.len());
    let text = format!(
        "{}: {count} messages of {:?} could not be released, and come again when their leases end: {first}",
        guarantees.provider, guarantees.source
    );
    Err(Error::new(first.kind(), text))
}

/// Releases a batch. What is not ours any more is known no more; brings the errors of what failed.
async fn release<Q: Queue>(shared: &Shared<Q>, batch: &[(Named, Q::Handle)]) -> Vec<Error> {
    let handles: Vec<_> = batch.iter().map(|(_, handle)| handle.clone()).collect();
    let outcomes = guard_all(handles.len(), || shared.queue.release(&handles)).await;
    let (now, (first, longest)) = (Instant::now().into_std(), shared.pauses());
    let (mut failed, mut worked) = (Vec::new(), false);
    let mut held = shared.held();
    for ((named, _), outcome) in batch.iter().zip(complete(outcomes)) {
        match outcome {
            Err(error) if !is_gone(&error) => {
                held.not_released(*named, now, first, longest);
                failed.push(error);
            }
            outcome => {
                worked |= outcome.is_ok();
                held.released(*named);
            }
        }
    }
    drop(held);
    shared.heard(Call::Release, worked, &failed);
    failed
}
