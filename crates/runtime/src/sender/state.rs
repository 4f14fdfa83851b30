use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem,
    task::Waker,
    time::Duration,
};

use strait_core::{Error, ErrorKind, Key, Limits, Measure, Message, Plan, Receipt, Result, planted};
use strait_lanes::Lanes;
use tokio::time::Instant;

use super::{AfterFailure, Outcome, SenderSettings, ids::Ids, ticket::Tickets};

/// What every message counts beyond its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 128;

/// What a sender holds, and what may be sent next.
///
/// No tasks and no I/O: a driver takes requests out and brings their outcomes. A message has a place in the lane of its
/// key until it has an outcome, so that at most one request is under way for a key; one without a key is a lane of its
/// own. A lane that may be sent from is named by its first place, on its route's list.
#[derive(Debug)]
pub(super) struct State {
    settings: SenderSettings,
    limits: Limits,
    lanes: Lanes<Key, Entry>,
    routes: HashMap<u64, Route>,
    /// The routes with something to send, in turn.
    turns: VecDeque<u64>,
    /// Lanes that wait for a time.
    delayed: BTreeMap<(Instant, u64), u32>,
    delays: u64,
    pub(super) tickets: Tickets,
    ids: Ids,
    paused: HashSet<Key>,
    bytes: usize,
    /// How many messages without an outcome each generation has; a flush begins a new one.
    generations: VecDeque<usize>,
    first_generation: u64,
    /// How many flushes wait.
    flushing: usize,
    /// The time, as the driver last looked. Good enough for deadlines.
    pub(super) now: Instant,
    pub(super) closed: bool,
    /// Whether the driver sleeps.
    pub(super) idle: bool,
    pub(super) requests: usize,
    /// How many requests failed in a row, and how the last time.
    pub(super) failures: (u32, Option<ErrorKind>),
}

#[derive(Debug)]
struct Entry {
    /// Empty while it is under way.
    message: Message,
    bytes: usize,
    plan: Plan,
    ticket: usize,
    generation: u64,
    deadline: Instant,
    attempts: u32,
    /// Whether an attempt may have stored it.
    ambiguous: bool,
    under_way: bool,
}

#[derive(Debug)]
struct Route {
    /// The first places of lanes, in turn.
    ready: VecDeque<u32>,
    /// Since when something is ready.
    since: Instant,
    /// What is ready, and what lines up behind it.
    messages: usize,
    bytes: usize,
}

/// What goes out in one request.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) messages: Vec<Message>,
    /// Their places, and whether each begins another lane.
    places: Vec<(u32, bool)>,
    /// When the first of them is out of time.
    pub(super) deadline: Option<Instant>,
}

/// Whom to tell, once the lock is released.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) wakers: Vec<Waker>,
    /// Bytes of the buffer that are free again.
    pub(super) freed: usize,
    /// Whether a flush may be over.
    pub(super) flushed: bool,
}

impl State {
    pub(super) fn new(settings: SenderSettings, limits: Limits) -> Self {
        Self {
            settings,
            limits,
            lanes: Lanes::default(),
            routes: HashMap::new(),
            turns: VecDeque::new(),
            delayed: BTreeMap::new(),
            delays: 0,
            tickets: Tickets::default(),
            ids: Ids::default(),
            paused: HashSet::new(),
            bytes: 0,
            generations: VecDeque::from([0]),
            first_generation: 0,
            flushing: 0,
            now: Instant::now(),
            closed: false,
            idle: false,
            requests: 0,
            failures: (0, None),
        }
    }

    /// How much of the buffer a message takes.
    pub(super) fn cost(message: &Message, plan: Plan) -> usize {
        message.size().max(plan.bytes) + OVERHEAD
    }

    /// Accepts a message for which there is room.
    pub(super) fn accept(&mut self, mut message: Message, plan: Plan, bytes: usize) -> Result<usize> {
        if self.closed {
            return Err(self.error(ErrorKind::Closed, "is closed"));
        }
        if let Some(key) = &message.key
            && self.paused.contains(key)
        {
            return Err(
                self.error(ErrorKind::Closed, "the key is paused after a message of it was not sent; resume it")
            );
        }
        if self.idle {
            self.now = Instant::now();
        }
        message.id.get_or_insert_with(|| self.ids.next());
        let ticket = self.tickets.issue();
        let key = message.key.clone().filter(|_| !planted!("two-requests-per-key"));
        let generation = self.first_generation + self.generations.len() as u64 - 1;
        *self.generations.back_mut().expect("there is always one") += 1;
        self.bytes += bytes;
        let deadline = self.now + self.settings.deadline;
        let (attempts, ambiguous, under_way) = (0, false, false);
        let entry = Entry { message, bytes, plan, ticket, generation, deadline, attempts, ambiguous, under_way };
        let (place, first) = self.lanes.push(key, entry);
        let route = self.route(plan.route);
        route.messages += 1;
        route.bytes += plan.bytes;
        if first {
            self.make_ready(place, plan.route);
        }
        Ok(ticket)
    }

