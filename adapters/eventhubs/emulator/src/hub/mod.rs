//! Hubs: partitions, and how events get into them.

mod hash;
mod meter;
mod namespace;
mod offset;
mod partition;
mod position;
mod readers;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio_util::sync::CancellationToken;

use self::meter::Meter;
pub use self::{
    namespace::{HubError, Namespace},
    offset::Offset,
    partition::{NEVER, PartitionState, Retention},
};
pub(crate) use self::{
    partition::{Invalid, Partition},
    position::Position,
    readers::{LEAVING, Refused, Registration},
};
use crate::{clock::Clock, config::Quota};

/// The settings of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// Its name, of 256 characters at most. Names of hubs and of groups are compared without regard to case.
    pub name: String,
    /// The number of partitions, 1 to 1024.
    pub partitions: usize,
    /// The consumer groups besides `$Default`, of 50 characters at most.
    pub groups: Vec<String>,
    /// How long and how much each partition keeps.
    pub retention: Retention,
    /// The number of regions that the hub is replicated to. Above 1, offsets are opaque.
    pub georeplication_factor: i32,
}

impl HubSettings {
    /// A hub of that name and number of partitions, with the group `$Default` alone.
    pub fn new(name: impl Into<String>, partitions: usize) -> Self {
        let (name, groups, retention) = (name.into(), Vec::new(), Retention::default());
        Self { name, partitions, groups, retention, georeplication_factor: 1 }
    }
}

/// A hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: HubSettings,
    pub(crate) created: i64,
    partitions: RwLock<Vec<Arc<Partition>>>,
    clock: Clock,
    turn: AtomicUsize,
    meter: Meter,
    /// Cancelled once the hub is no more: its links end.
    pub(crate) deleted: CancellationToken,
}

impl Hub {
    fn new(settings: HubSettings, clock: Clock) -> Self {
        let hub = Self {
            created: clock.now(),
            partitions: RwLock::default(),
            clock,
            turn: AtomicUsize::new(0),
            meter: Meter::default(),
            deleted: CancellationToken::new(),
            settings,
        };
        hub.grow(hub.settings.partitions);
        hub
    }

    /// Adds partitions until there are so many. There are never fewer.
    fn grow(&self, count: usize) {
        let mut partitions = self.partitions.write().unwrap_or_else(PoisonError::into_inner);
        let replicated = self.settings.georeplication_factor > 1;
        while partitions.len() < count {
            partitions.push(Arc::new(Partition::new(self.settings.retention, replicated, self.clock.clone())));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn partition(&self, index: usize) -> Option<Arc<Partition>> {
        self.partitions.read().unwrap_or_else(PoisonError::into_inner).get(index).map(Arc::clone)
    }

    /// Where an event without a partition goes: by its key, else to each in turn.
    pub(crate) fn route(&self, key: Option<&str>) -> usize {
        let count = self.count();
        match key {
            Some(key) => hash::partition(key, count),
            None => self.turn.fetch_add(1, Ordering::Relaxed) % count.max(1),
        }
    }

    /// Whether so much more is within the quota; then it is counted.
    pub(crate) fn admit(&self, quota: Quota, events: usize, bytes: usize) -> bool {
        self.meter.admit(quota, self.clock.now(), events, bytes)
    }

    /// Whether it is of that name, or none is asked for.
    pub(crate) fn is(&self, name: Option<&str>) -> bool {
        name.is_none_or(|name| name.to_lowercase() == self.settings.name.to_lowercase())
    }

    pub(crate) fn has_group(&self, name: &str) -> bool {
        let groups = self.settings.groups.iter().map(String::as_str);
        groups.chain(["$Default"]).any(|group| group.eq_ignore_ascii_case(name))
    }
}
