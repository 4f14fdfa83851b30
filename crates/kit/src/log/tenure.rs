use std::{
    collections::{HashSet, VecDeque},
    mem,
    sync::Arc,
    time::Instant,
    vec,
};

use strait_core::{Budget, ClaimState, Error, Grant, Origin, Position, Received, Token, planted};
use tokio::sync::Notify;

use super::{
    Partition, Progress, Record, Start,
    calls::Calls,
    quarantine::Isolation,
    reading::{Ended, Reading},
};
use crate::Ledger;

/// A partition that is ours.
#[derive(Debug)]
pub(super) struct Tenure {
    pub(super) partition: Arc<str>,
    pub(super) epoch: u64,
    pub(super) grant: Grant,
    /// From before the partition was read again, with claims that are left.
    former: Vec<Grant>,
    /// Where it started.
    start: Start,
    pub(super) ledger: Ledger<Position>,
    pub(super) pages: VecDeque<vec::IntoIter<Record>>,
    /// What was settled before the partition was read again.
    skip: HashSet<Position>,
    pub(super) committed: Option<Position>,
    /// Set while it is in quarantine.
    pub(super) isolation: Option<Isolation>,
    /// What it became, once it is read to its end.
    pub(super) children: Option<Vec<Partition>>,
    /// When it is handed over, drained or not.
    pub(super) deadline: Option<Instant>,
    /// Tells the reader that there may be room.
    pub(super) room: Arc<Notify>,
    /// Who reads it, and who did before and may not have ended yet.
    pub(super) reading: Option<Reading>,
    pub(super) former_readers: Vec<Ended>,
    /// What is asked of the ownership for it.
    pub(super) calls: Calls,
    /// Why it cannot be read, where that does not mend itself, until somebody is told.
    pub(super) error: Option<Error>,
    /// Since when the oldest entry waits.
    stuck: Option<(Option<Position>, Instant)>,
}

impl Tenure {
    pub(super) fn new(
        partition: Arc<str>,
        epoch: u64,
        start: Start,
        until: Option<Instant>,
        isolation: Option<Isolation>,
    ) -> Self {
        Self {
            grant: Grant::new(Some(Arc::clone(&partition)), until),
            former: Vec::new(),
            partition,
            epoch,
            start,
            ledger: Ledger::default(),
            pages: VecDeque::new(),
            skip: HashSet::new(),
            committed: None,
            isolation,
            children: None,
            deadline: None,
            room: Arc::new(Notify::new()),
            reading: None,
            former_readers: Vec::new(),
            calls: Calls::default(),
            error: None,
            stuck: None,
        }
    }

    pub(super) fn is_ours(&self, now: impl FnOnce() -> Instant) -> bool {
        self.grant.state(now) != ClaimState::Lost
    }

    /// Whether a claim was dropped that is not settled: it stands in the way of the watermark for ever. Settled entries
    /// may still be claimed for a moment, so that there can be more claims than unsettled entries, never fewer.
    pub(super) fn is_broken(&self, now: impl FnOnce() -> Instant) -> bool {
        self.grant.claims() < self.ledger.unsettled()
            && self.grant.state(now) == ClaimState::Held
            && !planted!("dropped-claim-kept-log")
    }

    /// Where a reader begins that knows nothing else.
    pub(super) fn begin(&self) -> Start {
        self.ledger.watermark().map_or_else(|| self.start.clone(), |position| Start::After(position.clone()))
    }

    /// What is handed out next.
    pub(super) fn coming(&self) -> Option<&Position> {
        self.pages.front()?.as_slice().first().map(|record| &record.position)
    }

    /// What is settled and not committed.
    pub(super) fn progress(&self) -> Option<Progress> {
        let position = self.ledger.watermark().filter(|position| self.committed.as_ref() != Some(position))?;
        Some(Progress { partition: Arc::clone(&self.partition), epoch: self.epoch, position: position.clone() })
    }

    /// Loses every claim. Returns the grants of which some are left.
    pub(super) fn give_up(&mut self) -> Vec<Grant> {
        self.grant.lose();
        let grant = mem::replace(&mut self.grant, Grant::new(None, None));
        let mut grants = mem::take(&mut self.former);
        grants.push(grant);
        grants.retain(|grant| !grant.is_idle());
        grants
    }

