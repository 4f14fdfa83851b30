use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Instant,
    vec,
};

use strait_core::{Budget, ClaimState, Error, ErrorKind, Grant, Origin, Position, Received, Result, Token, planted};
use tokio::{sync::Notify, task::AbortHandle};

use super::{LogSettings, Partition, Progress, Record, Start, quarantine::Isolation};
use crate::{Ledger, answers::Answers};

/// How many pages may wait for each partition: one being handed out, and the next.
const PAGES: usize = 2;

/// The partitions in hand, by tenure: a partition lost and regained is not the same.
///
/// No calls and no tasks: readers bring pages, `receive` takes from them in turn, and the driver asks what is to be
/// committed and handed over. What waits in a page holds no claim, so that nobody minds if it is dropped.
#[derive(Debug, Default)]
pub(super) struct Tenures {
    held: BTreeMap<u32, Tenure>,
    /// What was lost, and claims of it are left.
    past: Vec<Past>,
    next: u32,
    /// The tenures with something to hand out, in turn.
    turns: VecDeque<u32>,
    /// What readers could not mend by themselves.
    pub(super) errors: VecDeque<Error>,
    answers: Answers,
    /// A reader was answered, and whoever receives is to be told.
    pub(super) answered: bool,
    /// The tenure in quarantine that has a message in hand, and since when.
    pub(super) trial: Option<(u32, Instant)>,
}

