use std::mem;

use strait_core::{Error, ErrorKind, Message, Receipt, Result, planted};
use tokio::time::Instant;

use super::{AfterFailure, Entry, GRACE, News, Request, Stage, State};
use crate::sender::{Outcome, ids::Ids, ticket::Ended};

impl State {
    /// Brings the outcomes of a request: ends what is decided, and makes the rest ready again.
    pub(in crate::sender) fn finish(&mut self, request: &mut Request, outcomes: Vec<Result<Receipt>>, news: &mut News) {
        let outcomes = self.verified(outcomes, request.messages.len());
        // One for all, so that what failed together is sent again together.
        let luck = fastrand::f64();
        let mut failed = None;
        for ((&place, message), outcome) in request.places.iter().zip(&mut request.messages).zip(outcomes) {
            if self.has_exceptions && self.is_told(place, outcome.is_ok(), news) {
                failed = outcome.err().map(|error| error.kind()).or(failed);
                let next = self.forget_told(place, news);
                self.go_on(next);
                continue;
            }
            match outcome {
                Ok(receipt) => {
                    let next = self.resolve(place, Outcome::Sent(receipt), news);
                    self.go_on(next);
                }
                Err(error) => {
                    failed = Some(error.kind());
                    self.fail_attempt(place, mem::take(message), error, luck, news);
                }
            }
        }
        self.under_way.retain(|number| *number != request.number);
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
    fn fail_attempt(&mut self, place: u32, message: Message, error: Error, luck: f64, news: &mut News) {
        let message = self.wait(place, message);
        if planted!("new-id-on-retry") {
            message.id = Some(Ids::default().next());
        }
        let entry = self.lanes.get_mut(place).expect("it waits there");
        entry.attempts += 1;
        entry.ambiguous |= error.is_ambiguous() && !planted!("unknown-as-not-sent");
        let is_skipped = entry.is_skipped;
        if !self.lanes.is_first(place) {
            return; // it failed because one before it did, whatever the provider calls that
        }
        if is_skipped {
            return self.give_up_key(place, self.skipped(), news);
        }
        let Some(again) = self.retry_at(place, &error, luck) else { return self.give_up_key(place, error, news) };
        if error.kind() == ErrorKind::Throttled {
            self.throttle(place);
        }
        self.delays += 1;
        self.delayed.insert((again, self.delays), place);
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

    /// Goes on with a lane whose first place this is now, unless that is in the same request and has its outcome soon.
    #[inline]
    fn go_on(&mut self, head: Option<u32>) {
        if let Some(head) = head
            && self.lanes.get(head).is_some_and(|entry| entry.stage == Stage::Waiting)
        {
            self.make_ready(head);
        }
    }

    /// Ends a message that was not sent, and with it what of its key was accepted before that is told.
    fn give_up_key(&mut self, head: u32, error: Error, news: &mut News) {
        self.break_key(head);
        let next = self.fail(head, error, news);
        self.skip(next, news);
    }

    /// One before was not sent, and so the rest of its lane, from `next` on, is not sent either. What is under way may have its
    /// outcome yet, but is not sent again.
    fn skip(&mut self, mut next: Option<u32>, news: &mut News) {
        while let Some(place) = next {
            next = self.lanes.next(place);
            let entry = self.lanes.get_mut(place).expect("the links hold places only");
            match entry.stage {
                Stage::InRequest { number, .. } if self.under_way.contains(&number) => entry.is_skipped = true,
                Stage::InRequest { .. } | Stage::Waiting => {
                    self.fail(place, self.skipped(), news);
                }
                Stage::Told => {}
            }
        }
    }

    fn skipped(&self) -> Error {
        self.error(ErrorKind::Other, "skipped, since an earlier message of its key was not sent")
    }

    /// A message of this key, if it has one, failed for good.
    fn break_key(&mut self, place: u32) {
        let Some(key) = self.lanes.key(place) else { return };
        if self.settings.after_failure == AfterFailure::Pause && !planted!("failed-key-not-paused") {
            self.paused.add(key.clone());
            self.note_exceptions();
        }
    }

    /// Ends a message that was not sent, or may have been. Returns what is first in its lane now.
    fn fail(&mut self, place: u32, error: Error, news: &mut News) -> Option<u32> {
        self.leave_throttled(place, false, news);
        let entry = self.lanes.get_mut(place).expect("fails once");
        news.gone.extend(entry.message.take().map(|message| *message));
        let ambiguous = entry.ambiguous;
        let outcome = if ambiguous { Outcome::Unknown(error.into_ambiguous()) } else { Outcome::NotSent(error) };
        self.resolve(place, outcome, news)
    }

    /// Gives a message its outcome. Returns what is first in its lane now.
    #[expect(clippy::inline_always, reason = "once a message, and each call that an outcome goes through copies it")]
    #[inline(always)]
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

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
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

    /// Gives up what is out of time in requests that have not left. What is sent again after a pause is so before its deadline.
    pub(super) fn expire(&mut self, news: &mut News) {
        self.expires = self.now + self.settings.deadline;
        for number in mem::take(&mut self.turns) {
            let Some(route) = self.routes.get_mut(number) else { continue };
            for mut request in route.take_all() {
                self.give_up_late(&mut request, news);
                if request.is_empty() {
                    self.recycle(request);
                } else {
                    self.expires = self.expires.min(request.deadline);
                    self.routes.open(number).begin(request);
                }
            }
            self.take_turns(number);
        }
    }

    /// Tells the outcome of what is out of time while its request goes on: the others of the request may still get theirs. It
    /// keeps its place until then, and what waits behind it, accepted before this was told, is not sent.
    pub(super) fn tell_late(&mut self, news: &mut News) {
        let mut late = Vec::new();
        let mut soonest = self.now + self.settings.deadline;
        for (place, entry) in self.lanes.iter().filter(|(_, entry)| self.is_under_way(entry)) {
            match entry.deadline + GRACE {
                until if until <= self.now => late.push(place),
                until => soonest = soonest.min(until),
            }
        }
        self.late = soonest;
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
            self.skip(self.lanes.next(place), news);
        }
    }

    fn is_under_way(&self, entry: &Entry) -> bool {
        matches!(entry.stage, Stage::InRequest { number, .. } if self.under_way.contains(&number))
    }

    /// Ends a lane whose first message is out of time. It must be in no request any more, and not be delayed.
    pub(super) fn give_up(&mut self, head: u32, news: &mut News) {
        let error = self.error(ErrorKind::Unavailable, "not sent before its deadline");
        self.give_up_key(head, error, news);
    }

    /// Ends everything, for this reason: the driver is gone, or about to go. Returns how many messages there were.
    pub(in crate::sender) fn abandon(&mut self, reason: &str, news: &mut News) -> usize {
        (self.closed, self.idle) = (true, false);
        news.gone.extend(self.routes.clear().flat_map(|request| request.messages));
        self.turns.clear();
        self.delayed.clear();
        let error = self.error(ErrorKind::Closed, reason);
        let places: Vec<u32> = self.lanes.iter().map(|(place, _)| place).collect();
        let messages = self.messages();
        for place in places {
            let entry = self.lanes.get(place).expect("listed above");
            if entry.stage == Stage::Told {
                self.forget_told(place, news);
                continue;
            }
            if self.is_under_way(entry) {
                self.lanes.get_mut(place).expect("listed above").ambiguous = true;
            }
            self.fail(place, error.clone(), news);
        }
        self.under_way.clear();
        messages
    }
}