    fn route(&mut self, route: u64) -> &mut Route {
        let now = self.now;
        self.routes.entry(route).or_insert_with(|| Route { ready: VecDeque::new(), since: now, messages: 0, bytes: 0 })
    }

    fn make_ready(&mut self, place: u32, route: u64) {
        let now = self.now;
        let list = self.route(route);
        if list.ready.is_empty() {
            list.since = now;
            list.ready.push_back(place);
            self.turns.push_back(route);
        } else {
            list.ready.push_back(place);
        }
    }

    /// The next request, if one may go out: of one route, within the limits, full or out of patience.
    pub(super) fn next_request(&mut self, request: &mut Request) -> bool {
        for _ in 0..self.turns.len() {
            let Some(number) = self.turns.pop_front() else { return false };
            let Some(route) = self.routes.get_mut(&number) else { continue };
            let hurry = self.closed || self.flushing > 0 || self.settings.linger.is_zero();
            let full = route.messages >= self.limits.messages || route.bytes >= self.limits.bytes;
            if !full && (planted!("linger-for-ever") || (!hurry && self.now < route.since + self.settings.linger)) {
                self.turns.push_back(number);
                continue;
            }
            let mut ready = mem::take(&mut route.ready);
            self.fill(&mut ready, request);
            let route = self.routes.get_mut(&number).expect("seen above");
            let left = !ready.is_empty();
            (route.ready, route.since) = (ready, self.now);
            if left {
                self.turns.push_back(number);
            } else if route.messages == 0 {
                self.routes.remove(&number);
            }
            self.requests += 1;
            return true;
        }
        false
    }

    /// Moves lanes from the front of `ready` into the request, each for as far as the limits allow.
    fn fill(&mut self, ready: &mut VecDeque<u32>, request: &mut Request) {
        let mut bytes = 0;
        while let Some(first) = ready.pop_front() {
            let mut next = Some(first);
            let mut number = None;
            while let Some(place) = next {
                let entry = self.lanes.get_mut(place).expect("what is ready has a place");
                let fits = request.messages.len() < self.limits.messages
                    && (request.messages.is_empty() || bytes + entry.plan.bytes <= self.limits.bytes)
                    && number.is_none_or(|number| number == entry.plan.route && !self.limits.one_per_key);
                if !fits {
                    break;
                }
                number = Some(entry.plan.route);
                bytes += entry.plan.bytes;
                entry.under_way = true;
                entry.attempts += 1;
                request.messages.push(mem::take(&mut entry.message));
                request.places.push((place, place == first));
                request.deadline = Some(request.deadline.map_or(entry.deadline, |other| other.min(entry.deadline)));
                let plan = entry.plan;
                let route = self.routes.get_mut(&plan.route).expect("it counts this message");
                route.messages -= 1;
                route.bytes -= plan.bytes;
                next = self.lanes.next(place);
            }
            if number.is_none() {
                ready.push_front(first);
                return;
            }
        }
    }

    /// Brings the outcomes of a request: ends what is decided, and makes the rest ready again.
    pub(super) fn finish(&mut self, request: &mut Request, mut outcomes: Vec<Result<Receipt>>, news: &mut News) {
        self.requests -= 1;
        if outcomes.len() != request.messages.len() {
            let error =
                self.error(ErrorKind::Other, "the provider gave another number of outcomes than there were messages");
            outcomes = vec![Err(error.into_ambiguous()); request.messages.len()];
        }
        if planted!("resend-whole-batch") && outcomes.iter().any(Result::is_err) {
            let error = Error::new(ErrorKind::Unavailable, "planted");
            outcomes.fill(Err(error));
        }
        if planted!("outcome-order") {
            outcomes.reverse();
        }
        let mut failed = None;
        // Where the lane of the last place goes on, and what ended it.
        let mut run = Run::default();
        let places = mem::take(&mut request.places);
        for (((place, first), message), outcome) in places.iter().copied().zip(request.messages.drain(..)).zip(outcomes)
        {
            if first {
                self.end_run(&mem::take(&mut run), news);
            }
            failed = outcome.as_ref().err().map(Error::kind).or(failed);
            self.finish_one(place, message, outcome, &mut run, news);
        }
        self.end_run(&run, news);
        (request.places, request.deadline) = (places, None);
        request.places.clear();
        self.failures = match failed {
            Some(kind) => (self.failures.0.saturating_add(1), Some(kind)),
            None => (0, None),
        };
        if let Some(kind) = failed {
            self.settings.observer.observe(Measure::Failed { call: "send", kind });
        }
        self.observe_buffer();
    }

