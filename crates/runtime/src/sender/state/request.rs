use strait_core::{Limits, Message, Plan, planted};
use tokio::time::Instant;

/// What goes out together: messages of one route, and of each key only such as follow each other.
#[derive(Debug)]
pub(in crate::sender) struct Request {
    /// No other has this number.
    pub(super) number: u64,
    pub(in crate::sender) messages: Vec<Message>,
    /// The places of the messages.
    pub(super) places: Vec<u32>,
    bytes: usize,
    /// Whether something that was ready did not fit.
    pub(super) is_closed: bool,
    /// When the first of them is out of time, and when the last.
    pub(super) deadline: Instant,
    pub(in crate::sender) last_deadline: Instant,
}

impl Request {
    /// A request with nothing in it, for messages that are out of time at `deadline` or another time.
    pub(super) fn new(deadline: Instant) -> Self {
        Self {
            number: 0,
            // There may be as many routes as keys, with one message each.
            messages: Vec::with_capacity(1),
            places: Vec::with_capacity(1),
            bytes: 0,
            is_closed: false,
            deadline,
            last_deadline: deadline,
        }
    }

    /// Makes it ready to be filled again. The memory stays.
    pub(in crate::sender) fn clear(&mut self) {
        self.messages.clear();
        self.places.clear();
        (self.bytes, self.is_closed) = (0, false);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Whether there is room for so many bytes more. The first message always has.
    #[inline]
    pub(super) fn has_room(&self, bytes: usize, limits: Limits) -> bool {
        let fits = self.bytes + bytes <= limits.request_bytes || planted!("request-over-its-limit");
        self.is_empty() || (!self.is_closed && fits && self.messages.len() < limits.messages)
    }

    /// Whether nothing more would fit: there is nothing to wait for.
    #[inline]
    pub(super) fn is_full(&self, limits: Limits) -> bool {
        self.is_closed || self.messages.len() >= limits.messages || self.bytes >= limits.request_bytes
    }

    #[expect(clippy::inline_always, reason = "once a message, and each call that it goes through copies it")]
    #[inline(always)]
    pub(super) fn push(&mut self, place: u32, message: Message, plan: Plan, deadline: Instant) {
        if self.is_empty() {
            (self.deadline, self.last_deadline) = (deadline, deadline);
        } else if self.last_deadline != deadline {
            // Most were accepted at the same look at the clock.
            self.deadline = self.deadline.min(deadline);
            self.last_deadline = self.last_deadline.max(deadline);
        }
        self.bytes += plan.bytes;
        self.messages.push(message);
        self.places.push(place);
    }
}
