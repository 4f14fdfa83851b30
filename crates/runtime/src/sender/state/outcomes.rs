use std::mem;

use strait_core::{Error, ErrorKind, Message, Receipt, Result, planted};
use tokio::time::Instant;

use super::{AfterFailure, Entry, GRACE, News, Request, Stage, State};
use crate::sender::{Outcome, ids::Ids, ticket::Ended};

/// What is known of a lane while the outcomes of its messages are brought.
#[derive(Debug, Default)]
struct Run {
    /// Where it goes on.
    head: Option<u32>,
    /// When what failed of it is sent again.
    again: Option<Instant>,
    /// Whether a message of it failed for good.
    broken: bool,
    /// Whether a message of it was out of time before the request ended.
    late: bool,
}

impl Run {
    /// Whether it differs from one that has not begun: mostly a lane is over with its first message.
    #[inline]
    fn has_begun(&self) -> bool {
        self.head.is_some() || self.broken || self.late
    }

    /// A message of it has its outcome, and `next` is first now, unless one before it is to be sent again.
    fn advance(&mut self, next: Option<u32>) {
        if self.again.is_none() {
            self.head = next;
        }
    }
}

impl State {
    /// Brings the outcomes of a request: ends what is decided, and makes the rest ready again.
    pub(in crate::sender) fn finish(&mut self, request: &mut Request, outcomes: Vec<Result<Receipt>>, news: &mut News) {
        self.requests -= 1;
        let outcomes = self.verified(outcomes, request.messages.len());
        let places = mem::take(&mut request.places);
        // One for all, so that what failed together is sent again together.
        let luck = fastrand::f64();
        let mut failed = None;
        let mut run = Run::default();
        for ((&(place, is_head), message), outcome) in places.iter().zip(&mut request.messages).zip(outcomes) {
            if is_head && run.has_begun() {
                self.end_run(&mem::take(&mut run), news);
            }
            let told = self.has_exceptions && self.is_told(place, outcome.is_ok(), news);
            match outcome {
                outcome if told => {
                    failed = outcome.err().map(|error| error.kind()).or(failed);
                    run.late = true;
                    let next = self.forget_told(place, news);
                    run.advance(next);
                }
                Ok(receipt) => {
                    let next = self.resolve(place, Outcome::Sent(receipt), news);
                    run.advance(next);
                }
                Err(error) => {
                    failed = Some(error.kind());
                    self.fail_attempt(place, mem::take(message), error, luck, &mut run, news);
                }
            }
        }
        self.end_run(&run, news);
        request.places = places;
        self.failures = match failed {
            Some(_) => (self.failures.0.saturating_add(1), failed),
            None => (0, None),
        };
        news.failed = failed.or(news.failed);
    }

    /// As many outcomes as messages: of another number none can be believed.
    fn verified(&self, mut outcomes: Vec<Result<Receipt>>, messages: usize) -> Vec<Result<Receipt>> {
        if outcomes.len() != messages {
            let text = "the provider gave another number of outcomes than there were messages";
            outcomes = vec![Err(self.error(ErrorKind::Other, text).into_ambiguous()); messages];
        }
        if planted!("resend-whole-batch") && outcomes.iter().any(Result::is_err) {
            outcomes.fill(Err(Error::new(ErrorKind::Unavailable, "planted")));
        }
        if planted!("outcome-order") {
            outcomes.reverse();
        }
        outcomes
    }

    /// An attempt failed: the message is sent again, alone or with one before it, or fails.
    fn fail_attempt(&mut self, place: u32, message: Message, error: Error, luck: f64, run: &mut Run, news: &mut News) {
        let entry = self.lanes.get_mut(place).expect("what is under way has a place");
        entry.stage = Stage::Waiting;
        entry.ambiguous |= error.is_ambiguous() && !planted!("unknown-as-not-sent");
        let message = entry.message.insert(message);
        if planted!("new-id-on-retry") {
            message.id = Some(Ids::default().next());
        }
        if run.again.is_some() {
            return; // it failed because one before it did, whatever the provider calls that
        }
        let skipped = run.broken || run.late;
        let again = if skipped { None } else { self.retry_at(place, &error, luck) };
        if again.is_some() {
            (run.head, run.again) = (Some(place), again);
            if error.kind() == ErrorKind::Throttled {
                self.throttle(place);
            }
            return;
        }
        let error = if skipped { self.skipped() } else { error };
        run.broken |= self.break_key(place);
        let next = self.fail(place, error, news);
        run.advance(next);
    }

