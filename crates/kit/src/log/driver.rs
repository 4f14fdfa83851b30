use std::{future::ready, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::join_all, stream};
use strait_core::{ErrorKind, Measure, Result, planted};
use tokio::{
    sync::Mutex,
    time::{self, MissedTickBehavior},
};

use super::{
    Change, Progress, Quarantine,
    consumer::{Shared, now},
    quarantine::{Isolation, isolate},
    reader::read,
    tenure::Tenure,
};

/// How often a partition that drains, or is in quarantine, is looked at.
pub(super) const BEAT: Duration = Duration::from_millis(20);

/// How many partitions are handed over at once.
const AT_ONCE: usize = 64;

/// The longest pause between commits that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The task behind a [`LogConsumer`](super::LogConsumer): follows what is owned, commits, hands over, and mends.
///
/// Each of these goes on while another waits for the provider; only commits of the same partition wait for each other.
pub(super) async fn drive(shared: Arc<Shared>) {
    let commits = Mutex::new(());
    let forever = async {
        tokio::join!(
            commit_often(&shared, &commits),
            hand_over(&shared, &commits),
            mend(&shared),
            see_off(&shared),
            isolate(&shared, &commits),
            close(&shared)
        )
    };
    let outcome = tokio::select! {
        outcome = follow(&shared) => outcome,
        _ = forever => Ok(()),
    };
    shared.tenures().end_all(); // one may have been handed over and not yet ended
    let closed = shared.log.close().await;
    *shared.closed.lock().expect("nothing panics while holding this") = outcome.and(closed);
}

/// Follows what is owned, until nothing is and it is closed.
async fn follow(shared: &Arc<Shared>) -> Result<()> {
    let mut failures = 0;
    loop {
        match shared.ownership.next().await {
            Ok(Some(change)) => {
                failures = 0;
                apply(shared, change);
            }
            Ok(None) => return Ok(()),
            Err(error) => {
                failed(shared, "own", error.kind());
                if *shared.closing.borrow() && !error.is_transient() {
                    return Err(error);
                }
                failures += 1;
                time::sleep(pause(failures)).await;
            }
        }
    }
}

fn apply(shared: &Arc<Shared>, change: Change) {
    match change {
        Change::Gained { partition, epoch, start, until, quarantine } => {
            let former = shared.tenures().of_partition(&partition);
            if let Some(former) = former {
                lose(shared, former);
            }
            shared.settings.observer.observe(Measure::Gained(&partition));
            if let Some(Quarantine { suspect }) = &quarantine {
                tracing::warn!(%partition, ?suspect, "owners of a partition died without having come further: it is worked on one message at a time");
                shared.quarantined.notify_one();
            }
            let isolation = quarantine.map(|quarantine| Isolation::new(quarantine, shared.settings.buffer));
            let number = shared.tenures().begin(Tenure::new(partition, epoch, start, until, isolation));
            start_reading(shared, number);
        }
        Change::Renewed { until } => {
            let ended = shared.tenures().renew(until, now());
            for number in ended {
                lose(shared, number);
            }
        }
        Change::Revoked { partition, epoch } => {
            // Who closes a consumer has done what could be done: what is not settled by then will not be.
            let grace = if *shared.closing.borrow() { Duration::ZERO } else { shared.settings.grace };
            let mut tenures = shared.tenures();
            if let Some(number) = tenures.find(&partition, epoch) {
                tenures.drain(number, now() + grace);
            }
        }
        Change::Lost { partition, epoch } => {
            let number = shared.tenures().find(&partition, epoch);
            if let Some(number) = number {
                lose(shared, number);
            }
        }
    }
}

fn start_reading(shared: &Arc<Shared>, number: u32) {
    let reader = tokio::spawn(read(Arc::clone(shared), number));
    shared.tenures().read_by(number, reader.abort_handle());
}

pub(super) fn lose(shared: &Shared, number: u32) {
    let lost = shared.tenures().lose(number);
    if let Some((partition, claims)) = lost {
        shared.settings.observer.observe(Measure::ClaimsLost(claims));
        shared.settings.observer.observe(Measure::Released(&partition));
        tracing::info!(%partition, "a partition was lost");
        shared.lost.notify_one();
    }
}

/// Says of what was lost when the last of its claims is gone.
async fn see_off(shared: &Shared) {
    loop {
        shared.lost.notified().await;
        while shared.tenures().has_past() {
            let over = shared.tenures().over();
            for (partition, epoch) in over {
                shared.ownership.returned(&partition, epoch).await;
            }
            time::sleep(BEAT).await;
        }
    }
}

async fn commit_often(shared: &Shared, commits: &Mutex<()>) {
    let mut failures = 0;
    loop {
        let pause = if failures == 0 { shared.settings.commit_interval } else { pause(failures) };
        time::sleep(pause).await;
        failures = if commit(shared, commits).await { 0 } else { failures + 1 };
    }
}

/// Commits what is settled. Returns whether all of it is committed, or lost.
async fn commit(shared: &Shared, commits: &Mutex<()>) -> bool {
    let _one_at_a_time = commits.lock().await;
    let progress = shared.tenures().progress();
    store(shared, progress).await
}

