use std::{collections::VecDeque, mem};

use strait_core::planted;

/// Turns settlements in any order into one position that is safe to commit.
///
/// The watermark is the last position up to which everything recorded is settled. It never passes an unsettled entry, so
/// that committing it can never lose one.
#[derive(Debug)]
pub struct Ledger<P> {
    first: u64,
    entries: VecDeque<Entry<P>>,
    unsettled: usize,
    bytes: usize,
    watermark: Option<P>,
}

#[derive(Debug)]
struct Entry<P> {
    position: P,
    bytes: usize,
    settled: bool,
}

impl<P> Default for Ledger<P> {
    fn default() -> Self {
        Self { first: 0, entries: VecDeque::new(), unsettled: 0, bytes: 0, watermark: None }
    }
}

impl<P> Ledger<P> {
    /// A ledger of what comes behind `watermark`, up to which everything is settled already.
    pub fn behind(watermark: Option<P>) -> Self {
        Self { watermark, ..Self::default() }
    }

    /// Records a delivery of so many bytes, in the order of the log. Returns the entry to settle.
    pub fn record(&mut self, position: P, bytes: usize) -> u64 {
        self.entries.push_back(Entry { position, bytes, settled: false });
        self.unsettled += 1;
        self.bytes += bytes;
        self.first + self.entries.len() as u64 - 1
    }

    /// Settles an entry, once. Returns whether the watermark moved.
    pub fn settle(&mut self, entry: u64) -> bool {
        self.settle_all([entry])
    }

    /// Settles entries, each once. Returns whether the watermark moved.
    pub fn settle_all(&mut self, entries: impl IntoIterator<Item = u64>) -> bool {
        for entry in entries {
            let index = entry.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
            let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else { continue };
            if !mem::replace(&mut entry.settled, true) {
                self.unsettled -= 1;
                self.bytes -= entry.bytes;
            }
            if planted!("high-watermark-commit") {
                self.entries.iter_mut().take(index.unwrap_or(0)).for_each(|entry| entry.settled = true);
            }
        }
        let count = self.entries.iter().take_while(|entry| entry.settled).count();
        if count > 0 {
            self.watermark = self.entries.drain(..count).next_back().map(|entry| entry.position);
            self.first += count as u64;
        }
        count > 0
    }

    /// The position that is safe to commit, once anything is.
    pub fn watermark(&self) -> Option<&P> {
        self.watermark.as_ref()
    }

    /// How far delivery has run ahead of the watermark: what a crash would replay.
    pub fn span(&self) -> usize {
        self.entries.len()
    }

    /// How many entries are not settled.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How many bytes the entries have that are not settled.
    pub fn unsettled_bytes(&self) -> usize {
        self.bytes
    }

    /// What is settled above the watermark: after a replay from there it need not be delivered again.
    pub fn settled_above(self) -> impl Iterator<Item = P> {
        self.entries.into_iter().filter_map(|entry| entry.settled.then_some(entry.position))
    }
}