    /// Whether the outcome of a message was told before its request ended. If not, and it was sent, less is throttled.
    #[cold]
    fn is_told(&mut self, place: u32, was_sent: bool, news: &mut News) -> bool {
        let told = self.lanes.get(place).is_some_and(|entry| entry.stage == Stage::Told);
        if was_sent && !told {
            self.leave_throttled(place, true, news);
        }
        told
    }

    /// The first message of a lane was throttled: all of the lane waits.
    fn throttle(&mut self, head: u32) {
        let Some(key) = self.lanes.key(head).filter(|key| !self.throttled.holds(key)) else { return };
        let places = std::iter::successors(Some(head), |place| self.lanes.next(*place));
        let bytes = places.filter_map(|place| self.lanes.get(place)).map(|entry| entry.bytes).sum();
        self.throttled.begin(key.clone(), bytes);
        self.note_exceptions();
    }

    /// A message is about to leave. If its key is throttled, less of it is.
    fn leave_throttled(&mut self, place: u32, was_sent: bool, news: &mut News) {
        if self.throttled.is_empty() {
            return;
        }
        if let (Some(key), Some(entry)) = (self.lanes.key(place), self.lanes.get(place)) {
            news.eased |= self.throttled.leave(key, entry.bytes, was_sent);
            self.note_exceptions();
        }
    }

    /// When to send a message again, if that helps and there is time for it.
    fn retry_at(&self, place: u32, error: &Error, luck: f64) -> Option<Instant> {
        let Entry { attempts, deadline, .. } = self.lanes.get(place)?;
        let pause = error.pause(self.settings.backoff.pause_by(*attempts, luck));
        // A provider may ask for longer than there is time.
        self.now.checked_add(pause).filter(|again| error.is_transient() && again < deadline)
    }

    /// Goes on with a lane after what was under way of it is dealt with.
    fn end_run(&mut self, run: &Run, news: &mut News) {
        let Some(head) = run.head else { return };
        if run.broken {
            return self.skip_lane(head, news);
        }
        let deadline = self.lanes.get(head).expect("the lane goes on there").deadline;
        self.expires = self.expires.min(deadline);
        let Some(again) = run.again else { return self.make_ready(head) };
        self.delays += 1;
        self.delayed.insert((again, self.delays), head);
    }

    /// The messages of a key that were accepted before one of it failed fail too, from `head` on.
    fn skip_lane(&mut self, head: u32, news: &mut News) {
        let error = self.skipped();
        let mut next = Some(head);
        while let Some(place) = next {
            next = self.lanes.next(place);
            self.fail(place, error.clone(), news);
        }
    }

    fn skipped(&self) -> Error {
        self.error(ErrorKind::Other, "skipped, since an earlier message of its key was not sent")
    }

    /// A message of this key failed for good. Returns whether it has a key, so that others of it fail too.
    fn break_key(&mut self, place: u32) -> bool {
        let Some(key) = self.lanes.key(place) else { return false };
        if self.settings.after_failure == AfterFailure::Pause && !planted!("failed-key-not-paused") {
            self.paused.add(key.clone());
            self.note_exceptions();
        }
        true
    }

    /// Ends a message that was not sent, or may have been. Returns what is first in its lane now.
    fn fail(&mut self, place: u32, error: Error, news: &mut News) -> Option<u32> {
        self.leave_throttled(place, false, news);
        let entry = self.lanes.get_mut(place).expect("fails once");
        news.gone.extend(entry.message.take());
        let ambiguous = entry.ambiguous;
        let outcome = if ambiguous { Outcome::Unknown(error.into_ambiguous()) } else { Outcome::NotSent(error) };
        self.resolve(place, outcome, news)
    }

    /// Gives a message its outcome. Returns what is first in its lane now.
    #[inline]
    fn resolve(&mut self, place: u32, outcome: Outcome, news: &mut News) -> Option<u32> {
        let &Entry { ticket, generation, bytes, .. } = self.lanes.get(place).expect("resolved once");
        self.tell(ticket, generation, outcome, news);
        self.leave(place, bytes, news)
    }

    /// Gives up the place of a message whose outcome was told. Returns what is first in its lane now.
    fn forget_told(&mut self, place: u32, news: &mut News) -> Option<u32> {
        self.leave_throttled(place, false, news);
        let bytes = self.lanes.get(place).expect("forgotten once").bytes;
        self.told -= 1;
        self.note_exceptions();
        self.leave(place, bytes, news)
    }

