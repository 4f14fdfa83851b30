use std::{collections::VecDeque, mem};

use strait_core::planted;

/// Turns settlements in any order into one position that is safe to commit.
///
/// The watermark is the last position up to which everything recorded is settled. It never passes an unsettled entry, so
/// that committing it can never lose one.
#[derive(Debug)]
pub struct Ledger<P> {
    first: u64,
    entries: VecDeque<(P, bool)>,
    unsettled: usize,
    watermark: Option<P>,
}

impl<P> Default for Ledger<P> {
    fn default() -> Self {
        Self { first: 0, entries: VecDeque::new(), unsettled: 0, watermark: None }
    }
}

impl<P> Ledger<P> {
    /// Records a delivery, in the order of the log. Returns the entry to settle.
    pub fn record(&mut self, position: P) -> u64 {
        self.entries.push_back((position, false));
        self.unsettled += 1;
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
            let Some((_, settled)) = index.and_then(|index| self.entries.get_mut(index)) else { continue };
            self.unsettled -= usize::from(!mem::replace(settled, true));
            if planted!("high-watermark-commit") {
                self.entries.iter_mut().take(index.unwrap_or(0)).for_each(|(_, settled)| *settled = true);
            }
        }
        let count = self.entries.iter().take_while(|(_, settled)| *settled).count();
        if count > 0 {
            self.watermark = self.entries.drain(..count).next_back().map(|(position, _)| position);
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

    /// What is settled above the watermark: after a replay from there it need not be delivered again.
    pub fn settled_above(self) -> impl Iterator<Item = P> {
        self.entries.into_iter().filter_map(|(position, settled)| settled.then_some(position))
    }
}
