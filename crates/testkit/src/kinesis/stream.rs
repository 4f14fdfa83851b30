use std::time::{Duration, SystemTime};

use super::{consumers::Consumer, quota::Quota};

/// Partition keys and data.
pub type Records = Vec<(String, Vec<u8>)>;

/// How a stream is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StreamSettings {
    /// How many shards it begins with. Default: 1.
    pub shards: usize,
    /// Most bytes of data and partition key together. Default: 1 MiB.
    pub record_bytes: usize,
    /// How long records are kept. Default: 24 h.
    pub retention: Duration,
    /// Whether the quotas of shards hold: in 1,000 records and 1 MiB a second, out 5 calls and 2 MiB. By the clock, which
    /// stands still. Default: no.
    pub quotas: bool,
    /// Whether a place that is no longer stored is answered by the oldest record at once, as the emulator does. Default: no,
    /// it is answered by nothing, and as far behind as can be.
    pub skips_trimmed: bool,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            shards: 1,
            record_bytes: 1 << 20,
            retention: Duration::from_secs(24 * 3600),
            quotas: false,
            skips_trimmed: false,
        }
    }
}

impl StreamSettings {
    /// So many shards.
    pub fn with_shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Records of so many bytes.
    pub fn with_record_bytes(mut self, bytes: usize) -> Self {
        self.record_bytes = bytes;
        self
    }

    /// Answers a place that is no longer stored by the oldest record.
    pub fn with_skips_trimmed(mut self) -> Self {
        self.skips_trimmed = true;
        self
    }

    /// With the quotas of AWS.
    pub fn with_quotas(mut self) -> Self {
        self.quotas = true;
        self
    }
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) settings: StreamSettings,
    pub(super) created: SystemTime,
    pub(super) deleting: bool,
    pub(super) shards: Vec<Shard>,
    pub(super) consumers: Vec<Consumer>,
    /// Of the last record.
    counter: u64,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) number: usize,
    pub(super) parents: Vec<usize>,
    pub(super) hashes: (u128, u128),
    pub(super) closed: bool,
    pub(super) records: Vec<Stored>,
    /// The last record that was forgotten.
    pub(super) trimmed: u64,
    pub(super) calls: Quota,
    pub(super) bytes_out: Quota,
    records_in: Quota,
    bytes_in: Quota,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) counter: u64,
    pub(super) key: String,
    pub(super) data: Vec<u8>,
    pub(super) at: SystemTime,
}

impl Shard {
    fn new(number: usize, parents: Vec<usize>, hashes: (u128, u128)) -> Self {
        Self {
            number,
            parents,
            hashes,
            closed: false,
            records: Vec::new(),
            trimmed: 0,
            calls: Quota::new(5),
            bytes_out: Quota::new(2 << 20),
            records_in: Quota::new(1000),
            bytes_in: Quota::new(1 << 20),
        }
    }

    pub(super) fn id(&self) -> String {
        format!("shardId-{:012}", self.number)
    }

    /// Whether the quotas let a record of so many bytes in.
    pub(super) fn lets_in(&mut self, bytes: usize, now: SystemTime) -> bool {
        let lets_in = self.records_in.has(1, now) && self.bytes_in.has(0, now);
        if lets_in {
            self.records_in.take(1, now);
            self.bytes_in.take(bytes, now);
        }
        lets_in
    }
}

impl Stream {
    pub(super) fn new(name: &str, settings: StreamSettings, created: SystemTime) -> Self {
        let count = settings.shards as u128;
        let width = u128::MAX / count;
        let hashes = |number: u128| {
            let end = if number + 1 == count { u128::MAX } else { width * (number + 1) - 1 };
            (width * number, end)
        };
        let shards = (0..settings.shards).map(|number| Shard::new(number, Vec::new(), hashes(number as u128)));
        Self {
            name: name.to_owned(),
            shards: shards.collect(),
            consumers: Vec::new(),
            settings,
            created,
            deleting: false,
            counter: 0,
        }
    }

    pub(super) fn shard(&self, id: &str) -> Option<usize> {
        self.shards.iter().position(|shard| shard.id() == id)
    }

    /// The open shard that has a hash.
    pub(super) fn of_hash(&self, hash: u128) -> usize {
        let has = |shard: &Shard| !shard.closed && shard.hashes.0 <= hash && hash <= shard.hashes.1;
        self.shards.iter().position(has).expect("open shards have every hash")
    }

    /// Stores a record, and says under which number.
    pub(super) fn store(&mut self, shard: usize, key: &str, data: Vec<u8>, at: SystemTime) -> u64 {
        self.counter += 1;
        self.shards[shard].records.push(Stored { counter: self.counter, key: key.to_owned(), data, at });
        self.counter
    }

    pub(super) fn counter(&self) -> u64 {
        self.counter
    }

    /// Forgets records that are older than the retention.
    pub(super) fn trim(&mut self, now: SystemTime) {
        let horizon = now - self.settings.retention;
        for shard in &mut self.shards {
            let forgotten = shard.records.partition_point(|record| record.at < horizon);
            if let Some(last) = shard.records.drain(..forgotten).next_back() {
                shard.trimmed = last.counter;
            }
        }
    }

    pub(super) fn split(&mut self, id: &str) -> [String; 2] {
        let number = self.close(id);
        let (start, end) = self.shards[number].hashes;
        let middle = start + (end - start) / 2;
        [self.bear(vec![number], (start, middle)), self.bear(vec![number], (middle + 1, end))]
    }

    pub(super) fn merge(&mut self, ids: [&str; 2]) -> String {
        let [one, other] = ids.map(|id| self.close(id));
        let (first, second) =
            if self.shards[one].hashes < self.shards[other].hashes { (one, other) } else { (other, one) };
        let ((start, end), (next, last)) = (self.shards[first].hashes, self.shards[second].hashes);
        assert_eq!(end + 1, next, "they are not next to each other");
        self.bear(vec![first, second], (start, last))
    }

    fn close(&mut self, id: &str) -> usize {
        let number = self.shard(id).expect("there is one");
        assert!(!std::mem::replace(&mut self.shards[number].closed, true), "it is closed");
        number
    }

    fn bear(&mut self, parents: Vec<usize>, hashes: (u128, u128)) -> String {
        self.shards.push(Shard::new(self.shards.len(), parents, hashes));
        self.shards[self.shards.len() - 1].id()
    }

    pub(super) fn stored(&self) -> Vec<(String, Records)> {
        let records = |shard: &Shard| shard.records.iter().map(|it| (it.key.clone(), it.data.clone())).collect();
        self.shards.iter().map(|shard| (shard.id(), records(shard))).collect()
    }
}