/// The same, for whoever sees to it that there is one at a time.
pub(super) async fn store(shared: &Shared, (numbers, progress): (Vec<u32>, Vec<Progress>)) -> bool {
    if progress.is_empty() || planted!("settled-and-not-stored") {
        return true;
    }
    let outcomes = join_all(progress.iter().map(|progress| shared.ownership.commit(progress))).await;
    let mut done = true;
    for ((number, progress), outcome) in numbers.into_iter().zip(progress).zip(outcomes) {
        match outcome {
            Ok(()) => shared.tenures().committed(number, progress.position),
            Err(error) if error.kind() == ErrorKind::Lost => lose(shared, number),
            Err(error) => {
                failed(shared, "commit", error.kind());
                tracing::warn!(partition = %progress.partition, %error, "progress could not be committed, and is tried again");
                done = false;
            }
        }
    }
    done
}

/// Hands over what is drained, or out of time, and finishes what is read to its end.
async fn hand_over(shared: &Shared, commits: &Mutex<()>) {
    let mut beat = time::interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = 0;
    loop {
        beat.tick().await;
        if !shared.tenures().is_draining() {
            continue;
        }
        let drained = shared.tenures().drained(now());
        for number in &drained {
            if let Some(tenure) = shared.tenures().get(*number) {
                tenure.grant.lose(); // out of time, or nobody holds a claim
            }
        }
        let finished = shared.tenures().finished();
        if drained.is_empty() && finished.is_empty() {
            if shared.tenures().iter().any(|(_, tenure)| tenure.children.is_some()) {
                commit(shared, commits).await;
            }
            continue;
        }
        let mut done = commit(shared, commits).await;
        let releases = drained.into_iter().map(|number| release(shared, number).boxed());
        let ends = finished.into_iter().map(|number| finish(shared, number).boxed());
        let all: Vec<_> = releases.chain(ends).collect();
        done &= stream::iter(all).buffer_unordered(AT_ONCE).fold(true, |all, one| ready(all && one)).await;
        failures = if done { 0 } else { failures + 1 };
        if failures > 0 {
            time::sleep(pause(failures)).await;
        }
    }
}

async fn release(shared: &Shared, number: u32) -> bool {
    let Some((partition, epoch)) =
        shared.tenures().get(number).map(|tenure| (Arc::clone(&tenure.partition), tenure.epoch))
    else {
        return true;
    };
    if let Err(error) = shared.ownership.release(&partition, epoch).await {
        failed(shared, "release", error.kind());
        if error.is_transient() {
            return false;
        }
    }
    shared.tenures().end(number);
    shared.settings.observer.observe(Measure::Released(&partition));
    true
}

async fn finish(shared: &Shared, number: u32) -> bool {
    let found = shared
        .tenures()
        .get(number)
        .and_then(|tenure| Some((Arc::clone(&tenure.partition), tenure.epoch, tenure.children.clone()?)));
    let Some((partition, epoch, children)) = found else { return true };
    if let Err(error) = shared.ownership.finish(&partition, epoch, children).await {
        failed(shared, "finish", error.kind());
        if error.kind() != ErrorKind::Lost {
            return false;
        }
    }
    shared.tenures().end(number);
    shared.settings.observer.observe(Measure::Released(&partition));
    true
}

/// Reads partitions again of which a claim was dropped, and says how long the oldest message waits.
async fn mend(shared: &Arc<Shared>) {
    let mut beat = time::interval(shared.settings.sweep);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let lapsed = shared.tenures().lapsed(now);
        for number in lapsed {
            lose(shared, number);
        }
        let broken = shared.tenures().broken(now);
        for number in broken {
            let again = shared.tenures().begin_again(number);
            if let Some((number, lost)) = again {
                tracing::debug!(lost, "a message was given back: its partition is read again from there");
                shared.settings.observer.observe(Measure::ClaimsLost(lost));
                start_reading(shared, number);
            }
        }
        let now = now();
        let oldest = shared.tenures().oldest(now);
        let age = oldest.map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest));
        shared.settings.observer.observe(Measure::OldestUnsettled(age));
    }
}

/// Leaves the group once it is closed, and tries again until that is known.
async fn close(shared: &Shared) {
    let mut closing = shared.closing.subscribe();
    let _ = closing.wait_for(|closing| *closing).await.map(drop);
    shared.tenures().hurry(now());
    let mut failures = 0;
    while let Err(error) = shared.ownership.close().await {
        failed(shared, "leave", error.kind());
        failures += 1;
        time::sleep(pause(failures)).await;
    }
    std::future::pending::<()>().await;
}

pub(super) fn failed(shared: &Shared, call: &'static str, kind: ErrorKind) {
    shared.settings.observer.observe(Measure::Failed { call, kind });
}

/// Doubles from 200 ms.
pub(super) fn pause(failures: u32) -> Duration {
    Duration::from_millis(100).saturating_mul(1 << failures.min(16)).min(LONGEST_PAUSE)
}
