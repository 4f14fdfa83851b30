use std::collections::VecDeque;

use strait_core::{Message, Plan, planted};
use tokio::time::Instant;

use super::{
    Entry, GRACE, News, Stage, State,
    routes::{Load, Route},
};

/// What goes out in one request.
#[derive(Debug, Default)]
pub(in crate::sender) struct Request {
    pub(in crate::sender) messages: Vec<Message>,
    /// Their places, and whether each begins another lane.
    pub(super) places: Vec<(u32, bool)>,
    bytes: usize,
    /// When the first of them is out of time, and when the last.
    deadline: Option<Instant>,
    pub(in crate::sender) last_deadline: Option<Instant>,
}

impl Request {
    /// Makes it ready to be filled again. The memory stays.
    pub(in crate::sender) fn clear(&mut self) {
        self.messages.clear();
        self.places.clear();
        (self.bytes, self.deadline, self.last_deadline) = (0, None, None);
    }

    fn push(&mut self, place: u32, is_head: bool, entry: &mut Entry) {
        entry.stage = Stage::UnderWay;
        entry.attempts += 1;
        self.bytes += entry.plan.bytes;
        // Most were accepted at the same look at the clock.
        if self.last_deadline != Some(entry.deadline) {
            self.deadline = Some(self.deadline.map_or(entry.deadline, |other| other.min(entry.deadline)));
            self.last_deadline = self.last_deadline.max(Some(entry.deadline));
        }
        self.messages.push(entry.message.take().expect("what is not under way has its message"));
        self.places.push((place, is_head));
    }
}

impl State {
    /// Whether messages wait for others to share their request. Only then does it matter how much is ready.
    fn lingers(&self) -> bool {
        !self.settings.linger.is_zero()
    }

    fn is_full(&self, load: Load) -> bool {
        load.messages >= self.limits.messages || load.bytes >= self.limits.request_bytes
    }

    /// A lane may be sent from, beginning with its first place.
    pub(super) fn make_ready(&mut self, head: u32) {
        let lingers = self.lingers();
        let entry = self.lanes.get_mut(head).expect("a lane has a first place");
        entry.stage = Stage::Ready { key_bytes: entry.plan.bytes };
        let (number, deadline) = (entry.plan.route, entry.deadline);
        let load = if lingers { self.load_of(head) } else { Load::default() };
        let route = self.routes.open(number, self.now);
        let is_first = route.ready.is_empty();
        if is_first {
            self.turns.push_back(number);
        }
        if lingers {
            // What waited behind its key, or for a retry, has lingered meanwhile.
            let since = deadline - self.settings.deadline;
            route.since = if is_first { since } else { route.since.min(since) };
            route.load += load;
        }
        route.ready.push_back(head);
    }

    /// What a request could take of a lane, at most one request full: a walk along a long lane costs no more than that.
    fn load_of(&mut self, head: u32) -> Load {
        let mut load = Load::default();
        let mut number = None;
        let mut next = Some(head);
        while let Some(place) = next.filter(|_| !self.is_full(load)) {
            let entry = self.lanes.get_mut(place).expect("the links hold places only");
            let Plan { bytes, route, .. } = entry.plan;
            let joins = place == head || self.limits.shares_key(load.bytes, bytes);
            if *number.get_or_insert(route) != route || !joins {
                break;
            }
            load += entry.plan.into();
            entry.stage = Stage::Ready { key_bytes: load.bytes };
            next = self.lanes.next(place);
        }
        load
    }

    /// Counts a new message that lines up behind one of its key that is ready. Returns whether it may share its request.
    pub(super) fn join(&mut self, place: u32, plan: Plan) -> bool {
        if !self.lingers() {
            return false;
        }
        let before = self.lanes.previous(place).and_then(|before| self.lanes.get(before));
        let Some(&Entry { stage: Stage::Ready { key_bytes }, plan: Plan { route, .. }, .. }) = before else {
            return false;
        };
        if route != plan.route || !self.limits.shares_key(key_bytes, plan.bytes) {
            return false;
        }
        let stage = Stage::Ready { key_bytes: key_bytes + plan.bytes };
        self.lanes.get_mut(place).expect("pushed by the caller").stage = stage;
        self.routes.get_mut(route).expect("the one before is counted there").load += plan.into();
        true
    }

    /// What of a lane no longer counts from `place` on: it waits behind what is under way, or is about to end.
    pub(super) fn uncount(&mut self, place: Option<u32>) {
        if !self.lingers() {
            return;
        }
        let mut next = place;
        while let Some(place) = next
            && let Some(entry) = self.lanes.get_mut(place)
            && matches!(entry.stage, Stage::Ready { .. })
        {
            entry.stage = Stage::Waiting;
            let plan = entry.plan;
            self.discount(plan.route, plan.into());
            next = self.lanes.next(place);
        }
    }

