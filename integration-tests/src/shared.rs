//! The memory log under test, shared by coordinators over rows in memory instead of its own groups.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::{Consumer, Producer, Result};
use strait_kit::{
    Expect, LogConsumer, Put, Row, RowStore, Start, Version,
    coordination::{Coordinator, CoordinatorSettings},
};
use strait_leases::{Faults, FaultyRows, Options, open};
use strait_memory::{Life, MemoryLog};
use strait_runtime::Meter;
use strait_testkit::{
    Capabilities, Channel, FaultyLog, FaultyOwnership, Join, Member, Needs, Reported, Reshard, Rig, Starts,
};

use crate::memory::{LEASE, LogRig, options, reshard};

/// A [`MemoryLog`] whose groups are coordinated.
#[derive(Clone, Copy, Debug)]
pub struct SharedRig {
    faults: Faults,
}

impl SharedRig {
    /// Over rows that are always there.
    pub const SOUND: Self = Self { faults: Faults { outage: 0, lost_reply: 0, own_refused: 0, late: 0 } };
    /// Over rows that fail in the ways that stores fail, in a tenth of the calls.
    pub const FAULTY: Self = Self { faults: Faults { outage: 3, lost_reply: 3, own_refused: 3, late: 1 } };
}

#[async_trait]
impl Rig for SharedRig {
    fn capabilities(&self) -> Capabilities {
        // A position is one of a single partition; a coordinated group starts in all of them.
        LogRig.capabilities().with_starts(Starts::Times)
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let log = MemoryLog::new(options(&needs));
        for group in &needs.groups {
            log.create_group(group, &Start::Earliest)?;
        }
        let groups = Mutex::new(needs.groups.into_iter().collect());
        Ok(Box::new(SharedChannel { log, groups, faults: self.faults, number: NEXT.fetch_add(1, Relaxed) }))
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        LogRig.missing().await
    }

    fn configuration(&self) -> String {
        LogRig.configuration()
    }

    fn configure(&self, text: &str) -> Result<()> {
        LogRig.configure(text)
    }
}

#[derive(Debug)]
struct SharedChannel {
    log: MemoryLog,
    groups: Mutex<HashSet<&'static str>>,
    faults: Faults,
    /// Tells apart the rows of channels.
    number: u64,
}

#[async_trait]
impl Channel for SharedChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        self.log.producer()
    }

    async fn send_foreign(&self) -> Result<()> {
        strait_testkit::send_foreign(&*self.producer()).await
    }

    async fn join(&self, join: Join) -> Result<Member> {
        let (life, meter) = (Life::default(), Meter::default());
        let engine = join.log_settings(&meter);
        let start = join.start.unwrap_or(Start::Earliest);
        let mut settings = CoordinatorSettings::with_expiry(LEASE)?;
        settings.start = start.clone();
        settings.check()?;
        if self.groups.lock().expect("nothing panics while holding this").insert(join.group) {
            self.log.create_group(join.group, &start)?;
        }
        let rows = open(&format!("memory:{}.{}", self.number, join.group), &Options::default()).await?;
        let rows = Arc::new(FaultyRows::new(rows, self.faults, fastrand::u64(..)));
        let rows = Arc::new(Mortal { rows, life: life.clone() });
        let seen = self.log.seen_by(join.group, &life);
        // In the runtime of the case, so that its paused clock is the only one.
        let coordinator = Arc::new(Coordinator::start_here(rows, Arc::clone(&seen), settings)?);
        let ownership = FaultyOwnership::new(coordinator, join.faults.clone());
        let (log, group) = (self.log.clone(), join.group);
        let ownership = Reported::new(ownership, move |progress| {
            let told = log.settled(group, &progress.partition, &progress.position);
            Box::pin(async move { told.expect("it was read there") })
        });
        let consumer = LogConsumer::new(FaultyLog::new(seen, join.faults), ownership, engine);
        Ok(Member::new(Arc::new(consumer), meter, move || life.end()))
    }

    async fn left(&self, group: &str) -> usize {
        self.log.unsettled(group)
    }

    async fn reshard(&self, how: Reshard) -> Result<()> {
        reshard(&self.log, how)
    }
}

/// The rows as a process sees them that a test may kill.
#[derive(Debug)]
pub(crate) struct Mortal {
    pub(crate) rows: Arc<dyn RowStore>,
    pub(crate) life: Life,
}

#[async_trait]
impl RowStore for Mortal {
    fn value_bytes(&self) -> usize {
        self.rows.value_bytes()
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        self.life.breathe().await;
        self.rows.get(key).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        self.life.breathe().await;
        self.rows.versions(prefix).await
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        self.life.breathe().await;
        self.rows.put(key, expect, value).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.life.breathe().await;
        self.rows.delete(key).await
    }
}
