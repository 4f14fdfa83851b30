mod failing;
mod leaving;
mod postponing;
mod settling;
mod showing;

use std::{
    cell::LazyCell,
    collections::{BTreeMap, VecDeque},
    mem,
    time::{self, Duration},
};

use strait_core::{
    Budget, Error, Guarantees, Key, Measure, Moment, Observer as _, Ordering, Received, Result, planted,
};
use strait_lanes::Lanes;
use tokio::time::Instant;

pub(super) use failing::Blame;
use postponing::Postponed;
pub(super) use postponing::Postponing;
use settling::Permission;

use super::{
    ReceiverSettings,
    item::{Item, Next, after, now},
};
use crate::Failure;

/// What a receiver holds, and what may happen to it next.
///
/// No tasks and no I/O: a driver brings messages and carries out what is due, deliveries come and go. Every message is
/// in exactly one of the lists below, with a delivery, or with the driver.
#[derive(Debug)]
pub(super) struct Desk {
    settings: ReceiverSettings,
    /// How many messages may wait to be handed out before no more are asked for.
    prefetch: usize,
    /// How many of those that were asked for did not come yet.
    owed: usize,
    /// When more are asked for, if none were since as many wait as may: once so few wait.
    asks_at: Option<usize>,
    /// How many messages arrived and did not leave, and their bytes.
    held: usize,
    bytes: usize,
    /// How many of them are with a delivery.
    running: usize,
    /// How many of them cannot go on by themselves.
    stalled: usize,
    permission: Permission,
    /// What may be handed out.
    ready: VecDeque<Box<Item>>,
    /// A place for each message with a key, and the message while it waits for its turn.
    lanes: Lanes<Key, Option<Box<Item>>>,
    /// What waits for a time, with a number that tells apart what waits for the same.
    paused: BTreeMap<(Instant, u64), Box<Item>>,
    pauses: u64,
    /// What is to wait with the provider, and the longest pause that may; what does.
    postponing: Vec<Postponing>,
    longest_postponed: Duration,
    postponed: Postponed,
    /// What was dealt with, to be settled. It keeps its claim and its lane until then.
    over: Vec<Box<Item>>,
    /// What is to be buried.
    doomed: Vec<Box<Item>>,
    /// Boxes to be used again.
    spare: Vec<Box<Item>>,
    /// When the claim ends that was started last, in both forms: claims that came together mostly end together.
    ends: Option<(Moment, time::Instant)>,
    /// How many tasks wait for something to be ready.
    pub(super) waiting: usize,
    /// How many of them were told that something is, and did not come yet, at most.
    pub(super) told: usize,
    /// Whether the driver sleeps and would settle at once.
    pub(super) idle: bool,
    phase: Phase,
    /// Whether it came from a log: then what fails is handed out again also while closing.
    partitioned: bool,
    /// Nobody is left to be handed anything.
    abandoned: bool,
    failure: Option<Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Nothing new comes in; what is started is brought to its end.
    Closing,
    /// The driver is gone, or about to go: nothing is settled any more.
    Ended,
}

impl Desk {
    /// One before a consumer like this.
    pub(super) fn new(settings: ReceiverSettings, guarantees: &Guarantees) -> Self {
        Self {
            prefetch: settings.prefetch_of(guarantees),
            longest_postponed: postponing::longest(&settings, guarantees),
            settings,
            owed: 0,
            asks_at: None,
            held: 0,
            bytes: 0,
            running: 0,
            stalled: 0,
            permission: Permission::Granted,
            ready: VecDeque::new(),
            lanes: Lanes::default(),
            paused: BTreeMap::new(),
            pauses: 0,
            postponing: Vec::new(),
            postponed: Postponed::default(),
            over: Vec::new(),
            doomed: Vec::new(),
            spare: Vec::new(),
            ends: None,
            waiting: 0,
            told: 0,
            idle: false,
            phase: Phase::Open,
            partitioned: false,
            abandoned: false,
            failure: None,
        }
    }