    #[inline]
    fn tell(&mut self, ticket: usize, generation: u64, outcome: Outcome, news: &mut News) {
        match self.tickets.end(ticket, outcome) {
            Ended::Waited(waker) => news.wakers.extend(waker),
            Ended::Unread(Outcome::Sent(_)) => {}
            Ended::Unread(outcome) => news.unread.push(outcome),
        }
        news.flushed |= self.flushes.resolve(generation);
    }

    #[inline]
    fn leave(&mut self, place: u32, bytes: usize, news: &mut News) -> Option<u32> {
        news.freed += bytes;
        self.bytes -= bytes;
        self.lanes.remove(place)
    }

    /// Ends the lanes whose first message is out of time without being under way.
    pub(super) fn expire(&mut self, news: &mut News) {
        let mut late = Vec::new();
        self.expires = self.now + self.settings.deadline;
        for _ in 0..self.turns.len() {
            let Some(number) = self.turns.pop_front() else { break };
            let mut ready = self.routes.take_list(number);
            ready.retain(|head| !self.sort_out(*head, &mut late));
            self.give_all_up(&mut late, news);
            self.put_back(number, ready);
        }
        let mut delayed = mem::take(&mut self.delayed);
        delayed.retain(|_, head| !self.sort_out(*head, &mut late));
        self.delayed = delayed;
        self.give_all_up(&mut late, news);
    }

    /// Tells the outcome of what is out of time while its request goes on: the others of the request may still get theirs. It
    /// keeps its place until then, and what waits behind it, accepted before this was told, is not sent.
    pub(super) fn tell_late(&mut self, news: &mut News) {
        let mut late = Vec::new();
        self.late = self.now + self.settings.deadline;
        for (place, entry) in self.lanes.iter().filter(|(_, entry)| entry.stage == Stage::UnderWay) {
            match entry.deadline + GRACE {
                until if until <= self.now => late.push(place),
                until => self.late = self.late.min(until),
            }
        }
        let lost =
            self.error(ErrorKind::Unavailable, "the provider did not answer before the deadline").into_ambiguous();
        for place in late {
            let entry = self.lanes.get_mut(place).expect("listed above");
            entry.stage = Stage::Told;
            let (ticket, generation) = (entry.ticket, entry.generation);
            self.tell(ticket, generation, Outcome::Unknown(lost.clone()), news);
            self.told += 1;
            self.note_exceptions();
            self.break_key(place);
            let skipped = self.skipped();
            let mut next = self.lanes.next(place);
            while let Some(behind) = next {
                next = self.lanes.next(behind);
                if self.lanes.get(behind).is_some_and(|entry| entry.stage == Stage::Waiting) {
                    self.fail(behind, skipped.clone(), news);
                }
            }
        }
    }

    /// Whether a lane is out of time, and thus among the `late`; otherwise notes when it will be.
    fn sort_out(&mut self, head: u32, late: &mut Vec<u32>) -> bool {
        if self.is_late(head) {
            late.push(head);
            return true;
        }
        if let Some(entry) = self.lanes.get(head) {
            self.expires = self.expires.min(entry.deadline);
        }
        false
    }

    fn give_all_up(&mut self, late: &mut Vec<u32>, news: &mut News) {
        for head in late.drain(..) {
            self.give_up(head, news);
        }
    }

    /// Ends a lane whose first message is out of time. It must be on no list any more.
    pub(super) fn give_up(&mut self, head: u32, news: &mut News) {
        self.uncount(Some(head));
        self.break_key(head);
        let error = self.error(ErrorKind::Unavailable, "not sent before its deadline");
        if let Some(rest) = self.fail(head, error, news) {
            self.skip_lane(rest, news);
        }
    }

    /// Ends everything, for this reason: the driver is gone, or about to go. Returns how many messages there were.
    pub(in crate::sender) fn abandon(&mut self, reason: &str, news: &mut News) -> usize {
        (self.closed, self.idle, self.requests) = (true, false, 0);
        self.routes.clear();
        self.turns.clear();
        self.delayed.clear();
        let error = self.error(ErrorKind::Closed, reason);
        let places: Vec<u32> = self.lanes.iter().map(|(place, _)| place).collect();
        let messages = self.messages();
        for place in places {
            let entry = self.lanes.get_mut(place).expect("listed above");
            if entry.stage == Stage::Told {
                self.forget_told(place, news);
            } else {
                entry.ambiguous |= entry.stage == Stage::UnderWay;
                self.fail(place, error.clone(), news);
            }
        }
        messages
    }
}
