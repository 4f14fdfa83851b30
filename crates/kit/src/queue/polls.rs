use std::pin::Pin;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use strait_core::{Budget, Result};
use tokio::time::Instant;

use super::Leased;

type Reply<H> = (Budget, Instant, Result<Vec<Leased<H>>>);

/// The polls under way. What they may bring never exceeds the budget that was given last: it shrinks only by what they
/// brought.
pub(super) struct Polls<H> {
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Reply<H>> + Send>>>,
    messages: usize,
    bytes: usize,
    /// How many there are to be: one more after a poll that came back full, one fewer after an empty one.
    wanted: usize,
    most: usize,
    /// How many messages each may bring.
    each: usize,
    /// What there must be room for, for another poll beside those under way.
    whole: Budget,
}

impl<H: 'static> Polls<H> {
    /// At most so many polls, each of so many messages at most, of which none is larger than that.
    pub(super) fn new(most: usize, each: usize, message_bytes: usize) -> Self {
        let known = |most: usize| if most == usize::MAX { 1 } else { most };
        let whole = Budget::new(known(each), known(known(each).saturating_mul(message_bytes)));
        Self { under_way: FuturesUnordered::new(), messages: 0, bytes: 0, wanted: 1, most, each, whole }
    }

    /// Starts polls until there are as many as are wanted, or the budget is spoken for. Where a poll brings a few messages
    /// only, requests are what costs: what is left of the budget is kept until it is enough for a whole one.
    pub(super) fn top_up<F>(&mut self, budget: Budget, poll: impl Fn(Budget) -> F)
    where
        F: Future<Output = Result<Vec<Leased<H>>>> + Send + 'static,
    {
        while self.under_way.len() < self.wanted {
            let missing = self.wanted - self.under_way.len();
            let (messages, bytes) =
                (budget.messages.saturating_sub(self.messages), budget.bytes.saturating_sub(self.bytes));
            let whole = self.whole;
            if (messages < whole.messages || bytes < whole.bytes) && !self.under_way.is_empty() {
                return;
            }
            let share = Budget::new(
                messages.div_ceil(missing).max(whole.messages.min(messages)).clamp(1, self.each),
                bytes.div_ceil(missing).max(whole.bytes.min(bytes)).max(1),
            );
            self.messages += share.messages;
            self.bytes += share.bytes;
            let sent = Instant::now();
            let reply = poll(share);
            self.under_way.push(Box::pin(async move { (share, sent, reply.await) }));
        }
    }

    /// The next reply, and when its request was sent. Cancel-safe. Waits for ever while nothing is under way.
    pub(super) async fn next(&mut self) -> (Instant, Result<Vec<Leased<H>>>) {
        let Some((share, sent, outcome)) = self.under_way.next().await else {
            return std::future::pending().await;
        };
        self.messages -= share.messages;
        self.bytes -= share.bytes;
        self.wanted = match &outcome {
            Ok(batch) if batch.len() >= share.messages => (self.wanted + 1).min(self.most),
            Ok(batch) if batch.is_empty() => self.wanted.saturating_sub(1).max(1),
            Ok(_) => self.wanted,
            Err(_) => 1,
        };
        (sent, outcome)
    }

    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Drops them: what they would have brought comes again when its lease runs out.
    pub(super) fn clear(&mut self) {
        self.under_way.clear();
        (self.messages, self.bytes) = (0, 0);
    }
}

impl<H> std::fmt::Debug for Polls<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polls")
            .field("under_way", &self.under_way.len())
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The budgets of the polls that are started when as many as may be are wanted.
    fn started(mut polls: Polls<()>, budget: Budget) -> Vec<(usize, usize)> {
        let started = RefCell::new(Vec::new());
        polls.wanted = polls.most;
        polls.top_up(budget, |share| {
            started.borrow_mut().push((share.messages, share.bytes));
            std::future::pending()
        });
        started.into_inner()
    }

    #[test]
    fn a_budget_is_shared_among_whole_polls() {
        let few = || Polls::new(8, 10, 100);
        assert_eq!(started(few(), Budget::new(1000, 8000)), [(10, 1000); 8]);
        assert_eq!(started(few(), Budget::new(1000, 3999)), [(10, 1000), (10, 1000), (10, 1000)]);
        assert_eq!(started(few(), Budget::new(25, 80_000)).iter().map(|share| share.0).collect::<Vec<_>>(), [10, 10]);
        assert_eq!(started(few(), Budget::new(3, 50)), [(3, 50)], "there is none that might bring more");
        assert_eq!(started(few(), Budget::new(0, 0)), [(1, 1)], "one is always under way");
    }

    #[test]
    fn where_a_poll_brings_whatever_is_asked_for_they_share_alike() {
        assert_eq!(started(Polls::new(2, usize::MAX, usize::MAX), Budget::new(10, 10)), [(5, 5), (5, 5)]);
        assert_eq!(started(Polls::new(2, 10, usize::MAX), Budget::new(100, 10)), [(10, 5), (10, 5)]);
    }
}