/// A tenure that was lost, and its claims.
#[derive(Debug)]
struct Past {
    partition: Arc<str>,
    epoch: u64,
    grants: Vec<Grant>,
}

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
    pages: VecDeque<vec::IntoIter<Record>>,
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
    reader: Option<AbortHandle>,
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
            reader: None,
            stuck: None,
        }
    }

    fn is_ours(&self, now: impl FnOnce() -> Instant) -> bool {
        self.grant.state(now) != ClaimState::Lost
    }

    /// Whether a claim was dropped that is not settled: it stands in the way of the watermark for ever. Settled entries
    /// may still be claimed for a moment, so that there can be more claims than unsettled entries, never fewer.
    fn is_broken(&self, now: impl FnOnce() -> Instant) -> bool {
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

    fn progress(&self) -> Option<Progress> {
        let position = self.ledger.watermark().filter(|position| self.committed.as_ref() != Some(position))?;
        Some(Progress { partition: Arc::clone(&self.partition), epoch: self.epoch, position: position.clone() })
    }

    /// Loses every claim. Returns the grants of which some are left.
    fn give_up(&mut self) -> Vec<Grant> {
        self.grant.lose();
        let grant = std::mem::replace(&mut self.grant, Grant::new(None, None));
        let mut grants = std::mem::take(&mut self.former);
        grants.push(grant);
        grants.retain(|grant| !grant.is_idle());
        grants
    }

    /// Moves records from the pages into `batch`: each is entered in the ledger and claimed.
    fn hand_out(&mut self, number: u32, budget: Budget, bytes: &mut usize, batch: &mut Vec<Received>) {
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
    fn skip_settled(&mut self) {
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

impl Drop for Tenure {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl Tenures {
    /// Begins a tenure. Returns its number.
    pub(super) fn begin(&mut self, tenure: Tenure) -> u32 {
        let number = self.next;
        self.next += 1;
        self.held.insert(number, tenure);
        for other in self.held.values() {
            other.room.notify_one(); // the shares have changed
        }
        number
    }

    pub(super) fn read_by(&mut self, number: u32, reader: AbortHandle) {
        match self.held.get_mut(&number) {
            Some(tenure) => tenure.reader = Some(reader),
            None => reader.abort(),
        }
    }

    /// Ends a tenure: its claims are lost. Returns it, for its name.
    pub(super) fn end(&mut self, number: u32) -> Option<Tenure> {
        let ended = self.held.remove(&number);
        for other in self.held.values() {
            other.room.notify_one();
        }
        ended
    }

    /// Ends a tenure that is not ours any more, and remembers it until its claims are gone. Returns its partition, and
    /// how many claims it had.
    pub(super) fn lose(&mut self, number: u32) -> Option<(Arc<str>, usize)> {
        let mut tenure = self.end(number)?;
        let partition = Arc::clone(&tenure.partition);
        let claims = tenure.grant.claims();
        self.past.push(Past { partition: Arc::clone(&partition), epoch: tenure.epoch, grants: tenure.give_up() });
        Some((partition, claims))
    }

    /// Whether there is something of which claims may be left.
    pub(super) fn has_past(&self) -> bool {
        !self.past.is_empty()
    }

    /// Forgets what was lost and of which no claim is left, and returns it.
    pub(super) fn over(&mut self) -> Vec<(Arc<str>, u64)> {
        let over = self.past.extract_if(.., |past| past.grants.iter().all(Grant::is_idle));
        over.map(|past| (past.partition, past.epoch)).collect()
    }

    /// Everything is ours until then. Returns what had ended before.
    pub(super) fn renew(&self, until: Instant, now: Instant) -> Vec<u32> {
        // One that drains may be over already; it is still to be handed over.
        let ended = |tenure: &Tenure| !tenure.grant.renew(Some(until), now) && tenure.deadline.is_none();
        self.held.iter().filter(|(_, tenure)| ended(tenure)).map(|(number, _)| *number).collect()
    }

    /// Ends every tenure: all claims are lost, and all readers stop.
    pub(super) fn end_all(&mut self) {
        self.held.clear();
    }

    pub(super) fn get(&self, number: u32) -> Option<&Tenure> {
        self.held.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Tenure> {
        self.held.get_mut(&number)
    }

    pub(super) fn find(&self, partition: &str, epoch: u64) -> Option<u32> {
        let found = self.held.iter().find(|(_, tenure)| &*tenure.partition == partition && tenure.epoch == epoch);
        found.map(|(number, _)| *number)
    }

    pub(super) fn of_partition(&self, partition: &str) -> Option<u32> {
        self.held.iter().find(|(_, tenure)| &*tenure.partition == partition).map(|(number, _)| *number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Tenure)> {
        self.held.iter().map(|(number, tenure)| (*number, tenure))
    }

    /// How much a reader may bring now: a partition holds at most its share of the buffer.
    pub(super) fn room(&self, number: u32, settings: &LogSettings) -> Option<Budget> {
        let tenure = self.held.get(&number)?;
        let owned = self.held.len();
        let share = if planted!("unbounded-share") { 1 << 20 } else { (settings.buffer / owned).max(1) };
        let waiting: usize = tenure.pages.iter().map(ExactSizeIterator::len).sum();
        let messages = share.saturating_sub(tenure.ledger.span() + waiting).min(settings.page);
        let open = messages > 0 && tenure.pages.len() < PAGES && tenure.deadline.is_none();
        Some(if open {
            Budget::new(messages, (settings.buffer_bytes / owned / PAGES).max(1))
        } else {
            Budget::new(0, 0)
        })
    }

    /// Takes in a page.
    pub(super) fn arrive(&mut self, number: u32, records: Vec<Record>) {
        let Some(tenure) = self.held.get_mut(&number) else { return };
        let is_turn = tenure.pages.is_empty();
        tenure.pages.push_back(records.into_iter());
        tenure.skip_settled();
        if is_turn && !tenure.pages.is_empty() {
            self.turns.push_back(number);
        }
    }

    /// A reader was answered at `now`, and nothing new was there. Returns whether whoever receives is to be told.
    pub(super) fn answered(&mut self, now: Instant) -> bool {
        self.answered |= self.answers.is_news(now);
        self.answered
    }

    /// It has something to hand out again.
    pub(super) fn take_turn(&mut self, number: u32) {
        if !self.turns.contains(&number) && self.held.get(&number).is_some_and(|tenure| !tenure.pages.is_empty()) {
            self.turns.push_back(number);
        }
    }

    /// What is handed out next: from each partition in turn, as far as the budget goes.
    pub(super) fn hand_out(&mut self, budget: Budget, now: impl Fn() -> Instant) -> Vec<Received> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for _ in 0..self.turns.len() {
            if batch.len() >= budget.messages || bytes >= budget.bytes {
                break;
            }
            let Some(number) = self.turns.pop_front() else { break };
            let Some(tenure) = self.held.get_mut(&number) else { continue };
            if tenure.grant.state(&now) != ClaimState::Held {
                tenure.pages.clear();
                continue;
            }
            if tenure.is_broken(&now) {
                continue; // what is behind the dropped claim waits until the partition is read again
            }
            let budget = match tenure.isolation.as_mut().map(Isolation::may_go) {
                None => budget,
                Some(true) => Budget::new(batch.len() + 1, budget.bytes),
                Some(false) => continue, // until it is named
            };
            if batch.is_empty() {
                batch.reserve(tenure.pages.iter().map(ExactSizeIterator::len).sum::<usize>().min(budget.messages));
            }
            tenure.hand_out(number, budget, &mut bytes, &mut batch);
            if !tenure.pages.is_empty() && tenure.isolation.is_none() {
                self.turns.push_back(number);
            }
        }
        batch
    }

    /// Settles in the ledgers. One outcome a token.
    pub(super) fn settle(
        &mut self,
        tokens: &[Token],
        settings: &LogSettings,
        now: impl Fn() -> Instant,
    ) -> Vec<Result<()>> {
        let owned = self.held.len().max(1);
        let mut outcomes = Vec::with_capacity(tokens.len());
        for run in tokens.chunk_by(|a, b| a.source == b.source) {
            let tenure = self.held.get_mut(&run[0].source).filter(|tenure| tenure.is_ours(&now));
            let Some(tenure) = tenure else {
                let lost = || Err(Error::new(ErrorKind::Lost, "the partition was lost, and the message comes again"));
                outcomes.extend(std::iter::repeat_with(lost).take(run.len()));
                continue;
            };
            let was_full = tenure.ledger.span() + settings.page > settings.buffer / owned;
            tenure.ledger.settle_all(run.iter().map(|token| token.entry));
            outcomes.extend(std::iter::repeat_with(|| Ok(())).take(run.len()));
            if was_full {
                tenure.room.notify_one();
            }
        }
        outcomes
    }

    /// What is settled and not committed.
    pub(super) fn progress(&self) -> (Vec<u32>, Vec<Progress>) {
        self.held.iter().filter_map(|(number, tenure)| Some((*number, tenure.progress()?))).unzip()
    }

    /// The same of one tenure.
    pub(super) fn progress_of(&self, number: u32) -> (Vec<u32>, Vec<Progress>) {
        self.held.get(&number).and_then(Tenure::progress).map(|progress| (number, progress)).into_iter().unzip()
    }

    pub(super) fn committed(&mut self, number: u32, position: Position) {
        if let Some(tenure) = self.held.get_mut(&number) {
            tenure.committed = Some(position);
        }
    }

    /// Starts to drain a tenure: what was started goes on to settlement until the deadline, the rest is given back.
    pub(super) fn drain(&mut self, number: u32, deadline: Instant) {
        if let Some(tenure) = self.held.get_mut(&number) {
            tenure.grant.drain();
            tenure.deadline.get_or_insert(deadline);
            tenure.pages.clear();
        }
    }

    /// Hands over at once what drains already.
    pub(super) fn hurry(&mut self, deadline: Instant) {
        for draining in self.held.values_mut().filter_map(|tenure| tenure.deadline.as_mut()) {
            *draining = deadline.min(*draining);
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.held.values().any(|tenure| tenure.deadline.is_some() || tenure.children.is_some())
    }

    /// What is to be handed over: drained, or out of time.
    pub(super) fn drained(&self, now: Instant) -> Vec<u32> {
        let drained =
            |tenure: &Tenure| tenure.deadline.is_some_and(|deadline| tenure.grant.is_idle() || deadline <= now);
        self.held.iter().filter(|(_, tenure)| drained(tenure)).map(|(number, _)| *number).collect()
    }

    /// What is read to its end, and settled.
    pub(super) fn finished(&self) -> Vec<u32> {
        let finished = |tenure: &Tenure| {
            tenure.children.is_some()
                && tenure.pages.is_empty()
                && tenure.ledger.span() == 0
                && tenure.progress().is_none()
        };
        self.held.iter().filter(|(_, tenure)| finished(tenure)).map(|(number, _)| *number).collect()
    }

    /// Tenures that ended by themselves, without anybody having said so.
    pub(super) fn lapsed(&self, now: impl Fn() -> Instant) -> Vec<u32> {
        let lapsed = |tenure: &Tenure| tenure.deadline.is_none() && !tenure.is_ours(&now);
        self.held.iter().filter(|(_, tenure)| lapsed(tenure)).map(|(number, _)| *number).collect()
    }

    /// Tenures of which a claim was dropped.
    pub(super) fn broken(&self, now: impl Fn() -> Instant) -> Vec<u32> {
        self.held.iter().filter(|(_, tenure)| tenure.is_broken(&now)).map(|(number, _)| *number).collect()
    }

    /// Begins a tenure anew, from its watermark. What was settled above is not delivered again. Returns its number.
    pub(super) fn begin_again(&mut self, number: u32) -> Option<(u32, usize)> {
        let mut old = self.held.remove(&number)?;
        let lost = old.grant.claims();
        let until = old.grant.until();
        let former = old.give_up();
        let isolation = old.isolation.take().map(Isolation::again);
        let mut new = Tenure::new(Arc::clone(&old.partition), old.epoch, old.begin(), until, isolation);
        new.committed = old.committed.take();
        let mut skip = std::mem::take(&mut old.skip);
        skip.extend(std::mem::take(&mut old.ledger).settled_above());
        new.skip = skip;
        new.former = former;
        Some((self.begin(new), lost))
    }

    /// Since when the oldest unsettled entry waits, over all partitions.
    pub(super) fn oldest(&mut self, now: Instant) -> Option<Instant> {
        let since = self.held.values_mut().filter_map(|tenure| {
            if tenure.ledger.span() == 0 {
                tenure.stuck = None;
                return None;
            }
            match &tenure.stuck {
                Some((watermark, since)) if watermark.as_ref() == tenure.ledger.watermark() => Some(*since),
                _ => {
                    tenure.stuck = Some((tenure.ledger.watermark().cloned(), now));
                    Some(now)
                }
            }
        });
        since.min()
    }
}
