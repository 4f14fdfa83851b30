use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    time::Instant,
};

use strait_core::{Budget, ClaimState, Error, ErrorKind, Grant, Position, Received, Result, Token, planted};
use tokio::sync::Notify;

use super::{
    LogSettings, Start,
    pages::Measured,
    quarantine::Isolation,
    reading::{Ended, Reading},
    tenure::Tenure,
};
use crate::answers::Answers;

/// The part of its share that a reader may hold by itself.
const AHEAD: usize = 4;

/// The partitions in hand, by tenure: a partition lost and regained is not the same.
///
/// No calls and no tasks: readers bring pages, `receive` takes from them in turn, and the driver asks what is to be
/// committed and handed over. What waits in a page holds no claim, so that nobody minds if it is dropped.
#[derive(Debug, Default)]
pub(super) struct Tenures {
    held: BTreeMap<u32, Tenure>,
    /// What was lost, and goes on in part.
    past: Vec<Past>,
    next: u32,
    /// The tenures with something to hand out, in turn.
    turns: VecDeque<u32>,
    answers: Answers,
    /// Something may have to be asked of the ownership.
    work: Arc<Notify>,
    /// Whether that is also to be said once a watermark moves: nothing waits to be stored.
    pub(super) awaits_progress: bool,
    /// A reader was answered, and whoever receives is to be told.
    pub(super) answered: bool,
    /// The tenure in quarantine that has a message in hand, and since when.
    pub(super) trial: Option<(u32, Instant)>,
    /// The tenure in quarantine of which a message is being named.
    pub(super) naming: Option<u32>,
    /// Nothing is read any more.
    is_over: bool,
}

/// A tenure that was lost, its claims, and its reader.
#[derive(Debug)]
struct Past {
    partition: Arc<str>,
    epoch: u64,
    grants: Vec<Grant>,
    reader: Option<Ended>,
}

impl Past {
    /// Whether nothing of it goes on any more.
    fn is_over(&self) -> bool {
        self.grants.iter().all(Grant::is_idle) && self.reader.as_ref().is_none_or(Ended::has)
    }
}

impl Tenures {
    /// None. `work` tells that something may have to be asked of the ownership.
    pub(super) fn new(work: Arc<Notify>) -> Self {
        Self { work, ..Self::default() }
    }

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

    /// It is read from now on. Returns who read the partition before, and may not have ended yet; nothing if the tenure is
    /// over already.
    pub(super) fn read_by(&mut self, number: u32, reading: Reading) -> Option<Vec<Ended>> {
        let tenure = self.held.get_mut(&number).filter(|_| !self.is_over)?;
        tenure.reading = Some(reading);
        let mut former = tenure.former_readers.clone();
        let past = self.past.iter().filter(|past| past.partition == tenure.partition);
        former.extend(past.filter_map(|past| past.reader.clone()));
        Some(former)
    }

    /// Ends a tenure: its claims are lost. Returns it, for its name.
    pub(super) fn end(&mut self, number: u32) -> Option<Tenure> {
        let ended = self.held.remove(&number);
        for other in self.held.values() {
            other.room.notify_one();
        }
        ended
    }

    /// Ends a tenure that is not ours any more, and remembers it until its claims are gone. Returns its partition.
    pub(super) fn lose(&mut self, number: u32) -> Option<Arc<str>> {
        let mut tenure = self.end(number)?;
        let partition = Arc::clone(&tenure.partition);
        let (reader, grants) = (tenure.stop_reading(), tenure.give_up());
        self.past.push(Past { partition: Arc::clone(&partition), epoch: tenure.epoch, grants, reader });
        Some(partition)
    }

    /// Whether something that was lost may go on in part.
    pub(super) fn has_past(&self) -> bool {
        !self.past.is_empty()
    }

    /// Forgets what was lost and of which nothing goes on, and returns it.
    pub(super) fn over(&mut self) -> Vec<(Arc<str>, u64)> {
        let over = self.past.extract_if(.., |past| past.is_over());
        over.map(|past| (past.partition, past.epoch)).collect()
    }

    /// Everything is ours until then. Returns what had ended before.
    pub(super) fn renew(&self, until: Instant, now: Instant) -> Vec<u32> {
        // One that drains may be over already; it is still to be handed over.
        let ended = |tenure: &Tenure| !tenure.grant.renew(Some(until), now) && tenure.deadline.is_none();
        self.held.iter().filter(|(_, tenure)| ended(tenure)).map(|(number, _)| *number).collect()
    }

    /// Ends every tenure: all claims are lost, and all readers stop. Returns the readers that have not ended yet.
    pub(super) fn end_all(&mut self) -> Vec<Ended> {
        self.is_over = true;
        let held = mem::take(&mut self.held).into_values().filter_map(|mut tenure| tenure.stop_reading());
        held.chain(self.past.drain(..).filter_map(|past| past.reader)).collect()
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

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Tenure)> {
        self.held.iter_mut().map(|(number, tenure)| (*number, tenure))
    }

    /// A partition cannot be read, and that does not mend itself.
    pub(super) fn report(&mut self, number: u32, error: Error) {
        if let Some(tenure) = self.held.get_mut(&number) {
            tenure.error = Some(error);
        }
    }

