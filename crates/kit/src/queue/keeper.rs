use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use strait_core::{Error, ErrorKind, Measure, Result, planted};
use tokio::{
    sync::watch,
    time::{self, Instant, MissedTickBehavior},
};

use super::{
    Keeping, Queue,
    consumer::{Shared, is_gone, raised},
    held::Named,
};

/// The task behind a [`QueueConsumer`](super::QueueConsumer): extends what is held, and releases what was dropped, each
/// without waiting for the other.
pub(super) async fn keep<Q: Queue>(shared: Arc<Shared<Q>>, mut closed: watch::Receiver<bool>) {
    let both = async { tokio::join!(release(&shared), extend(&shared)) };
    tokio::select! {
        biased;
        () = raised(&mut closed), if !planted!("keeper-outlives-close") => {}
        _ = both => {}
    }
}

async fn release<Q: Queue>(shared: &Shared<Q>) {
    let observer = &shared.settings.observer;
    let mut beat = beat(shared.settings.sweep);
    loop {
        beat.tick().await;
        let now = Instant::now().into_std();
        let findings = shared.held().sweep(now);
        if findings.lost > 0 {
            observer.observe(Measure::ClaimsLost(findings.lost));
        }
        observer.observe(Measure::OldestUnsettled(
            findings.oldest.map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest)),
        ));
        if !findings.release.is_empty() {
            for outcome in shared.queue.release(&findings.release).await {
                report(shared, "release", &outcome); // else the lease runs out by itself
            }
        }
    }
}

/// How many calls that extend are under way at most.
const EXTENSIONS: usize = 4;

/// What was to be extended, when that was asked for, and what became of it.
type Extension = (Vec<Named>, std::time::Instant, Vec<Result<()>>);

async fn extend<Q: Queue>(shared: &Shared<Q>) {
    let Keeping::Ours { lease, longest } = shared.queue.keeping() else { return };
    let mut beat = beat(shared.settings.sweep.min(lease / 6).max(Duration::from_millis(1)));
    let mut calls = FuturesUnordered::new();
    loop {
        tokio::select! {
            _ = beat.tick(), if calls.len() < EXTENSIONS => {
                let sent = Instant::now().into_std();
                // Due again while the answer is awaited: a call that hangs is not to cost the leases.
                let due = shared.held().due(sent, longest, sent + lease / 3);
                if !due.is_empty() && !planted!("no-heartbeat") {
                    let (leases, handles): (Vec<_>, Vec<_>) = due.into_iter().unzip();
                    calls.push(async move { (leases, sent, shared.queue.extend(&handles).await) });
                }
            }
            Some(extension) = calls.next() => extended(shared, lease, extension),
        }
    }
}

fn extended<Q: Queue>(shared: &Shared<Q>, lease: Duration, (leases, sent, outcomes): Extension) {
    let (now, mut lost) = (Instant::now().into_std(), 0);
    let missing = || Err(Error::new(ErrorKind::Other, "the provider gave fewer outcomes than it was asked for"));
    let outcomes = outcomes.into_iter().chain(std::iter::repeat_with(missing));
    let mut held = shared.held();
    for (named, outcome) in leases.into_iter().zip(outcomes) {
        report(shared, "extend", &outcome);
        match outcome {
            Ok(()) => lost += held.extended(named, sent + lease, now, sent + lease / 3),
            Err(error) if is_gone(&error) => lost += held.lose(named),
            Err(_) => held.not_extended(named, now, (lease / 30).max(Duration::from_millis(1)), lease / 6),
        }
    }
    drop(held);
    if lost > 0 {
        shared.settings.observer.observe(Measure::ClaimsLost(lost));
    }
}

fn report<Q: Queue>(shared: &Shared<Q>, call: &'static str, outcome: &Result<()>) {
    if let Err(error) = outcome
        && !is_gone(error)
    {
        shared.settings.observer.observe(Measure::Failed { call, kind: error.kind() });
        tracing::debug!(call, %error, "a lease could not be kept, and is tried again or runs out");
    }
}

fn beat(period: Duration) -> time::Interval {
    let mut beat = time::interval(period);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beat
}
