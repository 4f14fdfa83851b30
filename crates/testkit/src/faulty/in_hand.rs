use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::time::Instant;

/// What a process was given and has not given back, as its calls tell.
#[derive(Debug, Default)]
pub(super) struct InHand {
    /// When each lease ends, by its number.
    leases: BTreeMap<u64, Instant>,
    /// Partitions, each with its epoch.
    partitions: BTreeSet<(Arc<str>, u64)>,
    /// Partitions that were lost.
    pub(super) lost: BTreeSet<Arc<str>>,
}

impl InHand {
    /// These are leased until then.
    pub(super) fn lease(&mut self, numbers: impl IntoIterator<Item = u64>, until: Instant) {
        self.leases.extend(numbers.into_iter().map(|number| (number, until)));
    }

    /// These are leased until then, if they still were.
    pub(super) fn extend(&mut self, numbers: impl IntoIterator<Item = u64>, until: Instant) {
        for number in numbers {
            self.leases.entry(number).and_modify(|end| *end = until);
        }
    }

    /// These leases are over.
    pub(super) fn end(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.leases.remove(&number);
        }
    }

    /// The partition is owned.
    pub(super) fn gain(&mut self, partition: &Arc<str>, epoch: u64) {
        self.partitions.insert((Arc::clone(partition), epoch));
    }

    /// It is not any more.
    pub(super) fn end_partition(&mut self, partition: &Arc<str>, epoch: u64) {
        self.partitions.remove(&(Arc::clone(partition), epoch));
    }

    /// No partition is owned any more.
    pub(super) fn end_partitions(&mut self) {
        self.partitions.clear();
    }

    /// What is in hand at `now`.
    pub(super) fn names(&self, now: Instant) -> Vec<String> {
        let leases = self.leases.iter().filter(|(_, until)| **until > now);
        let leases = leases.map(|(number, _)| format!("lease {number}"));
        let partitions = self.partitions.iter().map(|(partition, epoch)| format!("{partition} in epoch {epoch}"));
        leases.chain(partitions).collect()
    }
}
