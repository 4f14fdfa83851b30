//! The storefront: shows customers how far their orders are. It sees when an order is finished.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use strait::Batch;

use crate::{
    events::{StatusChange, read},
    journal::{Ending, Journal, Seen},
    progress::Progress,
};

#[derive(Debug)]
pub(crate) struct Storefront {
    finished: Mutex<HashSet<u64>>,
    journal: Journal,
    progress: Progress,
}

impl Storefront {
    pub(crate) fn new(journal: Journal, progress: Progress) -> Self {
        Self { finished: Mutex::default(), journal, progress }
    }

    /// Takes note of changes. One that comes again changes nothing.
    pub(crate) fn handle(&self, mut batch: Batch) {
        let mut unreadable = Vec::new();
        for (index, entry) in batch.iter().enumerate() {
            match read(entry.message()) {
                Ok(StatusChange::OrderStatusUpdated { order_id, status, change }) => {
                    let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
                    if status.is_final() && finished.insert(order_id) {
                        self.progress.finish();
                    }
                    drop(finished);
                    self.journal.record("storefront", &Seen::from(&entry), change, Ending::Done);
                }
                Err(failure) => unreadable.push((index, failure)),
            }
        }
        for (index, failure) in unreadable {
            batch.fail(index, failure);
        }
    }
}
