use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, SystemTime},
};

use strait_core::{Budget, Error, ErrorKind, Id, Key, Message, Ordering, Origin, Receipt, Result, planted};
use strait_kit::Leased;
use strait_lanes::Lanes;
use tokio::time::Instant;

use super::QueueOptions;

/// What every message counts beyond its bytes.
const OVERHEAD: usize = 64;

/// What a queue holds. A message stays in the lane of its key until it is deleted, so that the next one waits for it.
#[derive(Debug)]
pub(super) struct Store {
    options: QueueOptions,
    next: u64,
    bytes: usize,
    stored: Lanes<Key, Stored>,
    /// What may be leased: the first places of lanes, in turn.
    visible: VecDeque<u32>,
    /// When leases that ran out are looked for next.
    sweep: Option<Instant>,
    recent: Recent,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    bytes: usize,
    number: u64,
    at: SystemTime,
    deliveries: u32,
    leased_until: Option<Instant>,
}

impl Stored {
    #[inline]
    fn as_leased(&self, place: u32) -> Leased<Handle> {
        Leased {
            handle: Handle { place, number: self.number, delivery: self.deliveries },
            origin: Origin::new(self.number)
                .with_redeliveries(if planted!("redeliveries-uncounted") { 0 } else { self.deliveries - 1 })
                .with_stored_at(self.at),
            message: self.message.clone(),
        }
    }
}

/// A lease: the place of the message, its number, and which delivery it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle {
    place: u32,
    number: u64,
    delivery: u32,
}

