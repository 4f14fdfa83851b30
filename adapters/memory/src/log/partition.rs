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
    // FNV-1a by words of eight bytes, each turned, since a product carries upwards only; the last word, which may be empty,
    // says its length. Then MurmurHash3's finalizer: ranges go by the high bits.
    let words = key.as_str().as_bytes().chunks_exact(8);
    let rest = words.remainder();
    let last = rest.iter().fold(rest.len() as u64, |word, byte| word << 8 | u64::from(*byte));
    let words = words.map(|word| u64::from_le_bytes(word.try_into().expect("has eight bytes")));
    let hash = words.chain([last]).fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_same_hash_in_every_process_and_version() {
        let known = [
            ("a", 0xe252_7436_2528_dc91),
            ("customer-7", 0xa315_99bc_2b7d_c13e),
            ("customer", 0x70f3_cf74_3140_d7b0),
            ("customer-number-1234", 0x4102_4178_c202_f432),
        ];
        for (text, expected) in known {
            assert_eq!(hash(&Key::new(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn keys_share_partitions_evenly_whatever_their_length() {
        for prefix in ["", "k", "customer", "customer-", "region/eu-central-1/customer-"] {
            let mut counts = [0_u32; 16];
            for n in 0..16_000 {
                let hash = hash(&Key::new(&format!("{prefix}{n}")).unwrap());
                counts[usize::try_from(hash >> 60).unwrap()] += 1;
            }
            // 1,000 each, whose standard deviation is 31.
            assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{prefix:?}: {counts:?}");
        }
    }
}
