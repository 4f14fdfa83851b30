//! The log: partitions by ranges of slots, which are split and merged.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use strait_core::Position;
use strait_kit::{Partition, Start};

use crate::history::Time;

/// How many slots keys are spread over: a partition can be split while it has two.
pub(crate) const SLOTS: u32 = 64;

/// How many keys there are.
pub(crate) const KEYS: u32 = 24;

#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) range: (u32, u32),
    pub(crate) parents: Vec<usize>,
    pub(crate) children: Vec<usize>,
    pub(crate) closed: Option<Time>,
    pub(crate) listed: bool,
    /// Position, key, time.
    pub(crate) records: Vec<(u64, u32, Time)>,
}

#[derive(Debug, Default)]
pub(crate) struct SimLog {
    pub(crate) shards: Vec<Shard>,
    next: u64,
    /// Whether its positions are texts.
    texts: bool,
}

/// How many records of a log with texts for positions have one sequence number. The last of them has nothing beside it.
const AGGREGATE: u64 = 12;

/// What is behind each of those, so that they fit in no integer.
const ZEROS: &str = "00000000000000000000000000000000000000000000000000";

/// The number of a record, from its position as it is stored.
pub(crate) fn record(position: &Value) -> Option<u64> {
    let Some(text) = position.as_str() else { return position.as_u64() };
    let (sequence, sub) = text
        .split_once('.')
        .map_or((text, AGGREGATE - 1), |(sequence, sub)| (sequence, sub.parse().expect("positions are made so")));
    let sequence: u64 = sequence.strip_suffix(ZEROS)?.parse().ok()?;
    Some((sequence - 1) * AGGREGATE + sub)
}

/// The time of the provider's clock.
pub(crate) fn wall(time: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000) + Duration::from_micros(time)
}

pub(crate) fn name(shard: usize) -> Arc<str> {
    format!("p{shard:04}").into()
}

pub(crate) fn number(name: &str) -> usize {
    name.trim_start_matches('p').parse().expect("partitions are named so")
}

impl SimLog {
    pub(crate) fn new(count: u32, texts: bool) -> Self {
        let mut log = Self { texts, ..Self::default() };
        for index in 0..count {
            let edge = |index: u32| SLOTS * index / count;
            log.open((edge(index), edge(index + 1)), Vec::new());
        }
        log
    }

    fn open(&mut self, range: (u32, u32), parents: Vec<usize>) -> usize {
        let shard = Shard { range, parents, children: Vec::new(), closed: None, listed: true, records: Vec::new() };
        self.shards.push(shard);
        self.shards.len() - 1
    }

    /// Appends a record of `key`. Returns where it is.
    pub(crate) fn append(&mut self, key: u32, time: Time) -> (usize, u64) {
        let slot = key * SLOTS / KEYS;
        let takes = |shard: &Shard| shard.closed.is_none() && (shard.range.0..shard.range.1).contains(&slot);
        let index = self.shards.iter().position(takes).expect("open shards cover all slots");
        self.next += 1;
        self.shards[index].records.push((self.next, key, time));
        (index, self.next)
    }

    /// The position of a record.
    pub(crate) fn position(&self, record: u64) -> Position {
        let (sequence, sub) = (record / AGGREGATE + 1, record % AGGREGATE);
        let text = match sub + 1 {
            _ if !self.texts => return Position::Number(record),
            AGGREGATE => format!("{sequence}{ZEROS}"),
            _ => format!("{sequence}{ZEROS}.{sub}"),
        };
        Position::from(text.as_str())
    }

    pub(crate) fn open_shards(&self) -> Vec<usize> {
        (0..self.shards.len()).filter(|shard| self.shards[*shard].closed.is_none()).collect()
    }

    pub(crate) fn split(&mut self, shard: usize, time: Time) -> bool {
        let (low, high) = self.shards[shard].range;
        if high - low < 2 || self.shards[shard].closed.is_some() {
            return false;
        }
        let middle = u32::midpoint(low, high);
        let children = vec![self.open((low, middle), vec![shard]), self.open((middle, high), vec![shard])];
        self.close(shard, children, time);
        true
    }

    /// Merges a shard with the open one behind it.
    pub(crate) fn merge(&mut self, shard: usize, time: Time) -> Option<usize> {
        let (low, high) = self.shards[shard].range;
        let other = self.shards.iter().position(|other| other.closed.is_none() && other.range.0 == high)?;
        let range = (low, self.shards[other].range.1);
        let child = self.open(range, vec![shard, other]);
        self.close(shard, vec![child], time);
        self.close(other, vec![child], time);
        Some(other)
    }

    fn close(&mut self, shard: usize, children: Vec<usize>, time: Time) {
        self.shards[shard].closed = Some(time);
        self.shards[shard].children = children;
    }

    pub(crate) fn partition(&self, shard: usize) -> Partition {
        Partition::new(name(shard)).with_parents(self.shards[shard].parents.iter().map(|parent| name(*parent)))
    }

    pub(crate) fn partitions(&self) -> Vec<Partition> {
        let listed = (0..self.shards.len()).filter(|shard| self.shards[*shard].listed);
        listed.map(|shard| self.partition(shard)).collect()
    }

    /// The index of the first record to be read.
    pub(crate) fn seek(&self, shard: usize, start: &Start) -> usize {
        let records = &self.shards[shard].records;
        match start {
            Start::At(time) => records.partition_point(|(_, _, stored)| wall(*stored) < *time),
            Start::After(last) => {
                let last = match last {
                    Position::Number(last) => Value::from(*last),
                    Position::Text(last) => Value::from(&**last),
                };
                let last = record(&last).expect("positions are made so");
                records.partition_point(|(position, ..)| *position <= last)
            }
            _ => 0,
        }
    }
}
