//! What is shown of a desk. Asked for rarely: nothing is kept for it.

use std::time::Duration;

use tokio::time::Instant;

use super::Desk;
use crate::receiver::{Stalled, item::Next};

impl Desk {
    /// How many messages wait for their next attempt, and how long until the last of them has waited.
    pub(in crate::receiver) fn pauses(&self) -> (usize, Duration) {
        let work = || self.paused.iter().filter(|(_, item)| item.next == Next::Work);
        let end = work().next_back().map(|((end, _), _)| end.saturating_duration_since(Instant::now()));
        (work().count(), end.unwrap_or_default())
    }

    /// How many messages wait with the provider for their next attempt, as far as is known.
    pub(in crate::receiver) fn postponed_count(&self) -> usize {
        self.postponed.len()
    }

    /// Whether nothing can come in, or be worked on, before a pause is over.
    pub(in crate::receiver) fn is_full_of_pauses(&self) -> bool {
        let behind = || self.lanes.iter().filter(|(_, waiting)| waiting.is_some()).count();
        self.is_full() && !self.paused.is_empty() && self.paused.len() + behind() == self.held
    }

    /// Messages that cannot go on by themselves.
    pub(in crate::receiver) fn stalled(&self) -> impl Iterator<Item = Stalled> {
        self.paused.values().filter_map(|item| {
            let partition = item.claim().partition().map(str::to_owned);
            let reason = item.stalled.as_ref()?.to_string();
            Some(Stalled { partition, position: item.received().origin.position().clone(), reason })
        })
    }
}