    /// How much more fits, if anything does. It is never less than what was asked for and has not come: a poll that is
    /// under way is to be answered before its leases run out.
    pub(super) fn budget(&mut self) -> Option<Budget> {
        let room = self.settings.buffer.saturating_sub(self.held);
        let messages = self.prefetch.saturating_sub(self.ready.len()).max(self.owed).min(room);
        self.owed = messages;
        let bytes = self.settings.buffer_bytes.saturating_sub(self.bytes);
        if planted!("unbounded-buffer") {
            return self.is_open().then_some(Budget::new(1 << 20, 1 << 40));
        }
        self.asks_at = (messages == 0 && room > 0).then_some(self.prefetch / 2);
        (self.is_open() && messages > 0 && bytes > 0).then_some(Budget::new(messages, bytes))
    }

    /// Whether the driver should ask for more: so many were handed out that half of what may wait is missing. Said once.
    #[inline]
    pub(super) fn is_hungry(&mut self) -> bool {
        self.asks_at.take_if(|few| self.ready.len() <= *few).is_some()
    }

    fn is_full(&self) -> bool {
        self.held >= self.settings.buffer || self.bytes >= self.settings.buffer_bytes
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0
    }

    pub(super) fn has_over(&self) -> bool {
        !self.over.is_empty()
    }

    /// Whether a task that waits would find something.
    #[inline]
    pub(super) fn has_news(&self) -> bool {
        (!self.ready.is_empty() && self.running < self.settings.in_flight) || self.is_finished()
    }

    /// Takes in new messages: the first of each lane is ready, the others queue behind it.
    pub(super) fn arrive(&mut self, batch: Vec<Received>) {
        if !self.is_open() {
            for received in batch {
                received.claim.drain(); // dropped on purpose: given back, and nothing that runs is to suffer for it
            }
            return;
        }
        self.owed = self.owed.saturating_sub(batch.len());
        self.settings.meter.observe(Measure::Received(batch.len()));
        self.partitioned |= batch.first().is_some_and(|received| received.claim.partition().is_some());
        let ordered = self.settings.ordering == Ordering::Key && !planted!("no-lanes");
        let postponed = self.knows_postponed();
        let mut batch = batch.into_iter();
        while batch.len() > 0 {
            let mut item = self.spare.pop().unwrap_or_default();
            item.fill(&mut batch);
            let early = if postponed { self.comes_again(&mut item) } else { None };
            let key = if ordered { item.received().message.key.as_ref() } else { None };
            let all = if planted!("one-lane-for-all-keys") { Key::new("all").ok() } else { None };
            let key = all.as_ref().or(key);
            self.held += 1;
            self.bytes += item.bytes;
            if key.is_none() {
                match early {
                    None => self.ready.push_back(item),
                    Some(due) => self.pause_until(item, Next::Work, due),
                }
                continue;
            }
            let (place, is_first) = self.lanes.push(key, None);
            item.lane = Some(place);
            if let Some(due) = early {
                self.pause_until(item, Next::Work, due);
            } else if is_first {
                self.ready.push_back(item);
            } else if let Some(waiting) = self.lanes.get_mut(place) {
                *waiting = Some(item);
            }
        }
        self.observe_buffer();
    }

    /// Makes a message ready, once nothing is before it in its lane.
    #[inline]
    fn line_up(&mut self, item: Box<Item>) {
        match item.lane {
            Some(place) if !self.lanes.is_first(place) => {
                if let Some(waiting) = self.lanes.get_mut(place) {
                    *waiting = Some(item);
                }
            }
            _ => self.ready.push_back(item),
        }
    }

    /// The next message to work on. Skips what is being taken away.
    #[expect(clippy::inline_always, reason = "once a message, and a call costs a sixth of it")]
    #[inline(always)]
    pub(super) fn hand_out(&mut self, now: impl Fn() -> time::Instant) -> Option<Box<Item>> {
        while self.running < self.settings.in_flight {
            let item = self.ready.pop_front()?;
            if let Some(item) = self.start(item, &now) {
                return Some(item);
            }
        }
        None
    }