    fn finish_one(&mut self, place: u32, message: Message, outcome: Result<Receipt>, run: &mut Run, news: &mut News) {
        let now = self.now;
        let backoff = self.settings.backoff;
        let entry = self.lanes.get_mut(place).expect("what is under way has a place");
        entry.under_way = false;
        let error = match outcome {
            Ok(receipt) => {
                let next = self.resolve(place, Outcome::Sent(receipt), news);
                return run.advance(next);
            }
            Err(error) => error,
        };
        entry.ambiguous |= error.is_ambiguous() && !planted!("unknown-as-not-sent");
        entry.message = message;
        if planted!("new-id-on-retry") {
            entry.message.id = Some(Ids::default().next());
        }
        let plan = entry.plan;
        let pause = error.retry_after().unwrap_or_else(|| backoff.pause(entry.attempts));
        let again = error.is_transient() && now + pause < entry.deadline;
        if run.broken || !again {
            let error = if run.broken { self.skipped() } else { error };
            run.broken |= self.break_key(place);
            let next = self.fail(place, error, news);
            return run.advance(next);
        }
        let route = self.route(plan.route);
        route.messages += 1;
        route.bytes += plan.bytes;
        if run.pause.is_none() {
            (run.head, run.pause) = (Some(place), Some(pause));
        }
    }

    /// Goes on with a lane after what was under way of it is dealt with.
    fn end_run(&mut self, run: &Run, news: &mut News) {
        let Some(head) = run.head else { return };
        if run.broken {
            return self.skip_lane(head, news);
        }
        match run.pause {
            None => {
                let route = self.lanes.get(head).expect("the lane goes on there").plan.route;
                self.make_ready(head, route);
            }
            Some(pause) => {
                self.delays += 1;
                self.delayed.insert((self.now + pause, self.delays), head);
            }
        }
    }

    /// The messages of a key that were accepted before one of it failed fail too, from `head` on.
    fn skip_lane(&mut self, head: u32, news: &mut News) {
        let mut next = Some(head);
        while let Some(place) = next {
            next = self.lanes.next(place);
            self.uncount(place);
            let error = self.skipped();
            self.fail(place, error, news);
        }
    }

    fn skipped(&self) -> Error {
        self.error(ErrorKind::Other, "skipped, since an earlier message of its key was not sent")
    }

    /// A message of this key failed for good. Returns whether it has a key, so that others of it fail too.
    fn break_key(&mut self, place: u32) -> bool {
        let Some(key) = self.lanes.get(place).and_then(|entry| entry.message.key.clone()) else { return false };
        if self.settings.after_failure == AfterFailure::Pause {
            self.paused.insert(key);
        }
        true
    }

    /// Ends a message that was not sent, or may have been.
    fn fail(&mut self, place: u32, error: Error, news: &mut News) -> Option<u32> {
        let ambiguous = self.lanes.get(place).is_some_and(|entry| entry.ambiguous);
        let outcome = if ambiguous { Outcome::Unknown(error.into_ambiguous()) } else { Outcome::NotSent(error) };
        self.resolve(place, outcome, news)
    }

    /// Gives a message its outcome. Returns what is first in its lane now.
    fn resolve(&mut self, place: u32, outcome: Outcome, news: &mut News) -> Option<u32> {
        let entry = self.lanes.get(place).expect("resolved once");
        let (ticket, bytes, generation) = (entry.ticket, entry.bytes, entry.generation);
        news.wakers.extend(self.tickets.end(ticket, outcome));
        news.freed += bytes;
        self.bytes -= bytes;
        let index = usize::try_from(generation - self.first_generation).expect("as many as there are flushes");
        self.generations[index] -= 1;
        while self.generations.len() > 1 && self.generations[0] == 0 {
            self.generations.pop_front();
            self.first_generation += 1;
            news.flushed = true;
        }
        self.lanes.remove(place)
    }