    /// Stops reading. Returns when the reader is closed, if it was not known to be.
    pub(super) fn stop_reading(&mut self) -> Option<Ended> {
        self.former_readers.extend(self.reading.take().map(Reading::stop));
        self.former_readers.retain(|reader| !reader.has());
        self.former_readers.last().cloned() // each begins once those before it have ended
    }

    /// Whether nothing of it is in hand any more, or it is out of time, and it is to be handed over.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| self.grant.is_idle() || deadline <= now)
    }

    /// What it became, once it is read to its end and settled.
    pub(super) fn finished(&self) -> Option<Vec<Partition>> {
        let over = self.pages.is_empty() && self.ledger.span() == 0;
        self.children.clone().filter(|_| over)
    }

    /// Begins anew, from the watermark. What was settled above is not delivered again. Returns the new one, and how many
    /// claims of the old one were lost.
    pub(super) fn again(mut self) -> (Self, usize) {
        let (lost, until) = (self.grant.claims(), self.grant.until());
        let isolation = self.isolation.take().map(Isolation::again);
        let former = self.give_up();
        self.stop_reading();
        let mut new = Self::new(Arc::clone(&self.partition), self.epoch, self.begin(), until, isolation);
        new.former = former;
        new.former_readers = mem::take(&mut self.former_readers);
        new.calls = mem::take(&mut self.calls);
        new.committed = self.committed.take();
        new.skip = mem::take(&mut self.skip);
        new.skip.extend(self.ledger.settled_above());
        (new, lost)
    }

    /// Since when the oldest unsettled entry waits.
    pub(super) fn oldest(&mut self, now: Instant) -> Option<Instant> {
        if self.ledger.span() == 0 {
            self.stuck = None;
            return None;
        }
        match &self.stuck {
            Some((watermark, since)) if watermark.as_ref() == self.ledger.watermark() => Some(*since),
            _ => {
                self.stuck = Some((self.ledger.watermark().cloned(), now));
                Some(now)
            }
        }
    }

    /// Moves records from the pages into `batch`: each is entered in the ledger and claimed.
    pub(super) fn hand_out(&mut self, number: u32, budget: Budget, bytes: &mut usize, batch: &mut Vec<Received>) {
        loop {
            self.skip_settled();
            let Some(page) = self.pages.front_mut() else { return };
            // As many as fit, up to the next that is to be skipped. Counted first, so that each is moved once.
            let fits = |record: &&Record| {
                let fits = *bytes < budget.bytes && (self.skip.is_empty() || !self.skip.contains(&record.position));
                *bytes += if fits { record.message.size() } else { 0 };
                fits
            };
            let room = budget.messages - batch.len();
            let count = page.as_slice().iter().take(room).take_while(fits).count();
            if count == 0 {
                return;
            }
            let isolation = self.isolation.as_ref();
            batch.extend(page.by_ref().take(count).map(|Record { message, position, stored_at }| {
                let entry = self.ledger.record(position.clone());
                let claim = self.grant.claim(Token { source: number, entry });
                let crashes = isolation.map_or(0, |isolation| isolation.crashes(&position));
                let origin = Origin::new(position).with_crashes(crashes);
                let origin = if let Some(time) = stored_at { origin.with_stored_at(time) } else { origin };
                Received::new(message, claim, origin)
            }));
        }
    }

    /// Enters in the ledger what comes next and was settled before, and lets go of pages that are done with. Progress
    /// does not wait for somebody to ask for what is behind it.
    pub(super) fn skip_settled(&mut self) {
        while let Some(page) = self.pages.front_mut() {
            while !self.skip.is_empty()
                && let Some(record) = page.as_slice().first()
                && self.skip.remove(&record.position)
            {
                let entry = self.ledger.record(record.position.clone());
                self.ledger.settle(entry);
                page.next();
            }
            if page.len() > 0 {
                return;
            }
            self.pages.pop_front();
            self.room.notify_one();
        }
    }
}