impl Store {
    pub(super) fn new(options: QueueOptions) -> Self {
        Self {
            options,
            next: 0,
            bytes: 0,
            stored: Lanes::default(),
            visible: VecDeque::new(),
            sweep: None,
            recent: Recent::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_visible(&self) -> bool {
        !self.visible.is_empty()
    }

    /// How many bytes a message takes here.
    fn cost(message: &Message) -> usize {
        message.size() + OVERHEAD
    }

    /// Whether all of these fit.
    pub(super) fn fits(&self, batch: &[Message]) -> bool {
        self.bytes + batch.iter().map(Self::cost).sum::<usize>() <= self.options.bytes
    }

    /// Stores what fits. Once a message of a key does not, no later one of that key is stored.
    pub(super) fn store(&mut self, batch: &[Message], at: SystemTime) -> Vec<Result<Receipt>> {
        let mut refused = HashSet::new();
        batch
            .iter()
            .map(|message| {
                let skipped = message.key.as_ref().is_some_and(|key| refused.contains(key));
                if skipped || self.bytes + Self::cost(message) > self.options.bytes && !planted!("unbounded-store") {
                    refused.extend(message.key.clone());
                    let text = format!("memory: queue {:?} is full", self.options.name);
                    return Err(Error::new(ErrorKind::Throttled, text));
                }
                Ok(Receipt::new(self.store_one(message, at)))
            })
            .collect()
    }

    fn store_one(&mut self, message: &Message, at: SystemTime) -> u64 {
        let number = self.next;
        if let Some(window) = self.options.dedup.filter(|_| !planted!("second-copy-stored"))
            && let Some(id) = message.dedup_id()
            && let Some(first) = self.recent.check(id, number, Instant::now(), window)
        {
            return first;
        }
        self.next += 1;
        let bytes = message.size();
        self.bytes += bytes + OVERHEAD;
        let key = message.key.as_ref().filter(|_| self.options.ordering == Ordering::Key);
        let stored = Stored { message: message.clone(), bytes, number, at, deliveries: 0, leased_until: None };
        let (place, _) = self.stored.push(key, stored);
        if !self.is_locked(place) && self.stored.is_first(place) {
            self.visible.push_back(place);
        }
        number
    }

    /// Whether something of the lane that begins at `first` is leased. What is leased is always near the beginning.
    fn is_locked(&self, first: u32) -> bool {
        let mut place = Some(first);
        (0..self.options.per_key).any(|_| {
            let leased =
                place.and_then(|place| self.stored.get(place)).is_some_and(|stored| stored.leased_until.is_some());
            place = place.and_then(|place| self.stored.next(place));
            leased
        })
    }

    fn first_of(&self, mut place: u32) -> u32 {
        while let Some(previous) = self.stored.previous(place) {
            place = previous;
        }
        place
    }

    /// Leases what is visible, within the budget: of a key at most as many in a row as the options allow.
    pub(super) fn lease(&mut self, budget: Budget, now: Instant) -> Vec<Leased<Handle>> {
        self.sweep(now);
        let until = Some(now + self.options.lease);
        // Chosen first, so that each is copied once, to where it stays.
        let mut chosen = Vec::with_capacity(budget.messages.min(self.visible.len()));
        let mut bytes = 0;
        while chosen.len() < budget.messages
            && bytes < budget.bytes
            && let Some(mut id) = self.visible.pop_front()
        {
            for left in (0..self.options.per_key).rev() {
                let stored = self.stored.get_mut(id).expect("what is visible is stored");
                stored.deliveries += 1;
                stored.leased_until = until;
                bytes += stored.bytes;
                chosen.push(id);
                if left == 0 || chosen.len() >= budget.messages || bytes >= budget.bytes {
                    break;
                }
                let Some(next) = self.stored.next(id) else { break };
                id = next;
            }
        }
        let leased = |id| self.stored.get(id).expect("it was just chosen").as_leased(id);
        chosen.into_iter().map(leased).collect()
    }

    fn get(&mut self, handle: Handle) -> Option<&mut Stored> {
        let Handle { place, number, delivery } = handle;
        let held = |stored: &&mut Stored| {
            stored.number == number && stored.deliveries == delivery && stored.leased_until.is_some()
        };
        self.stored.get_mut(place).filter(held)
    }

    fn gone(&self) -> Error {
        Error::new(ErrorKind::Lost, format!("memory: the lease on a message of queue {:?} is gone", self.options.name))
    }

    pub(super) fn delete(&mut self, handle: Handle) -> Result<()> {
        let bytes = self.get(handle).map(|stored| stored.bytes).ok_or_else(|| self.gone())?;
        self.bytes -= bytes + OVERHEAD;
        let first = self.stored.previous(handle.place).map(|previous| self.first_of(previous));
        let first = self.stored.remove(handle.place).or(first);
        if let Some(first) = first.filter(|first| !self.is_locked(*first)) {
            self.visible.push_front(first);
        }
        if self.stored.is_empty() {
            self.stored.shrink();
        }
        Ok(())
    }

    pub(super) fn extend(&mut self, handle: Handle, now: Instant) -> Result<()> {
        let until = now + self.options.lease;
        match self.get(handle) {
            Some(stored) if stored.leased_until > Some(now) => stored.leased_until = Some(until),
            _ => return Err(self.gone()),
        }
        Ok(())
    }

    /// Ends a lease once `time` is over.
    pub(super) fn postpone(&mut self, handle: Handle, now: Instant, time: Duration) -> Result<()> {
        let Some(end) = now.checked_add(time) else {
            return Err(Error::new(ErrorKind::Unsupported, "memory: a pause is longer than clocks can count"));
        };
        match self.get(handle) {
            Some(stored) if stored.leased_until > Some(now) => stored.leased_until = Some(end),
            _ => return Err(self.gone()),
        }
        Ok(())
    }

    /// Ends a lease. The message is the first to be leased again, once nothing else of its key is leased.
    pub(super) fn release(&mut self, handle: Handle) -> Result<()> {
        let stored = self.get(handle);
        stored.map(|stored| stored.leased_until = None).ok_or_else(|| self.gone())?;
        let first = self.first_of(handle.place);
        if !self.is_locked(first) {
            self.visible.push_front(first);
        }
        Ok(())
    }

    /// Ends the leases that have run out, the newest first, so that the oldest is at the front. Looks four times a lease.
    fn sweep(&mut self, now: Instant) {
        if self.sweep.is_some_and(|next| next > now) {
            return;
        }
        self.sweep = Some(now + self.options.lease / 4);
        let run_out = |stored: &Stored| stored.leased_until.is_some_and(|until| until <= now);
        let mut handles: Vec<_> = self
            .stored
            .iter()
            .filter(|(_, stored)| run_out(stored))
            .map(|(place, stored)| Handle { place, number: stored.number, delivery: stored.deliveries })
            .collect();
        handles.sort_unstable_by_key(|handle| std::cmp::Reverse(handle.number));
        for handle in handles {
            let _ = self.release(handle); // it is held: it was found so
        }
    }
}

/// The ids of a while, and the number that each was stored under.
#[derive(Debug, Default)]
struct Recent {
    numbers: HashMap<Id, u64>,
    order: VecDeque<(Instant, Id)>,
}

impl Recent {
    /// Remembers an id, unless it was seen within the window. Returns what it was stored under then.
    fn check(&mut self, id: Id, number: u64, now: Instant, window: Duration) -> Option<u64> {
        while self.order.front().is_some_and(|(at, _)| *at + window <= now) {
            if let Some((_, old)) = self.order.pop_front() {
                self.numbers.remove(&old);
            }
        }
        if let Some(first) = self.numbers.get(&id) {
            return Some(*first);
        }
        self.order.push_back((now, id));
        self.numbers.insert(id, number);
        None
    }
}
