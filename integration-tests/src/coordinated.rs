//! A log of a service, whose groups share it through rows: what the rigs of Kinesis and Event Hubs have in common.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use strait_core::{Position, Result};
use strait_kit::{
    Log, LogConsumer, RowStore, Start,
    coordination::{Coordinator, CoordinatorSettings},
};
use strait_memory::Life;
use strait_runtime::Meter;
use strait_testkit::{FaultyLog, FaultyOwnership, Join, Member, Reported};

use crate::{mortal_log::MortalLog, shared::Mortal};

/// What was committed of each partition.
type Positions = HashMap<Arc<str>, Position>;

/// What each group has committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settled(Arc<Mutex<HashMap<&'static str, Positions>>>);

impl Settled {
    /// What a group has committed.
    pub(crate) fn of(&self, group: &str) -> Positions {
        self.lock().get(group).cloned().unwrap_or_default()
    }

    fn commit(&self, group: &'static str, partition: &Arc<str>, position: &Position) {
        self.lock().entry(group).or_default().insert(Arc::clone(partition), position.clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, Positions>> {
        self.0.lock().expect("nothing panics while holding this")
    }
}

/// Checks where a group may start.
///
/// # Errors
///
/// [`Unsupported`](strait_core::ErrorKind::Unsupported) for a position.
pub(crate) fn settings(lease: Duration, start: Start) -> Result<CoordinatorSettings> {
    let mut settings = CoordinatorSettings::with_expiry(lease)?;
    settings.start = start;
    settings.check()?;
    Ok(settings)
}

/// A process that consumes a log as a member of a group with these rows, which a test may kill.
///
/// # Errors
///
/// That of the rows or the log.
pub(crate) async fn join(
    log: Arc<dyn Log>,
    rows: Arc<dyn RowStore>,
    settings: CoordinatorSettings,
    join: Join,
    settled: &Settled,
) -> Result<Member> {
    let (life, meter) = (Life::default(), Meter::default());
    let engine = join.log_settings(&meter);
    let log = MortalLog::new(log, life.clone());
    let rows = Arc::new(Mortal { rows, life: life.clone() });
    let coordinator = Coordinator::start_here(rows, Arc::clone(&log) as _, settings)?;
    coordinator.opened().await?;
    let ownership = FaultyOwnership::new(Arc::new(coordinator), join.faults.clone());
    let (settled, group) = (settled.clone(), join.group);
    let ownership = Reported::new(ownership, move |progress| {
        settled.commit(group, &progress.partition, &progress.position);
        Box::pin(std::future::ready(()))
    });
    let consumer = LogConsumer::new(FaultyLog::new(log, join.faults), ownership, engine);
    Ok(Member::new(Arc::new(consumer), meter, move || life.end()))
}
