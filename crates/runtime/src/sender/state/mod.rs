//! What a sender knows, in four parts: what it holds, what is ready, what became of it, and who waits for that.

mod flushes;
mod outcomes;
mod paused;
mod ready;
mod request;
mod routes;
mod throttled;

use std::{
    collections::{BTreeMap, VecDeque},
    task::Waker,
    time::Duration,
};

use strait_core::{Error, ErrorKind, Key, Limits, Message, Plan, Result, planted};
use strait_lanes::Lanes;
use tokio::time::Instant;

use super::{AfterFailure, Outcome, SenderSettings, TryEnqueueError, ids::Ids, ticket::Tickets};
use flushes::Flushes;
use paused::Paused;
pub(super) use request::Request;
use routes::Routes;
use throttled::Throttled;

/// What every message counts beyond its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 128;

/// What a sender holds, and what may be sent next.
///
/// No tasks and no I/O: a driver takes requests out and brings their outcomes. A message has a place in the lane of its
/// key until it has an outcome; one without a key is a lane of its own. The first of a lane is in a request, from the moment
/// that it is accepted, or among the delayed. What is behind it is in the same request, or waits: so at most one request
/// holds messages of a key.
#[derive(Debug)]
pub(super) struct State {
    settings: SenderSettings,
    limits: Limits,
    lanes: Lanes<Key, Entry>,
    routes: Routes,
    /// How many requests were begun.
    begun: u64,
    /// The numbers of those under way.
    under_way: Vec<u64>,
    /// Requests to be used again, with nothing in them.
    spare: Vec<Request>,
    /// The routes with something to send, in turn.
    turns: VecDeque<u64>,
    /// Lanes that wait for a time.
    delayed: BTreeMap<(Instant, u64), u32>,
    delays: u64,
    pub(super) tickets: Tickets,
    ids: Ids,
    pub(super) paused: Paused,
    pub(super) throttled: Throttled,
    /// Whether a key is paused or throttled, or an outcome was told early. Otherwise messages need no look at any of these.
    has_exceptions: bool,
    bytes: usize,
    /// How many of the lanes' entries are [`Stage::Told`].
    told: usize,
    pub(super) flushes: Flushes,
    /// The time, as the driver last looked. Good enough for deadlines: it looks often while something is held.
    now: Instant,
    /// When what is accepted at this time is out of time.
    deadline: Instant,
    /// Nothing in a request that has not left is out of time before.
    expires: Instant,
    /// Nothing under way is late before.
    late: Instant,
    pub(super) closed: bool,
    /// When everything is over, sent or not.
    pub(super) ends_by: Option<Instant>,
    /// Whether the driver sleeps with a request to spare, and until when.
    idle: bool,
    due: Option<Instant>,
    /// How many requests failed in a row, and how the last time.
    pub(super) failures: (u32, Option<ErrorKind>),
}

#[derive(Debug)]
struct Entry {
    /// `None` while it is in a request. Few wait: the others have small entries.
    message: Option<Box<Message>>,
    bytes: usize,
    plan: Plan,
    ticket: usize,
    generation: u64,
    deadline: Instant,
    /// How many attempts failed.
    attempts: u32,
    /// Whether an attempt may have stored it.
    ambiguous: bool,
    /// Whether one before it was not sent, so that it is not sent again.
    is_skipped: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Behind others of its key, or for the end of a pause.
    Waiting,
    /// In this request, with so many bytes of its key up to there.
    InRequest { number: u64, key_bytes: usize },
    /// Under way, and its outcome was told: it was out of time. Its place keeps the others of its key behind the request.
    Told,
}

/// How long a request may still bring the outcome of a message that is out of time: an outcome is known a second after the
/// deadline, and the late ones are looked for every 500 ms.
pub(super) const GRACE: Duration = Duration::from_millis(400);

/// Whom to tell, once the lock is released.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) wakers: Vec<Waker>,
    /// What was let go of: to drop it may call code that is not ours.
    pub(super) gone: Vec<Message>,
    pub(super) unread: Vec<Outcome>,
    /// Bytes of the buffer that are free again.
    pub(super) freed: usize,
    /// Whether a flush may be over.
    pub(super) flushed: bool,
    /// Whether a message of a throttled key may find room.
    pub(super) eased: bool,
    /// How a request failed.
    pub(super) failed: Option<ErrorKind>,
}

/// What the driver waits for when there is nothing to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// When something is due that nobody brings: the end of a pause, or of a linger.
    pub(super) due: Option<Instant>,
    /// Whether something is held that may run out of time.
    pub(super) holds: bool,
    /// When everything is over.
    pub(super) ends_by: Option<Instant>,
}

