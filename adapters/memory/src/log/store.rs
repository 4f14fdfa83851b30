use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use strait_core::{Error, ErrorKind, Key, Message, Position, Receipt, Result, planted};
use strait_kit::{Record, Start};

use super::{LogOptions, group::Group};

/// What every message counts beyond its bytes.
const OVERHEAD: usize = 64;

/// What a log holds, and the groups that read it.
#[derive(Debug)]
pub(super) struct Store {
    options: LogOptions,
    partitions: Vec<Partition>,
    bytes: usize,
    /// Where the next message without a key goes.
    turn: usize,
    pub(super) groups: HashMap<String, Group>,
}

#[derive(Debug, Default)]
struct Partition {
    /// The number of the oldest record that is stored.
    base: u64,
    records: VecDeque<Stored>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    /// Its size, which is asked for often.
    bytes: usize,
    at: SystemTime,
}

impl Partition {
    fn end(&self) -> u64 {
        self.base + self.records.len() as u64
    }
}

/// The name of a partition.
pub(super) fn name(index: usize) -> Arc<str> {
    format!("p{index}").into()
}

/// The index of a partition.
pub(super) fn index(name: &str) -> Result<usize> {
    let index = name.strip_prefix('p').and_then(|index| index.parse().ok());
    index.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("memory: no partition {name:?}")))
}

/// The same in every process, so that a key keeps its partition.
fn hash(key: &Key) -> u64 {
    // FNV-1a
    key.as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Store {
    pub(super) fn new(options: LogOptions) -> Self {
        let partitions = (0..options.partitions).map(|_| Partition::default()).collect();
        Self { options, partitions, bytes: 0, turn: 0, groups: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.partitions.iter().map(|partition| partition.records.len()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Stores what fits. Once a message of a key does not, no later one of that key is stored. Says to which partitions
    /// something was added.
    pub(super) fn store(&mut self, batch: &[Message], at: SystemTime, grown: &mut [bool]) -> Vec<Result<Receipt>> {
        let mut refused = HashSet::new();
        let count = self.partitions.len();
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
            let index = if let Some(key) = &message.key {
                usize::try_from(hash(key) % count as u64).expect("less than the number of partitions")
            } else {
                self.turn = (self.turn + 1) % count;
                self.turn
            };
            self.bytes += bytes + OVERHEAD;
            grown[index] = true;
            let partition = &mut self.partitions[index];
            receipts.push(Ok(Receipt::new(partition.end())));
            partition.records.push_back(Stored { message: message.clone(), bytes, at });
        }
        receipts
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

    /// Records from `next` on, and how many are stored behind them. Or, if `next` is no longer stored, what is.
    pub(super) fn read(
        &self,
        index: usize,
        next: u64,
        messages: usize,
        bytes: usize,
    ) -> Result<Result<(Vec<Record>, u64), u64>> {
        let partition = self.partition(index)?;
        let Some(skip) = next.checked_sub(partition.base) else { return Ok(Err(partition.base)) };
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
        Ok(Ok((records, behind)))
    }

    /// Forgets what every group has settled.
    pub(super) fn trim(&mut self) {
        for (index, partition) in self.partitions.iter_mut().enumerate() {
            let Some(settled) = self.groups.values().map(|group| group.next(index)).min() else { return };
            let count = usize::try_from(settled.saturating_sub(partition.base)).unwrap_or(usize::MAX);
            let count = count.min(partition.records.len());
            self.bytes -= partition.records.range(..count).map(|stored| stored.bytes + OVERHEAD).sum::<usize>();
            partition.records.drain(..count);
            partition.base += count as u64;
        }
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

    /// Where a new group starts in each partition.
    pub(super) fn starts(&self, start: &Start) -> Result<Vec<u64>> {
        (0..self.partitions.len()).map(|index| self.resolve(index, start)).collect()
    }
}
