use std::{collections::VecDeque, vec};

use super::Record;

/// What was read of a partition and is not handed out yet. It holds no claims, so that nobody minds if it is dropped.
#[derive(Debug, Default)]
pub(super) struct Pages {
    waiting: VecDeque<Measured>,
    messages: usize,
    bytes: usize,
}

/// A page whose records are measured, since their sizes are asked for often.
#[derive(Debug)]
pub(super) struct Measured {
    records: vec::IntoIter<Record>,
    sizes: vec::IntoIter<usize>,
}

impl Measured {
    pub(super) fn new(records: Vec<Record>) -> Self {
        let sizes: Vec<_> = records.iter().map(|record| record.message.size()).collect();
        Self { records: records.into_iter(), sizes: sizes.into_iter() }
    }
}

impl Pages {
    /// How many may wait for each partition: one being handed out, and the next.
    pub(super) const MOST: usize = 2;

    pub(super) fn push(&mut self, page: Measured) {
        self.messages += page.records.len();
        self.bytes += page.sizes.as_slice().iter().sum::<usize>();
        self.waiting.push_back(page);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether no more pages may wait.
    pub(super) fn are_enough(&self) -> bool {
        self.waiting.len() >= Self::MOST
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What comes next, unless the first page is done with.
    pub(super) fn first(&self) -> Option<&Record> {
        self.waiting.front()?.records.as_slice().first()
    }

    /// Lets go of the first page if it is done with. Returns whether it was.
    pub(super) fn turn(&mut self) -> bool {
        let is_over = self.waiting.front().is_some_and(|page| page.records.len() == 0);
        if is_over {
            self.waiting.pop_front();
        }
        is_over
    }

    /// How many records of the first page fit: at most `room`, none more once `bytes` comes to `most`, and none from the
    /// first on that is not `meant`. Adds to `bytes` what they have.
    pub(super) fn fit(&self, room: usize, most: usize, bytes: &mut usize, meant: impl Fn(&Record) -> bool) -> usize {
        let Some(page) = self.waiting.front() else { return 0 };
        let fits = |(record, size): &(&Record, &usize)| {
            let fits = *bytes < most && meant(record);
            *bytes += if fits { **size } else { 0 };
            fits
        };
        page.records.as_slice().iter().zip(page.sizes.as_slice()).take(room).take_while(fits).count()
    }

    /// Moves so many records of the first page into `batch`, each as what `make` makes of it and of how many bytes it has.
    #[inline]
    pub(super) fn hand<T>(&mut self, count: usize, batch: &mut Vec<T>, mut make: impl FnMut(Record, usize) -> T) {
        let Some(Measured { records, sizes }) = self.waiting.front_mut() else { return };
        let count = count.min(records.len());
        self.messages -= count;
        self.bytes -= sizes.as_slice()[..count].iter().sum::<usize>();
        // Straight from there to here: a message is large to move.
        batch.extend(records.by_ref().take(count).map(|record| make(record, sizes.next().unwrap_or(0))));
    }

    /// Drops the first record of the first page.
    pub(super) fn skip(&mut self) {
        self.hand(1, &mut Vec::new(), |_, _| ());
    }
}