impl Entry {
    #[inline]
    fn new(bytes: usize, plan: Plan, ticket: usize, generation: u64, deadline: Instant) -> Self {
        let (attempts, ambiguous, is_skipped, stage) = (0, false, false, Stage::Waiting);
        Self { message: None, bytes, plan, ticket, generation, deadline, attempts, ambiguous, is_skipped, stage }
    }
}

impl State {
    pub(super) fn new(settings: SenderSettings, limits: Limits) -> Self {
        let now = Instant::now();
        let deadline = now + settings.deadline;
        let throttled = Throttled::new(settings.buffer_bytes);
        Self {
            deadline,
            expires: deadline,
            late: deadline,
            settings,
            limits,
            lanes: Lanes::default(),
            routes: Routes::default(),
            begun: 0,
            under_way: Vec::new(),
            spare: Vec::new(),
            turns: VecDeque::new(),
            delayed: BTreeMap::new(),
            delays: 0,
            tickets: Tickets::default(),
            ids: Ids::default(),
            paused: Paused::default(),
            throttled,
            has_exceptions: false,
            bytes: 0,
            told: 0,
            flushes: Flushes::default(),
            now,
            closed: false,
            ends_by: None,
            idle: false,
            due: None,
            failures: (0, None),
        }
    }

    /// How much of the buffer a message takes.
    #[inline]
    pub(super) fn cost(message: &Message, plan: Plan) -> usize {
        message.size().max(plan.bytes) + OVERHEAD
    }

    /// Refuses what cannot be accepted now, whether or not there is room for it.
    #[inline]
    pub(super) fn check(&self, message: &Message) -> Result<()> {
        if self.closed {
            return Err(self.error(ErrorKind::Closed, "is closed"));
        }
        match message.key.as_ref().and_then(|key| self.paused.refusal(key)) {
            Some(reason) => Err(self.error(ErrorKind::Closed, reason)),
            None => Ok(()),
        }
    }

