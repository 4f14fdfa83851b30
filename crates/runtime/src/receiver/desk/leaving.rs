//! How messages leave a desk: settled, because their claim is gone, because it closes, or because nobody is left.

use std::mem;

use strait_core::{ClaimState, Error, ErrorKind, Measure, Observer as _, planted};

use super::{Desk, Phase};
use crate::receiver::item::{Item, Next};

impl Desk {
    /// Lets go of what was taken away and is not being worked on, so that a partition that drains is not kept waiting
    /// by busy handlers.
    pub(in crate::receiver) fn sweep(&mut self) {
        if self.held == self.running {
            return;
        }
        for _ in 0..self.ready.len() {
            if let Some(item) = self.ready.pop_front() {
                if item.state() == ClaimState::Held { self.ready.push_back(item) } else { self.lose(item) }
            }
        }
        let gone = |item: &Item| match item.next {
            Next::Work => item.state() != ClaimState::Held,
            Next::Bury | Next::Settle => item.state() == ClaimState::Lost,
        };
        for item in self.take_waiting(gone) {
            self.lose(item);
        }
        for item in self.take_paused(gone) {
            self.lose(item);
        }
    }

    /// Takes nothing more in, and lets go of what was not started. What was started goes on: to its end on a log, where
    /// a gap would replay what was settled behind it; on a queue only what is running.
    pub(in crate::receiver) fn close(&mut self) {
        if !self.is_open() {
            return;
        }
        self.phase = Phase::Closing;
        let waiting = self.lanes.iter().filter_map(|(_, waiting)| waiting.as_ref());
        for item in self.ready.iter().chain(waiting).chain(self.paused.values()) {
            if !planted!("closing-gives-nothing-back") {
                item.claim().drain();
            }
        }
        self.sweep();
        self.leave_postponing();
        let of_a_queue = |item: &Item| item.claim().partition().is_none();
        // What is stalled would hold the close for nothing.
        let planted = planted!("stalled-holds-close");
        for item in self.take_paused(|item| {
            item.next == Next::Work && of_a_queue(item)
                || item.stalled.is_some() && item.next != Next::Settle && !planted
        }) {
            self.leave(item);
        }
    }

    /// Closes, and lets go of all that waits to be handed out: the last who could receive is gone.
    pub(in crate::receiver) fn abandon(&mut self) {
        self.close();
        self.abandoned = true;
        let ready = mem::take(&mut self.ready);
        for item in ready.into_iter().chain(self.take_waiting(|_| true)) {
            self.leave(item);
        }
        for item in self.take_paused(|item| item.next == Next::Work) {
            self.leave(item);
        }
    }

    /// Lets go of everything: the time to drain is over, or the driver is gone.
    pub(in crate::receiver) fn end(&mut self) {
        self.phase = Phase::Ended;
        self.leave_postponing();
        let lists = self.ready.drain(..).chain(self.over.drain(..)).chain(self.doomed.drain(..));
        let mut left: Vec<_> = lists.chain(mem::take(&mut self.paused).into_values()).collect();
        left.append(&mut self.take_waiting(|_| true));
        for item in left {
            self.leave(item);
        }
        debug_assert!(self.ready.is_empty(), "nothing waits behind what was let go of");
    }

    /// Whether a message whose attempt failed may be tried again here. While closing, a queue gives it to somebody else
    /// at once; a log would replay what was settled behind it.
    pub(super) fn goes_on(&self, item: &Item) -> bool {
        match self.phase {
            Phase::Open => true,
            Phase::Closing => !self.abandoned && item.claim().partition().is_some(),
            Phase::Ended => false,
        }
    }

    /// Lets go of a message whose claim is gone.
    pub(super) fn lose(&mut self, item: Box<Item>) {
        self.count_if_lost(&item);
        self.leave(item);
        self.observe_buffer();
    }

    fn count_if_lost(&self, item: &Item) {
        if item.state() == ClaimState::Lost {
            self.settings.meter.observe(Measure::ClaimsLost(1));
        }
    }

    /// Forgets a message that is not settled: dropping its claim gives it back. It comes again, so that what waits behind
    /// it in its lane is given back too, and comes after it. Unless it has come again already: what is behind that is in
    /// order.
    pub(super) fn leave(&mut self, item: Box<Item>) {
        let mut behind = Vec::new();
        let mut next = item.lane.and_then(|place| self.lanes.next(place));
        while let Some(place) = next
            && let Some(waiting) = self.lanes.get_mut(place)
            && !waiting.as_ref().is_some_and(|waiting| waiting.comes_again_after(&item))
            && !planted!("given-back-alone")
        {
            behind.extend(waiting.take());
            next = self.lanes.next(place);
        }
        self.forget(item);
        for item in behind {
            self.count_if_lost(&item);
            self.forget(item);
        }
    }

    /// Forgets a message, and lets the next of its lane start.
    pub(super) fn forget(&mut self, mut item: Box<Item>) {
        if item.confirm.is_some() {
            self.unconfirmed(&mut item);
        }
        self.held -= 1;
        self.bytes -= item.bytes;
        if item.stalled.take().is_some() {
            self.stalled -= 1;
            self.settings.meter.observe(Measure::Stalled(self.stalled));
        }
        let place = item.lane.take();
        item.empty();
        self.spare.push(item);
        if let Some(next) = place.and_then(|place| self.lanes.remove(place))
            && let Some(item) = self.lanes.get_mut(next).and_then(Option::take)
        {
            self.ready.push_back(item);
        }
    }

    /// Tells who waits for the settlement of a message that there will be none.
    #[cold]
    fn unconfirmed(&self, item: &mut Item) {
        if let Some(confirm) = item.confirm.take() {
            let error = Error::new(
                ErrorKind::Lost,
                format!("{}: the claim was lost before it was settled", self.settings.name),
            );
            let told = if planted!("lost-as-confirmed") { Ok(()) } else { Err(error) };
            let _ = confirm.send(told); // nobody waits any more
        }
    }

    /// Takes those that wait for their turn and are `meant`.
    fn take_waiting(&mut self, meant: impl Fn(&Item) -> bool) -> Vec<Box<Item>> {
        let waiting = self.lanes.iter().filter(|(_, waiting)| waiting.as_ref().is_some_and(|item| meant(item)));
        let places: Vec<_> = waiting.map(|(place, _)| place).collect();
        places.into_iter().filter_map(|place| self.lanes.get_mut(place)?.take()).collect()
    }

    /// Takes those that are paused and `meant`.
    fn take_paused(&mut self, meant: impl Fn(&Item) -> bool) -> Vec<Box<Item>> {
        let paused = self.paused.iter().filter(|(_, item)| meant(item));
        let ends: Vec<_> = paused.map(|(end, _)| *end).collect();
        ends.into_iter().filter_map(|end| self.paused.remove(&end)).collect()
    }
}
