use std::mem;

use strait_core::{Message, Plan, planted};
use tokio::time::Instant;

use super::{Entry, GRACE, News, Request, Stage, State, routes::Route};

impl State {
    /// A lane may be sent from, beginning with its first place, for as far as one request has room for it.
    pub(super) fn make_ready(&mut self, head: u32) {
        let deadline = self.lanes.get(head).expect("a lane has a first place").deadline;
        self.expires = self.expires.min(deadline);
        let mut next = Some(head);
        while let Some(place) = next
            && self.gather(place)
        {
            next = self.lanes.next(place);
        }
    }

    /// Moves what waits into a request, if it may be in one. Returns whether it may.
    fn gather(&mut self, place: u32) -> bool {
        let entry = self.lanes.get(place).expect("the links hold places only");
        let (plan, deadline) = (entry.plan, entry.deadline);
        let Some(key_bytes) = self.key_bytes_with(place, plan) else { return false };
        let waiting = self.lanes.get_mut(place).and_then(|entry| entry.message.take());
        let message = waiting.expect("what waits has its message");
        self.put(place, *message, plan, deadline, key_bytes);
        true
    }

    /// How many bytes of its key a request has with the message of this place, if it may be in one: nothing of its key is
    /// before it, or that is in the open request of its route, which has room for both.
    #[inline]
    pub(super) fn key_bytes_with(&mut self, place: u32, plan: Plan) -> Option<usize> {
        let Some(before) = self.lanes.previous(place) else { return Some(plan.bytes) };
        let Stage::InRequest { number, key_bytes } = self.lanes.get(before)?.stage else { return None };
        let open = self.routes.get_mut(plan.route)?.open.as_mut().filter(|open| open.number == number)?;
        if !self.limits.shares_key(key_bytes, plan.bytes) {
            return None;
        }
        if !open.has_room(plan.bytes, self.limits) {
            open.is_closed = true;
            return None;
        }
        Some(key_bytes + plan.bytes)
    }

    /// Puts a message into the open request of its route, which then has so many bytes of its key, or begins another.
    #[expect(clippy::inline_always, reason = "once a message, and each call that it goes through copies it")]
    #[inline(always)]
    pub(super) fn put(&mut self, place: u32, message: Message, plan: Plan, deadline: Instant, key_bytes: usize) {
        let route = self.routes.open(plan.route);
        if route.open.is_none() {
            self.turns.push_back(plan.route);
        }
        let open = match &mut route.open {
            Some(open) if open.has_room(plan.bytes, self.limits) => open,
            _ => {
                self.begun += 1;
                let mut request = self.spare.pop().unwrap_or_else(|| Request::new(deadline));
                request.number = self.begun;
                route.begin(request)
            }
        };
        open.push(place, message, plan, deadline);
        let stage = Stage::InRequest { number: open.number, key_bytes };
        self.lanes.get_mut(place).expect("the caller has it").stage = stage;
    }

    /// Whether the driver, which sleeps, sleeps too long for this route.
    pub(super) fn is_due(&self, number: u64) -> bool {
        let leaves = |route| self.leaves(route).is_some_and(|leaves| self.due.is_none_or(|due| leaves < due));
        self.routes.get(number).is_some_and(leaves)
    }

    /// When the next request of this route may leave: in the past, if it does not wait for anything.
    fn leaves(&self, route: &Route) -> Option<Instant> {
        let (first, is_followed) = route.first()?;
        let accepted = first.deadline - self.settings.deadline;
        let hurry = self.closed || self.flushes.are_under_way();
        if is_followed || hurry || first.is_full(self.limits) {
            return Some(accepted);
        }
        Some(accepted + self.settings.linger * if planted!("lingers-too-long") { 2 } else { 1 })
    }

    /// When something is due that nobody brings: the end of a pause, or of a linger.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let leaves = |turn: &u64| self.leaves(self.routes.get(*turn)?);
        delayed.into_iter().chain(self.turns.iter().filter_map(leaves)).min()
    }

    /// The next request, if one may go out: full, or out of patience.
    pub(in crate::sender) fn next_request(&mut self, news: &mut News) -> Option<Request> {
        for _ in 0..self.turns.len() {
            let number = self.turns.pop_front()?;
            let request = self.take_request(number, news);
            self.take_turns(number);
            if let Some(request) = request {
                self.under_way.push(request.number);
                self.late = self.late.min(request.deadline + GRACE);
                return Some(request);
            }
        }
        None
    }

    /// Puts a route behind all others, if it has something to send.
    pub(super) fn take_turns(&mut self, number: u64) {
        if self.routes.get(number).is_some_and(|route| route.open.is_some()) {
            self.turns.push_back(number);
        } else {
            self.routes.forget_if_many(number);
        }
    }

    /// Takes out the next request of a route, if it may leave, without what is out of time.
    fn take_request(&mut self, number: u64, news: &mut News) -> Option<Request> {
        while self.leaves(self.routes.get(number)?)? <= self.now {
            let mut request = self.routes.get_mut(number)?.take()?;
            self.give_up_late(&mut request, news);
            if !request.is_empty() {
                return Some(request);
            }
            self.recycle(request);
        }
        None
    }

    /// Gives up what is out of time in a request that was not sent.
    pub(super) fn give_up_late(&mut self, request: &mut Request, news: &mut News) {
        if request.deadline > self.now {
            return;
        }
        let (messages, places) = (mem::take(&mut request.messages), mem::take(&mut request.places));
        request.clear();
        for (message, place) in messages.into_iter().zip(places) {
            if self.is_late(place) {
                self.give_up(place, news);
            }
            match self.lanes.get(place) {
                Some(&Entry { plan, deadline, .. }) => request.push(place, message, plan, deadline),
                None => news.gone.push(message), // with the first of its lane
            }
        }
    }

    /// Keeps the memory of a request that is empty.
    pub(in crate::sender) fn recycle(&mut self, request: Request) {
        if self.spare.len() < self.settings.requests {
            self.spare.push(request);
        }
    }

    /// Whether a message that waits is out of time.
    pub(super) fn is_late(&self, place: u32) -> bool {
        self.lanes.get(place).is_some_and(|entry| entry.deadline <= self.now)
    }
}
