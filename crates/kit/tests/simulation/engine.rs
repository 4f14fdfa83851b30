//! A model of the engine in a process: what it reads, runs, settles and commits of the partitions that it is given.

use std::collections::{BTreeMap, BTreeSet};

use strait_kit::Ledger;

use crate::history::Time;

/// Most records in hand of a partition.
pub(crate) const SPAN: usize = 12;

/// Most handlers that run at a time for a partition.
pub(crate) const RUNNING: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Waiting(Time),
    Running,
    Settled,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    pub(crate) position: u64,
    pub(crate) key: u32,
    pub(crate) doing: Doing,
}

#[derive(Debug)]
pub(crate) struct Tenure {
    pub(crate) epoch: u64,
    /// The index of the next record to read.
    pub(crate) next: usize,
    pub(crate) entries: Vec<Entry>,
    pub(crate) ledger: Ledger<u64>,
    /// The highest entry that was ever started, and one.
    pub(crate) cut: u64,
    /// When it is handed over regardless, once it drains.
    pub(crate) deadline: Option<Time>,
    pub(crate) committed: Option<u64>,
    /// What is being committed, and the ticket.
    pub(crate) committing: Option<(u64, u64)>,
    /// The ticket of its release or its end.
    pub(crate) ending: Option<u64>,
    /// Set while it is in quarantine.
    pub(crate) isolation: Option<Isolation>,
}

/// One message at a time, and each is named before.
#[derive(Debug)]
pub(crate) struct Isolation {
    /// How many more.
    pub(crate) left: usize,
    /// The ticket of the name that is being stored, and what is settled with it.
    pub(crate) naming: Option<(u64, Option<u64>)>,
    /// Whether the next message is named.
    pub(crate) named: bool,
}

impl Tenure {
    pub(crate) fn new(epoch: u64, next: usize, quarantine: bool) -> Self {
        Self {
            epoch,
            next,
            entries: Vec::new(),
            ledger: Ledger::default(),
            cut: 0,
            deadline: None,
            committed: None,
            committing: None,
            ending: None,
            isolation: quarantine.then_some(Isolation { left: SPAN, naming: None, named: false }),
        }
    }

    /// Which entries may start now: the oldest of each key, up to the cut of a partition that drains.
    pub(crate) fn ready(&self, now: Time) -> Vec<u64> {
        let mut keys = BTreeSet::new();
        let mut running = self.entries.iter().filter(|entry| entry.doing == Doing::Running).count();
        let mut ready = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.doing != Doing::Settled) {
            let first = keys.insert(entry.key);
            let open = self.deadline.is_none() || entry.number < self.cut;
            if first && open && running < RUNNING && matches!(entry.doing, Doing::Waiting(at) if at <= now) {
                running += 1;
                ready.push(entry.number);
            }
        }
        ready
    }

    pub(crate) fn entry(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }

    pub(crate) fn settle(&mut self, number: u64) {
        if let Some(entry) = self.entry(number) {
            entry.doing = Doing::Settled;
        }
        self.ledger.settle(number);
        let done = self.entries.iter().take_while(|entry| entry.doing == Doing::Settled).count();
        self.entries.drain(..done);
    }

    /// Whether a request of it is under way.
    pub(crate) fn is_busy(&self) -> bool {
        let naming = self.isolation.as_ref().is_some_and(|isolation| isolation.naming.is_some());
        naming || self.committing.is_some() || self.ending.is_some()
    }

    /// How many more records may be read.
    pub(crate) fn room(&mut self) -> usize {
        let span = self.ledger.span();
        match &mut self.isolation {
            None => SPAN.saturating_sub(span),
            Some(isolation) => usize::from(span == 0 && std::mem::take(&mut isolation.named)),
        }
    }

    /// Whether everything up to the cut is settled.
    pub(crate) fn is_drained(&self) -> bool {
        self.entries.iter().all(|entry| entry.number >= self.cut || entry.doing == Doing::Settled)
    }

    /// What is settled and not committed.
    pub(crate) fn progress(&self) -> Option<u64> {
        self.ledger.watermark().copied().filter(|watermark| self.committed != Some(*watermark))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Engine {
    pub(crate) held: BTreeMap<usize, Tenure>,
    /// Handlers that still run of tenures that were lost.
    pub(crate) zombies: BTreeMap<(usize, u64), BTreeSet<u64>>,
}