    /// The next messages to work on: of a key as many in a row as there are, since a batch ends as one.
    pub(super) fn hand_out_batch(&mut self, max: usize) -> Vec<Box<Item>> {
        let mut batch: Vec<Box<Item>> = Vec::with_capacity(max.min(self.ready.len()));
        let now = LazyCell::new(now);
        while batch.len() < max
            && self.running < self.settings.in_flight
            && self.ready.front().is_some_and(|item| batch.is_empty() || !item.alone)
            && let Some(item) = self.ready.pop_front()
        {
            let Some(item) = self.start(item, || *now) else { continue };
            let (mut place, alone) = (item.lane, item.alone);
            batch.push(item);
            if alone {
                break;
            }
            while batch.len() < max
                && self.running < self.settings.in_flight
                && let Some(next) = place.and_then(|place| self.lanes.next(place))
                && let Some(follower) = self.lanes.get_mut(next).and_then(|item| item.take_if(|item| !item.alone))
            {
                place = Some(next);
                match self.start(follower, || *now) {
                    Some(follower) => batch.push(follower),
                    None => break,
                }
            }
        }
        batch
    }

    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn start(&mut self, mut item: Box<Item>, now: impl Fn() -> time::Instant) -> Option<Box<Item>> {
        let ends = &mut self.ends;
        let over = |until| {
            let known = ends.filter(|(last, _)| *last == until);
            let (_, end) = *ends.insert(known.unwrap_or_else(|| (until, until.into())));
            now() >= end
        };
        let may_start = item.claim().start_unless(over);
        if !may_start || item.received().origin.crashes() >= self.settings.retry.attempts {
            self.turn_away(item, may_start);
            return None;
        }
        item.attempt += 1;
        self.running += 1;
        Some(item)
    }

    /// A message is not worked on: its claim is gone, or it may start and its processes died of it too often.
    #[cold]
    fn turn_away(&mut self, item: Box<Item>, may_start: bool) {
        if may_start { self.bury_unopened(item) } else { self.lose(item) }
    }

    /// Takes back a message that is done with. Returns whether the driver should know.
    #[inline]
    pub(super) fn ack(&mut self, item: Box<Item>) -> bool {
        self.running -= 1;
        if self.phase == Phase::Ended {
            self.leave(item);
            return false;
        }
        self.over.push(item);
        mem::take(&mut self.idle)
    }

    /// Takes back a message whose attempt ended so. Returns whether the driver should know.
    #[inline]
    pub(super) fn end_attempt(&mut self, item: Box<Item>, outcome: Result<(), Failure>) -> bool {
        match outcome {
            Ok(()) => self.ack(item),
            Err(failure) => {
                self.fail(item, failure);
                true
            }
        }
    }

    fn pause(&mut self, item: Box<Item>, next: Next, pause: Duration) {
        self.pause_until(item, next, after(pause));
    }

    fn pause_until(&mut self, mut item: Box<Item>, next: Next, due: Instant) {
        item.next = next;
        self.pauses += 1;
        self.paused.insert((due, self.pauses), item);
    }

    /// When the next pause ends.
    pub(super) fn due(&self) -> Option<Instant> {
        self.paused.first_key_value().map(|((due, _), _)| *due)
    }

    /// Ends the pauses that are over.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(first) = self.paused.first_entry()
            && first.key().0 <= now
        {
            let item = first.remove();
            match item.next {
                Next::Work => self.line_up(item),
                Next::Bury => self.doomed.push(item),
                Next::Settle => self.over.push(item),
            }
        }
    }

    /// Closes because of `error`, for the next `recv` to report.
    pub(super) fn break_off(&mut self, error: Error) {
        self.close();
        self.failure.get_or_insert(error);
    }

    /// Whether nothing will be handed out any more.
    fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            // What runs may fail, and on a log it is handed out again then.
            Phase::Closing if self.partitioned && !self.abandoned && !planted!("log-ends-too-early") => self.held == 0,
            Phase::Closing => self.held == self.running,
            Phase::Ended => true,
        }
    }

    /// How it ended, once nothing will be handed out any more.
    pub(super) fn outcome(&mut self) -> Option<Result<()>> {
        self.is_finished().then(|| self.failure.take().map_or(Ok(()), Err))
    }

    fn observe_buffer(&self) {
        self.settings.meter.observe(Measure::Buffered { messages: self.held, bytes: self.bytes });
    }
}