    fn discount(&mut self, number: u64, load: Load) {
        self.routes.get_mut(number).expect("what is counted is on a list of it").load -= load;
    }

    /// Whether a request of this route may leave, or the driver sleeps too long for it.
    pub(super) fn is_due(&self, number: u64) -> bool {
        let leaves = |route| self.leaves(route).is_none_or(|leaves| self.due.is_none_or(|due| leaves < due));
        self.routes.get(number).is_some_and(leaves)
    }

    /// When a request of this route may leave, although it is not full: `None` means at once.
    fn leaves(&self, route: &Route) -> Option<Instant> {
        let hurry = self.closed || self.flushes.are_under_way() || !self.lingers();
        let linger = self.settings.linger * if planted!("lingers-too-long") { 2 } else { 1 };
        (!hurry && !self.is_full(route.load)).then(|| route.since + linger)
    }

    fn may_leave(&self, route: &Route) -> bool {
        self.leaves(route).is_none_or(|leaves| leaves <= self.now)
    }

    /// When something is due that nobody brings: the end of a pause, or of a linger.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let leaves = |turn: &u64| self.routes.get(*turn).and_then(|route| self.leaves(route));
        let lingering = if self.lingers() { self.turns.iter().filter_map(leaves).min() } else { None };
        delayed.into_iter().chain(lingering).min()
    }

    /// Fills the next request, if one may go out: of one route, within the limits, full or out of patience.
    pub(in crate::sender) fn next_request(&mut self, request: &mut Request, news: &mut News) -> bool {
        for _ in 0..self.turns.len() {
            let Some(number) = self.turns.pop_front() else { break };
            if self.routes.get(number).is_some_and(|route| !self.may_leave(route)) {
                self.turns.push_back(number);
                continue;
            }
            self.fill(number, request, news);
            if let Some(deadline) = request.deadline {
                self.requests += 1;
                self.late = self.late.min(deadline + GRACE);
                return true;
            }
        }
        false
    }

    /// Moves lanes from the front of a route's list into the request, each for as far as the limits allow.
    fn fill(&mut self, number: u64, request: &mut Request, news: &mut News) {
        let mut ready = self.routes.take_list(number);
        let some_late = self.expires <= self.now;
        while let Some(head) = ready.front().copied() {
            if some_late && self.is_late(head) {
                self.give_up(head, news);
            } else if !self.take(head, request) {
                break;
            }
            ready.pop_front();
        }
        self.put_back(number, ready);
    }

    /// Moves the front of a lane into the request. Returns whether anything of it fits.
    fn take(&mut self, head: u32, request: &mut Request) -> bool {
        let mut number = None;
        let (mut taken, mut key_bytes) = (Load::default(), 0);
        let mut next = Some(head);
        while let Some(place) = next {
            let entry = self.lanes.get_mut(place).expect("the links hold places only");
            let fits = request.messages.len() < self.limits.messages
                && (request.messages.is_empty()
                    || request.bytes + entry.plan.bytes <= self.limits.request_bytes
                    || planted!("request-over-its-limit"));
            let shares = |number| number == entry.plan.route && self.limits.shares_key(key_bytes, entry.plan.bytes);
            if !fits || !number.is_none_or(shares) {
                break;
            }
            if matches!(entry.stage, Stage::Ready { .. }) {
                taken += entry.plan.into();
            }
            key_bytes += entry.plan.bytes;
            number = Some(entry.plan.route);
            request.push(place, place == head, entry);
            next = self.lanes.next(place);
        }
        let Some(number) = number else { return false };
        if self.lingers() {
            self.discount(number, taken);
            self.uncount(next);
        }
        true
    }

    /// What is left of the list of a route. It is the last in turn now.
    pub(super) fn put_back(&mut self, number: u64, ready: VecDeque<u32>) {
        let Some(load) = self.routes.get(number).map(|route| route.load) else { return };
        // Of more than a request the oldest does not matter: it leaves at once. So this looks at less than a request.
        let since = (self.lingers() && !self.is_full(load))
            .then(|| ready.iter().filter_map(|head| self.lanes.get(*head)).map(|entry| entry.deadline).min())
            .flatten();
        let Some(route) = self.routes.get_mut(number) else { return };
        if let Some(deadline) = since {
            route.since = deadline - self.settings.deadline;
        }
        route.ready = ready;
        if route.ready.is_empty() {
            self.routes.forget_if_many(number);
        } else {
            self.turns.push_back(number);
        }
    }

    /// Whether the first message of a lane that waits is out of time.
    pub(super) fn is_late(&self, head: u32) -> bool {
        self.lanes.get(head).is_some_and(|entry| entry.deadline <= self.now)
    }
}
