use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::Arc,
    time::SystemTime,
};

use strait_core::{Error, ErrorKind, Key, Lag, Message, Position, Receipt, Result, planted};
use strait_kit::{self as kit, Page, Record, Start};
use tokio::sync::Notify;

use super::{
    LogOptions,
    group::{Begin, Group},
    partition::{Partition, Stored, hash, name},
};

/// What every message counts beyond its bytes.
const OVERHEAD: usize = 64;

/// What a log holds, and the groups that read it.
#[derive(Debug)]
pub(super) struct Store {
    options: LogOptions,
    partitions: Vec<Partition>,
    /// The open ones, by their first hash: together they have all hashes.
    ring: Vec<(u64, usize)>,
    bytes: usize,
    /// Where the next message without a key goes.
    turn: usize,
    pub(super) groups: HashMap<String, Group>,
}

fn ring(partitions: &[Partition]) -> Vec<(u64, usize)> {
    let open = partitions.iter().enumerate().filter(|(_, partition)| partition.is_open());
    let mut ring: Vec<_> = open.map(|(index, partition)| (*partition.hashes.start(), index)).collect();
    ring.sort_unstable();
    ring
}

impl Store {
    pub(super) fn new(options: LogOptions) -> Self {
        let partitions = Partition::first(options.partitions);
        let ring = ring(&partitions);
        Self { options, partitions, ring, bytes: 0, turn: 0, groups: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.iter().map(|partition| partition.records.len()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All of them, closed ones too.
    pub(super) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// The open ones, in the order of their keys.
    pub(super) fn ring(&self) -> impl Iterator<Item = usize> {
        self.ring.iter().map(|(_, index)| *index)
    }

    /// Stores what fits. Once a message of a key does not, no later one of that key is stored. Returns also whom to tell
    /// that something was added.
    pub(super) fn store(&mut self, batch: &[Message], at: SystemTime) -> (Vec<Result<Receipt>>, Vec<Arc<Notify>>) {
        let mut refused = HashSet::new();
        let mut grown = vec![false; self.partitions.len()];
        let mut receipts = Vec::with_capacity(batch.len());
        for message in batch {
            let skipped = message.key.as_ref().is_some_and(|key| refused.contains(key));
            let bytes = message.size();
            if skipped || self.bytes + bytes + OVERHEAD > self.options.bytes && !planted!("unbounded-store") {
                refused.extend(message.key.clone());
                let text = format!("memory: log {:?} is full", self.options.name);
                receipts.push(Err(Error::new(ErrorKind::Throttled, text)));
                continue;
            }
            let index = match &message.key {
                Some(key) => self.home(key),
                None => self.next_turn(),
            };
            self.bytes += bytes + OVERHEAD;
            grown[index] = true;
            let partition = &mut self.partitions[index];
            receipts.push(Ok(Receipt::new(partition.end() + u64::from(planted!("receipt-of-the-next")))));
            partition.records.push_back(Stored { message: message.clone(), bytes, at });
        }
        let grown = self.partitions.iter().zip(grown).filter(|(_, grown)| *grown);
        (receipts, grown.map(|(partition, _)| Arc::clone(&partition.grown)).collect())
    }

    /// The partition of a key.
    fn home(&self, key: &Key) -> usize {
        let hash = hash(key);
        self.ring[self.ring.partition_point(|(first, _)| *first <= hash) - 1].1
    }

    /// The partition for what has no key.
    fn next_turn(&mut self) -> usize {
        self.turn = (self.turn + 1) % self.ring.len();
        self.ring[self.turn].1
    }

    /// Closes open partitions, and puts new ones in their place: one for each of `hashes`. Returns them.
    fn replace(&mut self, parents: &[usize], hashes: impl IntoIterator<Item = RangeInclusive<u64>>) -> Vec<usize> {
        let first = self.partitions.len();
        self.partitions.extend(hashes.into_iter().map(|hashes| Partition::new(hashes, parents.to_vec())));
        let children: Vec<_> = (first..self.partitions.len()).collect();
        for parent in parents {
            self.partitions[*parent].children.clone_from(&children);
            self.partitions[*parent].grown.notify_waiters();
        }
        self.ring = ring(&self.partitions);
        for group in self.groups.values_mut() {
            for _ in &children {
                group.add(parents);
            }
        }
        children
    }

    /// Splits an open partition in two halves.
    pub(super) fn split(&mut self, index: usize) -> Result<Vec<usize>> {
        let hashes = self.open(index)?.hashes.clone();
        let middle = hashes.start() + (hashes.end() - hashes.start()) / 2;
        if middle == *hashes.end() {
            return Err(Error::new(ErrorKind::Invalid, format!("memory: partition p{index} has a single hash")));
        }
        Ok(self.replace(&[index], [*hashes.start()..=middle, middle + 1..=*hashes.end()]))
    }

    /// Merges two open partitions that are neighbours.
    pub(super) fn merge(&mut self, one: usize, other: usize) -> Result<usize> {
        let (low, high) = (self.open(one)?.hashes.clone(), self.open(other)?.hashes.clone());
        let (low, high) = if low.start() < high.start() { (low, high) } else { (high, low) };
        if low.end().checked_add(1) != Some(*high.start()) {
            let text = format!("memory: partitions p{one} and p{other} are no neighbours");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        Ok(self.replace(&[one, other], [*low.start()..=*high.end()])[0])
    }

    fn open(&self, index: usize) -> Result<&Partition> {
        let partition = self.partition(index)?;
        if partition.is_open() {
            return Ok(partition);
        }
        Err(Error::new(ErrorKind::Invalid, format!("memory: partition p{index} is closed")))
    }

    /// The number of the record at which `start` begins. It may be one that is no longer stored.
    pub(super) fn resolve(&self, index: usize, start: &Start) -> Result<u64> {
        let partition = self.partition(index)?;
        match start {
            Start::Earliest => Ok(partition.base),
            Start::Latest => Ok(partition.end()),
            Start::At(time) => {
                Ok(partition.base + partition.records.partition_point(|stored| stored.at < *time) as u64)
            }
            Start::After(Position::Number(number)) if *number < partition.end() => Ok(number + 1),
            other => {
                let text = format!("memory: log {:?} has no position {other:?}", self.options.name);
                Err(Error::new(ErrorKind::Invalid, text))
            }
        }
    }

    fn partition(&self, index: usize) -> Result<&Partition> {
        self.partitions.get(index).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("memory: log {:?} has no partition {index}", self.options.name))
        })
    }

    /// What is stored from `next` on.
    pub(super) fn read(&self, index: usize, next: u64, messages: usize, bytes: usize) -> Result<Page> {
        let partition = self.partition(index)?;
        let Some(skip) = next.checked_sub(partition.base) else {
            return Ok(Page::Trimmed { oldest: Some(Position::Number(partition.base)) });
        };
        if !partition.is_open() && next >= partition.end() {
            return Ok(Page::End { children: partition.children.iter().map(|child| self.describe(*child)).collect() });
        }
        let skip = usize::try_from(skip).unwrap_or(usize::MAX).min(partition.records.len());
        let stored = partition.records.range(skip..).take(messages);
        let mut taken = 0;
        let fits = |stored: &&Stored| {
            let fits = taken < bytes;
            taken += stored.bytes;
            fits
        };
        let count = stored.clone().take_while(fits).count();
        let record = |(stored, number): (&Stored, u64)| Record {
            message: stored.message.clone(),
            position: number.into(),
            stored_at: Some(stored.at),
        };
        let records: Vec<_> = stored.zip(next..).take(count).map(record).collect();
        let behind = (partition.records.len() - skip - records.len()) as u64;
        Ok(Page::Records { records, lag: Some(Lag::Messages(behind)), caught_up: behind == 0, resume: None })
    }

    /// A partition as engines know it.
    pub(super) fn describe(&self, index: usize) -> kit::Partition {
        let partition = &self.partitions[index];
        kit::Partition::new(name(index))
            .with_parents(partition.parents.iter().map(|parent| name(*parent)))
            .with_closed(!partition.is_open())
            .with_hashes(u128::from(*partition.hashes.start())..=u128::from(*partition.hashes.end()))
    }

    /// Forgets what every group has settled of a partition.
    pub(super) fn trim(&mut self, index: usize) {
        let Some(settled) = self.groups.values().map(|group| group.next(index)).min() else { return };
        let Some(partition) = self.partitions.get_mut(index) else { return };
        let count = usize::try_from(settled.saturating_sub(partition.base)).unwrap_or(usize::MAX);
        let count = count.min(partition.records.len());
        self.bytes -= partition.records.range(..count).map(|stored| stored.bytes + OVERHEAD).sum::<usize>();
        partition.records.drain(..count);
        partition.base += count as u64;
    }

    /// How many records a group has yet to settle.
    pub(super) fn unsettled(&self, group: &str) -> usize {
        let partitions = self.partitions.iter().enumerate();
        let next = |index| self.groups.get(group).map_or(0, |group| group.next(index));
        partitions
            .map(|(index, partition)| {
                usize::try_from(partition.end() - next(index).max(partition.base)).unwrap_or(usize::MAX)
            })
            .sum()
    }

    /// Where a new group starts in each partition. One that is closed, and of which nothing is to be read, is done with.
    pub(super) fn starts(&self, start: &Start) -> Result<Vec<Begin>> {
        let begin = |(index, partition): (usize, &Partition)| {
            let next = self.resolve(index, start)?;
            let finished = !partition.is_open() && (next >= partition.end() || planted!("closed-parent-skipped"));
            Ok(Begin { next, parents: partition.parents.clone(), finished })
        };
        self.partitions.iter().enumerate().map(begin).collect()
    }
}