    /// No longer counts a message that waits among those of its route.
    fn uncount(&mut self, place: u32) {
        if let Some(plan) = self.lanes.get(place).map(|entry| entry.plan)
            && let Some(route) = self.routes.get_mut(&plan.route)
        {
            route.messages -= 1;
            route.bytes -= plan.bytes;
            if route.messages == 0 && route.ready.is_empty() {
                self.routes.remove(&plan.route);
            }
        }
    }

    /// Ends the delays that are over, and what is out of time without being under way.
    pub(super) fn tick(&mut self, sweep: bool, news: &mut News) {
        self.now = Instant::now();
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= self.now
        {
            let place = first.remove();
            let route = self.lanes.get(place).expect("a delayed lane has a first place").plan.route;
            self.make_ready(place, route);
        }
        if sweep {
            self.expire(news);
        }
    }

    fn expire(&mut self, news: &mut News) {
        let late = |entry: &Entry| !entry.under_way && entry.deadline <= self.now;
        // Of a lane the first is the oldest; while it is under way, the rest waits for its outcome.
        let places: Vec<u32> = self
            .lanes
            .iter()
            .filter(|(place, entry)| late(entry) && self.lanes.is_first(*place))
            .map(|(place, _)| place)
            .collect();
        for place in places {
            let route = self.lanes.get(place).expect("listed above").plan.route;
            if let Some(list) = self.routes.get_mut(&route) {
                list.ready.retain(|ready| *ready != place);
                if list.ready.is_empty() {
                    self.turns.retain(|turn| *turn != route);
                }
            }
            self.delayed.retain(|_, delayed| *delayed != place);
            self.break_key(place);
            self.uncount(place);
            let error = self.error(ErrorKind::Unavailable, "not sent before its deadline");
            if let Some(rest) = self.fail(place, error, news) {
                self.skip_lane(rest, news);
            }
        }
    }

    /// Ends everything: the driver is gone.
    pub(super) fn abandon(&mut self, news: &mut News) -> usize {
        self.closed = true;
        let places: Vec<u32> = self.lanes.iter().map(|(place, _)| place).collect();
        for place in &places {
            let entry = self.lanes.get_mut(*place).expect("listed above");
            entry.ambiguous |= entry.under_way;
            let error = self.error(ErrorKind::Closed, "its task was dropped before the message was sent");
            self.fail(*place, error, news);
        }
        places.len()
    }

    /// When something is due that nobody brings: the end of a delay, or of a linger.
    pub(super) fn due(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let linger = self.settings.linger;
        let lingering = (!linger.is_zero())
            .then(|| self.turns.iter().filter_map(|turn| Some(self.routes.get(turn)?.since + linger)).min());
        delayed.into_iter().chain(lingering.flatten()).min()
    }

    /// Begins a flush. Returns the generation that it waits for.
    pub(super) fn begin_flush(&mut self) -> u64 {
        let generation = self.first_generation + self.generations.len() as u64 - 1;
        self.generations.push_back(0);
        self.flushing += 1;
        generation
    }

    /// Whether everything up to this generation has its outcome.
    pub(super) fn is_flushed(&self, generation: u64) -> bool {
        self.generations
            .iter()
            .take(usize::try_from((generation + 1).saturating_sub(self.first_generation)).unwrap_or(0))
            .all(|count| *count == 0)
    }

    pub(super) fn end_flush(&mut self) {
        self.flushing -= 1;
    }

    pub(super) fn resume(&mut self, key: &Key) {
        self.paused.remove(key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn messages(&self) -> usize {
        self.lanes.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn paused_keys(&self) -> usize {
        self.paused.len()
    }

    fn observe_buffer(&self) {
        self.settings.observer.observe(Measure::Buffered { messages: self.lanes.len(), bytes: self.bytes });
    }

    fn error(&self, kind: ErrorKind, text: &str) -> Error {
        Error::new(kind, format!("{}: {text}", self.settings.name))
    }
}

/// What is known of a lane while the outcomes of its messages are brought.
#[derive(Debug, Default)]
struct Run {
    /// Where it goes on.
    head: Option<u32>,
    /// How long it waits.
    pause: Option<Duration>,
    /// Whether a message of it failed for good.
    broken: bool,
}

impl Run {
    /// A message of it has its outcome, and `next` is first now, unless one before it is to be sent again.
    fn advance(&mut self, next: Option<u32>) {
        if self.pause.is_none() {
            self.head = next;
        }
    }
}
