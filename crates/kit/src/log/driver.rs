use std::{sync::Arc, time::Duration};

use strait_core::{ErrorKind, Measure, planted};
use tokio::time::{self, MissedTickBehavior};

use super::{
    Change, Quarantine,
    calls::call,
    consumer::{Shared, later, now},
    quarantine::Isolation,
    reader::read,
    reading::Reading,
    tenure::Tenure,
};
use crate::guard::guard;

/// How often a partition that drains, or is in quarantine, is looked at.
pub(super) const BEAT: Duration = Duration::from_millis(20);

/// The longest pause between calls that fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The longest pause after a report of what is owned. What is revoked waits that long to be heard.
const LONGEST_REPORT: Duration = Duration::from_secs(1);

/// The task behind a [`LogConsumer`](super::LogConsumer): follows what is owned, commits, hands over, and mends.
///
/// Each of these goes on while another waits for the provider. When nothing is owned any more, the readers are closed, and
/// then the log.
pub(super) async fn drive(shared: Arc<Shared>) {
    let others = async { tokio::join!(call(&shared), mend(&shared), see_off(&shared), leave(&shared)) };
    tokio::select! {
        () = follow(&shared) => {}
        _ = others => {}
    }
    let readers = shared.tenures().end_all();
    for reader in readers {
        reader.wait().await;
    }
    let closed = guard(|| shared.log.close()).await;
    *shared.closed.lock().expect("nothing panics while holding this") = closed;
    shared.closing.send_replace(true); // also where the ownership ended by itself
}

/// Follows what is owned, until nothing is and it is closed. A failure is a report: it ends nothing, since what is owned is
/// to be handed over whatever else is wrong.
async fn follow(shared: &Arc<Shared>) {
    let mut failures = 0;
    loop {
        match guard(|| shared.ownership.next()).await {
            Ok(Some(change)) => {
                failures = 0;
                apply(shared, change);
                shared.work.notify_one();
            }
            Ok(None) => return,
            Err(error) => {
                failed(shared, "own", error.kind());
                if planted!("report-ends-close") && *shared.closing.borrow() && !error.is_transient() {
                    return;
                }
                tracing::warn!(%error, "something is wrong with what is owned");
                failures += 1;
                time::sleep(pause(failures).min(LONGEST_REPORT)).await;
            }
        }
    }
}

fn apply(shared: &Arc<Shared>, change: Change) {
    match change {
        Change::Gained { partition, epoch, start, settled, until, quarantine } => {
            let former = shared.tenures().of_partition(&partition);
            if let Some(former) = former {
                lose(shared, former);
            }
            shared.settings.observer.observe(Measure::Gained(&partition));
            if let Some(Quarantine { suspect }) = &quarantine {
                tracing::warn!(%partition, ?suspect, "owners of a partition died without having come further: it is worked on one message at a time");
            }
            let isolation = quarantine.map(|quarantine| Isolation::new(quarantine, shared.settings.buffer));
            let tenure = Tenure::new(partition, epoch, start, settled, until, isolation);
            let number = shared.tenures().begin(tenure);
            if !*shared.closing.borrow() {
                start_reading(shared, number);
            }
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
                tenures.drain(number, later(now(), grace));
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
    let (reading, stop) = Reading::new();
    let former = shared.tenures().read_by(number, reading);
    if let Some(former) = former {
        tokio::spawn(read(Arc::clone(shared), number, stop, former));
    }
}

pub(super) fn lose(shared: &Shared, number: u32) {
    let lost = shared.tenures().lose(number);
    if let Some(partition) = lost {
        shared.settings.observer.observe(Measure::Released(&partition));
        tracing::info!(%partition, "a partition was lost");
        shared.lost.notify_one();
    }
}

/// Says of what was lost when the last of its claims is gone, and its reader is closed.
async fn see_off(shared: &Shared) {
    loop {
        shared.lost.notified().await;
        while shared.tenures().has_past() {
            let over = shared.tenures().over();
            for (partition, epoch) in over {
                let returned = || async {
                    shared.ownership.returned(&partition, epoch).await;
                    Ok(())
                };
                let _ = guard(returned).await; // what it panics with is told by the panic hook
            }
            time::sleep(BEAT).await;
        }
    }
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
            if let Some(number) = again {
                tracing::debug!("a partition is read again: a message was given back, or what it became is not known");
                start_reading(shared, number);
            }
        }
        let now = now();
        let (oldest, (messages, bytes)) = {
            let mut tenures = shared.tenures();
            (tenures.oldest(now), tenures.sizes())
        };
        let age = oldest.map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest));
        shared.settings.observer.observe(Measure::OldestUnsettled(age));
        shared.settings.observer.observe(Measure::Held { messages, bytes });
    }
}

/// Leaves the group once it is closed, and tries again until that is known.
async fn leave(shared: &Shared) {
    let mut closing = shared.closing.subscribe();
    let _ = closing.wait_for(|closing| *closing).await.map(drop);
    shared.tenures().hurry(now());
    shared.work.notify_one();
    let mut failures = 0;
    while let Err(error) = guard(|| shared.ownership.close()).await {
        failed(shared, "leave", error.kind());
        tracing::warn!(%error, "the group cannot be left, which is tried again");
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