    /// Whether a message has to wait although there is room: its key is throttled.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(super) fn must_wait(&mut self, message: &Message, bytes: usize) -> Result<bool> {
        self.check(message)?;
        Ok(message.key.as_ref().is_some_and(|key| !self.throttled.has_room(key, bytes)))
    }

    pub(super) fn resume(&mut self, key: &Key) {
        self.paused.resume(key);
        self.note_exceptions();
    }

    pub(super) fn resume_all(&mut self) {
        self.paused.resume_all();
        self.note_exceptions();
    }

    fn note_exceptions(&mut self) {
        self.has_exceptions = !self.paused.is_empty() || !self.throttled.is_empty() || self.told > 0;
    }

    /// Accepts a message for which there is room. Returns its ticket, and whether to wake the driver.
    ///
    /// # Errors
    ///
    /// [`TryEnqueueError::Full`] if its key is throttled, and there is no room for that.
    #[expect(clippy::inline_always, reason = "once a message, and each call that it goes through copies it")]
    #[inline(always)]
    pub(super) fn accept(
        &mut self,
        mut message: Message,
        plan: Plan,
        bytes: usize,
    ) -> Result<(usize, bool), TryEnqueueError> {
        if self.closed || self.has_exceptions {
            match self.must_wait(&message, bytes) {
                Ok(false) => {}
                Ok(true) => return Err(TryEnqueueError::Full(message)),
                Err(error) => return Err(TryEnqueueError::Refused(error)),
            }
            if let Some(key) = &message.key {
                self.throttled.accept(key, bytes);
            }
        }
        if self.idle {
            self.look_at_the_clock();
        }
        if planted!("id-replaced") {
            message.id = None;
        }
        message.id.get_or_insert_with(|| self.ids.next());
        let (ticket, generation) = (self.tickets.issue(), self.flushes.accept());
        let key = message.key.as_ref().filter(|_| !planted!("two-requests-per-key"));
        self.bytes += bytes;
        let deadline = self.deadline;
        let place = self.lanes.push(key, Entry::new(bytes, plan, ticket, generation, deadline)).0;
        match self.key_bytes_with(place, plan) {
            Some(key_bytes) => self.put(place, message, plan, deadline, key_bytes),
            None => _ = self.wait(place, message),
        }
        let wake = self.idle && self.is_due(plan.route);
        self.idle &= !wake;
        Ok((ticket, wake))
    }

    /// A message waits in its place: behind others of its key, or to be sent again.
    fn wait(&mut self, place: u32, message: Message) -> &mut Message {
        let entry = self.lanes.get_mut(place).expect("the caller has it");
        entry.stage = Stage::Waiting;
        entry.message.insert(Box::new(message))
    }

    fn look_at_the_clock(&mut self) {
        self.now = Instant::now();
        self.deadline = self.now + self.settings.deadline;
    }

    /// Looks at the clock, and ends the pauses that are over and what is late under way; in a `sweep`, also what is out of
    /// time.
    pub(super) fn tick(&mut self, sweep: bool, news: &mut News) {
        self.look_at_the_clock();
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= self.now
        {
            let head = first.remove();
            self.make_ready(head);
        }
        if self.late <= self.now {
            self.tell_late(news);
        }
        if sweep && self.expires <= self.now {
            self.expire(news);
        }
    }

    /// There is nothing more to send, or no request to `spare`. Returns what to wait for, or `None` if it is over.
    pub(super) fn rest(&mut self, spare: bool) -> Option<Rest> {
        let is_over = self.messages() == 0 || planted!("close-without-flush");
        if self.closed && (is_over || self.ends_by.is_some_and(|end| end <= self.now)) {
            return None;
        }
        // Without a request to spare, what comes in can wait: the end of a request wakes the driver.
        self.idle = spare;
        self.due = if spare { self.next_due() } else { None };
        Some(Rest { due: self.due, holds: !self.lanes.is_empty(), ends_by: self.ends_by })
    }

    /// How many requests are under way.
    pub(super) fn requests(&self) -> usize {
        self.under_way.len()
    }

    /// How many have no outcome.
    pub(super) fn messages(&self) -> usize {
        self.lanes.len() - self.told
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn error(&self, kind: ErrorKind, text: &str) -> Error {
        Error::new(kind, format!("{}: {text}", self.settings.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(1);

    fn state(linger: Duration, limits: Limits) -> State {
        State::new(SenderSettings { linger, ..SenderSettings::default() }, limits)
    }

    /// Accepts a message of 10 bytes. Returns whether the driver is to be woken.
    fn accept(state: &mut State, key: Option<&str>, route: u64) -> bool {
        let mut message = Message::new("0123456789");
        message.key = key.map(|key| key.parse().unwrap());
        state.accept(message, Plan::new(10).on_route(route), 138).unwrap().1
    }

    /// Takes out all that may leave, and sleeps.
    fn drive(state: &mut State, spare: bool) -> usize {
        let mut requests = 0;
        let mut news = News::default();
        state.tick(true, &mut news);
        while state.next_request(&mut news).is_some() {
            requests += 1;
        }
        state.rest(spare).unwrap();
        requests
    }

    #[tokio::test(start_paused = true)]
    async fn the_driver_is_woken_once_and_only_if_it_has_a_request_to_spare() {
        let mut state = state(Duration::ZERO, Limits::new(10, 100));
        assert!(!accept(&mut state, None, 0), "it has not slept yet");
        assert_eq!(drive(&mut state, true), 1);
        assert!(accept(&mut state, Some("a"), 0));
        assert!(!accept(&mut state, Some("b"), 0), "it was woken");
        assert_eq!(drive(&mut state, true), 1);
        assert!(!accept(&mut state, Some("a"), 0), "it waits for its key");
        assert!(accept(&mut state, Some("c"), 0));
        assert_eq!(drive(&mut state, false), 1);
        assert!(!accept(&mut state, Some("d"), 0), "nothing can be done with it");
    }

    #[tokio::test(start_paused = true)]
    async fn while_messages_linger_the_driver_is_woken_for_the_first_and_when_a_request_is_full() {
        let mut state = state(LINGER, Limits::new(4, 100));
        assert_eq!(drive(&mut state, true), 0);
        assert!(accept(&mut state, Some("a"), 0), "the first sets the timer");
        assert_eq!(drive(&mut state, true), 0);
        assert!(!accept(&mut state, Some("a"), 0));
        assert!(!accept(&mut state, None, 1), "another route leaves no earlier");
        assert!(!accept(&mut state, Some("b"), 0));
        assert!(accept(&mut state, Some("a"), 0), "full");
        assert_eq!(drive(&mut state, true), 1);
        for _ in 0..9 {
            assert!(!accept(&mut state, Some("a"), 0), "behind its key it fills nothing");
        }
        tokio::time::advance(LINGER).await;
        assert_eq!(drive(&mut state, true), 1, "the other route");
    }

    #[tokio::test(start_paused = true)]
    async fn routes_that_have_nothing_to_send_leave_nothing_behind() {
        for linger in [Duration::ZERO, LINGER] {
            let mut state = state(linger, Limits::new(4, 100));
            for route in 0..1000 {
                accept(&mut state, None, route);
                tokio::time::advance(LINGER).await;
                assert_eq!(drive(&mut state, true), 1);
            }
            assert!(state.routes.len() <= 17 && state.turns.is_empty());
        }
    }
}