    /// Why a partition cannot be read. Each is told once.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        self.held.values_mut().find_map(|tenure| tenure.error.take())
    }

    /// What a partition may hold of the buffer.
    fn share(&self, settings: &LogSettings) -> Budget {
        let owned = self.held.len().max(1);
        let messages = if planted!("unbounded-share") { 1 << 20 } else { (settings.buffer / owned).max(1) };
        Budget::new(messages, settings.buffer_bytes / owned)
    }

    /// How many bytes a reader may hold by itself that is opened now.
    pub(super) fn ahead(&self, settings: &LogSettings) -> usize {
        self.share(settings).bytes / AHEAD
    }

    /// How many bytes the reader of a tenure may hold by itself, until it says otherwise.
    pub(super) fn reads_ahead(&mut self, number: u32, bytes: usize) {
        if let Some(tenure) = self.held.get_mut(&number) {
            tenure.ahead = bytes;
        }
    }

    /// How many messages and bytes are held, over all partitions.
    pub(super) fn sizes(&self) -> (usize, usize) {
        let sizes =
            self.held.values().map(|tenure| (tenure.ledger.unsettled() + tenure.pages.messages(), tenure.bytes()));
        sizes.fold((0, 0), |(messages, bytes), (more, size)| (messages + more, bytes + size))
    }

    /// How much a reader may bring now, if anything, and what tells it that there may be more room: a partition holds at
    /// most its share of the buffer.
    pub(super) fn room(&self, number: u32, settings: &LogSettings) -> Option<(Option<Budget>, Arc<Notify>)> {
        let tenure = self.held.get(&number)?;
        Some((tenure.room(self.share(settings), settings.page), Arc::clone(&tenure.room)))
    }

    /// Takes in a page, and where the partition may be resumed behind it.
    pub(super) fn arrive(&mut self, number: u32, page: Measured, resume: Option<Start>) {
        let Some(tenure) = self.held.get_mut(&number) else { return };
        tenure.resume = resume;
        let is_turn = tenure.pages.is_empty();
        tenure.pages.push(page);
        let moved = tenure.skip_settled();
        if is_turn && !tenure.pages.is_empty() {
            self.turns.push_back(number);
        }
        self.progressed(moved);
    }

    /// Says so if a watermark moved, where that is awaited.
    fn progressed(&mut self, moved: bool) {
        if moved && mem::take(&mut self.awaits_progress) {
            self.work.notify_one();
        }
    }

    /// Whether progress was made that is not stored.
    pub(super) fn has_progress(&self) -> bool {
        self.held.values().any(Tenure::has_progress)
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
        let turns = self.turns.iter().filter_map(|number| self.held.get(number));
        let waiting: usize = turns.map(|tenure| tenure.pages.messages()).sum();
        let mut batch = Vec::with_capacity(waiting.min(budget.messages));
        let mut bytes = 0;
        for _ in 0..self.turns.len() {
            if batch.len() >= budget.messages || bytes >= budget.bytes {
                break;
            }
            let Some(number) = self.turns.pop_front() else { break };
            let Some(tenure) = self.held.get_mut(&number) else { continue };
            if tenure.grant.state(&now) != ClaimState::Held {
                tenure.drop_pages();
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
        let share = self.share(settings);
        let (mut outcomes, mut moved) = (Vec::with_capacity(tokens.len()), false);
        for run in tokens.chunk_by(|a, b| a.source == b.source) {
            let tenure = self.held.get_mut(&run[0].source).filter(|tenure| tenure.is_ours(&now));
            let Some(tenure) = tenure else {
                let lost = || Err(Error::new(ErrorKind::Lost, "the partition was lost, and the message comes again"));
                outcomes.extend(std::iter::repeat_with(lost).take(run.len()));
                continue;
            };
            let was_full = tenure.is_nearly_full(share, settings.page);
            moved |= tenure.ledger.settle_all(run.iter().map(|token| token.entry));
            outcomes.extend(std::iter::repeat_with(|| Ok(())).take(run.len()));
            if was_full {
                tenure.room.notify_one();
            }
        }
        self.progressed(moved);
        outcomes
    }

    pub(super) fn committed(&mut self, number: u32, position: Position, now: Instant) {
        if let Some(tenure) = self.held.get_mut(&number) {
            tenure.committed = Some(position);
            (tenure.stored, tenure.resumed) = (Some(now), None);
        }
    }

    /// Starts to drain a tenure: what was started goes on to settlement until the deadline, the rest is given back.
    pub(super) fn drain(&mut self, number: u32, deadline: Instant) {
        if let Some(tenure) = self.held.get_mut(&number) {
            tenure.grant.drain();
            tenure.deadline.get_or_insert(deadline);
            tenure.drop_pages();
            tenure.stop_reading();
        }
    }

    /// Hands over at once what drains already.
    pub(super) fn hurry(&mut self, deadline: Instant) {
        for draining in self.held.values_mut().filter_map(|tenure| tenure.deadline.as_mut()) {
            *draining = deadline.min(*draining);
        }
    }

    /// Tenures that ended by themselves, without anybody having said so.
    pub(super) fn lapsed(&self, now: impl Fn() -> Instant) -> Vec<u32> {
        let lapsed = |tenure: &Tenure| tenure.deadline.is_none() && !tenure.is_ours(&now);
        self.held.iter().filter(|(_, tenure)| lapsed(tenure)).map(|(number, _)| *number).collect()
    }

    /// Tenures of which a claim was dropped, or whose end is in doubt.
    pub(super) fn broken(&self, now: impl Fn() -> Instant) -> Vec<u32> {
        self.held
            .iter()
            .filter(|(_, tenure)| tenure.is_broken(&now) || tenure.is_in_doubt())
            .map(|(number, _)| *number)
            .collect()
    }

    /// Begins a tenure anew. Returns its number.
    pub(super) fn begin_again(&mut self, number: u32) -> Option<u32> {
        let new = self.held.remove(&number)?.again();
        Some(self.begin(new))
    }

    /// Since when the oldest unsettled entry waits, over all partitions.
    pub(super) fn oldest(&mut self, now: Instant) -> Option<Instant> {
        self.held.values_mut().filter_map(|tenure| tenure.oldest(now)).min()
    }
}
