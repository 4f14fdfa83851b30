use std::{
    collections::HashSet,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use strait_core::{Budget, ClaimState, Error, Grant, Origin, Position, Received, Token, planted};
use tokio::sync::Notify;

use super::{
    Became, Progress, Record, Start,
    calls::Calls,
    pages::Pages,
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
    /// Where it started, and what is settled beyond that.
    start: Start,
    pub(super) settled: Option<Position>,
    /// Where it may be read from instead, if all that came is settled; what of that is stored, and since when nothing was.
    pub(super) resume: Option<Start>,
    pub(super) resumed: Option<Start>,
    pub(super) stored: Option<Instant>,
    pub(super) ledger: Ledger<Position>,
    pub(super) pages: Pages,
    /// How many bytes its reader may hold by itself.
    pub(super) ahead: usize,
    /// What was settled before the partition was read again.
    skip: HashSet<Position>,
    pub(super) committed: Option<Position>,
    /// Set while it is in quarantine.
    pub(super) isolation: Option<Isolation>,
    /// What it became, once it is read to its end.
    pub(super) became: Option<Became>,
    /// Whether its end is in doubt: it is to be read again.
    pub(super) doubted: bool,
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
        settled: Option<Position>,
        until: Option<Instant>,
        isolation: Option<Isolation>,
    ) -> Self {
        Self {
            grant: Grant::new(Some(Arc::clone(&partition)), until),
            former: Vec::new(),
            partition,
            epoch,
            start,
            settled,
            resume: None,
            resumed: None,
            stored: None,
            ledger: Ledger::default(),
            pages: Pages::default(),
            ahead: 0,
            skip: HashSet::new(),
            committed: None,
            isolation,
            became: None,
            doubted: false,
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

    /// Whether it has not ended after all, as far as is known. One that drains is handed over as it is.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.doubted && self.deadline.is_none()
    }

    /// Where a reader begins that knows nothing else.
    pub(super) fn begin(&self) -> Start {
        self.ledger.watermark().map_or_else(|| self.start.clone(), |position| Start::After(position.clone()))
    }

    /// What is handed out next.
    pub(super) fn coming(&self) -> Option<&Position> {
        self.pages.first().map(|record| &record.position)
    }

    /// What is settled and not committed.
    pub(super) fn progress(&self) -> Option<Progress> {
        let position = self.ledger.watermark().filter(|_| self.has_progress())?;
        Some(Progress { partition: Arc::clone(&self.partition), epoch: self.epoch, position: position.clone() })
    }

    /// Whether something is settled and not committed.
    pub(super) fn has_progress(&self) -> bool {
        self.ledger.watermark().is_some() && self.ledger.watermark() != self.committed.as_ref()
    }

    /// Where it is to be resumed at, once everything that came is settled and that is not stored yet. What was dropped
    /// unread, or is to be worked on alone, is before no place that was told.
    pub(super) fn rests_at(&self) -> Option<Start> {
        let rests = self.ledger.span() == 0 && self.pages.is_empty() && self.isolation.is_none();
        let rests = rests && self.became.is_none();
        self.resume.clone().filter(|resume| rests && self.resumed.as_ref() != Some(resume))
    }

    /// Whether that is to be stored now, since nothing was for so long.
    pub(super) fn is_resting_for(&self, interval: Duration, now: Instant) -> bool {
        let is_due = self.stored.is_some_and(|stored| now.saturating_duration_since(stored) >= interval);
        is_due && !self.has_progress() && self.rests_at().is_some()
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

    /// Drops what was read and not handed out: it is to be read again, and so is the end behind it.
    pub(super) fn drop_pages(&mut self) {
        if !self.pages.is_empty() {
            self.pages.clear();
            self.resume = None;
            if !planted!("finished-before-delivered") {
                self.became = None;
            }
        }
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
    pub(super) fn finished(&self) -> Option<Became> {
        let over = self.pages.is_empty() && self.ledger.span() == 0;
        self.became.clone().filter(|_| over)
    }

    /// Begins anew, from the watermark: every claim is lost. What was settled above is not delivered again.
    pub(super) fn again(mut self) -> Self {
        let until = self.grant.until();
        let isolation = self.isolation.take().map(Isolation::again);
        let former = self.give_up();
        self.stop_reading();
        let mut new =
            Self::new(Arc::clone(&self.partition), self.epoch, self.begin(), self.settled.take(), until, isolation);
        (new.resumed, new.stored) = (self.resumed.take(), self.stored);
        new.former = former;
        new.former_readers = mem::take(&mut self.former_readers);
        new.calls = mem::take(&mut self.calls);
        new.committed = self.committed.take();
        new.ledger = Ledger::behind(self.ledger.watermark().cloned()); // which may not be committed yet
        new.skip = mem::take(&mut self.skip);
        new.skip.extend(self.ledger.settled_above());
        new
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

    /// How many bytes it holds: read ahead, by the engine or by its reader, and delivered and not settled.
    pub(super) fn bytes(&self) -> usize {
        self.ahead + self.pages.bytes() + self.ledger.unsettled_bytes()
    }

    /// How much its reader may bring now, if anything: it holds at most its `share`, and brings at most a part of that at
    /// once. A message may exceed what is left, so that one comes also where the share is smaller than it.
    pub(super) fn room(&self, share: Budget, page: usize) -> Option<Budget> {
        let messages = share.messages.saturating_sub(self.ledger.span() + self.pages.messages()).min(page);
        let held = if planted!("delivered-bytes-not-counted") { self.pages.bytes() } else { self.bytes() };
        let bytes = share.bytes.saturating_sub(held).min(share.bytes / Pages::MOST);
        let is_empty = held == self.ahead;
        let open = messages > 0 && (bytes > 0 || is_empty) && !self.pages.are_enough() && self.deadline.is_none();
        open.then(|| Budget::new(messages, bytes.max(1)))
    }

    /// Whether there is room for less than a page, of a share and of pages as above.
    pub(super) fn is_nearly_full(&self, share: Budget, page: usize) -> bool {
        self.ledger.span() + page > share.messages || self.bytes() + share.bytes / Pages::MOST > share.bytes
    }

    /// Moves records from the pages into `batch`: each is entered in the ledger and claimed. The watermark stays: what is
    /// skipped at the head of the pages was skipped when it arrived, and what is behind these waits for them.
    pub(super) fn hand_out(&mut self, number: u32, budget: Budget, bytes: &mut usize, batch: &mut Vec<Received>) {
        loop {
            self.skip_settled();
            // As many as fit, up to the next that is to be skipped.
            let is_new = |record: &Record| self.skip.is_empty() || !self.skip.contains(&record.position);
            let count = self.pages.fit(budget.messages - batch.len(), budget.bytes, bytes, is_new);
            if count == 0 {
                return;
            }
            let isolation = self.isolation.as_ref();
            self.pages.hand(count, batch, |Record { message, position, stored_at }, bytes| {
                let entry = self.ledger.record(position.clone(), bytes);
                let claim = self.grant.claim(Token { source: number, entry });
                let crashes = isolation.map_or(0, |isolation| isolation.crashes(&position));
                let origin = Origin::new(position).with_crashes(crashes);
                let origin = if let Some(time) = stored_at { origin.with_stored_at(time) } else { origin };
                Received::new(message, claim, origin)
            });
        }
    }

    /// Enters in the ledger what comes next and was settled before, and lets go of pages that are done with. Progress
    /// does not wait for somebody to ask for what is behind it. Returns whether the watermark moved.
    pub(super) fn skip_settled(&mut self) -> bool {
        let mut moved = false;
        loop {
            while !self.skip.is_empty()
                && let Some(record) = self.pages.first()
                && self.skip.remove(&record.position)
            {
                let entry = self.ledger.record(record.position.clone(), 0);
                moved |= self.ledger.settle(entry);
                self.pages.skip();
            }
            if !self.pages.turn() {
                return moved;
            }
            self.room.notify_one();
        }
    }
}
