use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc, time::SystemTime};

use strait_core::{Error, ErrorKind, Key, Message, Result};
use tokio::sync::Notify;

/// A partition of the log: open, or closed by a split or a merge.
#[derive(Debug)]
pub(super) struct Partition {
    /// The number of the oldest record that is stored.
    pub(super) base: u64,
    pub(super) records: VecDeque<Stored>,
    /// The hashes of the keys that are its own.
    pub(super) hashes: RangeInclusive<u64>,
    pub(super) parents: Vec<usize>,
    /// What it became. It is closed if there are any.
    pub(super) children: Vec<usize>,
    /// Something was added, or it was closed.
    pub(super) grown: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) message: Message,
    /// Its size, which is asked for often.
    pub(super) bytes: usize,
    pub(super) at: SystemTime,
}

impl Partition {
    pub(super) fn new(hashes: RangeInclusive<u64>, parents: Vec<usize>) -> Self {
        Self { base: 0, records: VecDeque::new(), hashes, parents, children: Vec::new(), grown: Arc::default() }
    }

    /// As many as that, with equal shares of the keys.
    pub(super) fn first(count: usize) -> Vec<Self> {
        let width = u64::MAX / count as u64;
        let from = |index: usize| width * index as u64;
        let to = |index: usize| if index + 1 == count { u64::MAX } else { from(index + 1) - 1 };
        (0..count).map(|index| Self::new(from(index)..=to(index), Vec::new())).collect()
    }

    pub(super) fn end(&self) -> u64 {
        self.base + self.records.len() as u64
    }

    pub(super) fn is_open(&self) -> bool {
        self.children.is_empty()
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
pub(super) fn hash(key: &Key) -> u64 {
    // FNV-1a, and then MurmurHash3's finalizer: ranges go by the high bits, which FNV leaves alike for short keys.
    let bytes = key.as_str().bytes();
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
