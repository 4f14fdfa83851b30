//! What happened in a run, and what that says.

mod check;
mod departures;
mod report;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use strait_core::Error;
use strait_runtime::Outcome;
use tokio::time::Instant;

pub use report::Report;

/// A message as a history names it: its key, and its number among those of its key, in the order in which they were sent.
pub type Name = (String, usize);

/// What happened in a run, in the order in which it did. Clones are the same history.
///
/// Knows nothing of how it came about: [`check`](Self::check) reads the events alone.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Vec<Event>>>);

#[derive(Clone, Debug)]
enum Event {
    Sent(Name, Fate),
    Started { name: Name, attempt: u64, place: Place },
    Ended { name: Name, attempt: u64, end: End, at: Instant },
    Gone(usize, Departure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stored,
    NotStored,
    Unknown,
}

/// Where an attempt runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The process, by number.
    pub member: usize,
    /// The partition that the message came from; nothing on a queue.
    pub source: Arc<str>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was processed.
    Processed,
    /// It was given up for good: to the dead letters.
    GivenUp,
    /// It failed, and comes again.
    Failed,
    /// Its claim was lost while it ran, so that others may have begun meanwhile.
    Lost,
}

/// How a process went.
#[derive(Clone, Debug)]
pub struct Departure {
    /// How many claims it lost before, or so it counted. What they were for may be processed again.
    pub claims_lost: usize,
    /// Partitions that it lost, whatever it had of them in hand.
    pub lost: BTreeSet<Arc<str>>,
    /// Whether it closed, and if not, or not in time, what may be processed again.
    pub how: How,
}

/// Whether a process closed.
#[derive(Clone, Debug)]
pub enum How {
    /// It did.
    Closed(Close),
    /// It was killed.
    Killed(Unsettled),
}

/// How a process closed.
#[derive(Clone, Debug)]
pub struct Close {
    /// What closing returned.
    pub outcome: Result<(), Error>,
    /// When it was asked for.
    pub begun: Instant,
    /// When it was done.
    pub ended: Instant,
    /// How long it was to take at most.
    pub drain: Duration,
    /// How long it may have taken at most once its last handler had ended.
    pub rest: Duration,
    /// By how much its end may be seen late.
    pub lag: Duration,
    /// How many messages it held when it was asked for.
    pub held: u64,
    /// What it had still in hand when it was done, by name.
    pub kept: Vec<String>,
    /// Set if the time to drain was over before everything that it had started was settled.
    pub forced: Option<Unsettled>,
}

/// What of a process may be processed again, when it goes without having settled everything.
#[derive(Clone, Copy, Debug)]
pub struct Unsettled {
    /// What it processed from then on: what was processed before was settled.
    pub since: Instant,
    /// So many more of each source: what it may have had in hand, and settled while something before it was not.
    pub in_hand: usize,
}

impl History {
    /// A message was sent, and that was its outcome.
    pub fn sent(&self, name: Name, outcome: &Outcome) {
        let fate = match outcome {
            Outcome::Sent(_) => Fate::Stored,
            Outcome::NotSent(_) => Fate::NotStored,
            Outcome::Unknown(_) => Fate::Unknown,
        };
        self.events().push(Event::Sent(name, fate));
    }

    /// An attempt begins there. Returns its number, to end it by.
    pub fn started(&self, name: Name, place: Place) -> u64 {
        let mut events = self.events();
        let attempt = events.len() as u64;
        events.push(Event::Started { name, attempt, place });
        attempt
    }

    /// An attempt ended.
    pub fn ended(&self, name: Name, attempt: u64, end: End) {
        self.events().push(Event::Ended { name, attempt, end, at: Instant::now() });
    }

    /// A process is gone.
    pub fn gone(&self, member: usize, departure: Departure) {
        self.events().push(Event::Gone(member, departure));
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.lock().expect("nothing panics while holding this")
    }

    /// Says what is wrong with it, where `ordered` by key was promised, once everything was to have come to its end.
    pub fn check(&self, ordered: bool) -> Report {
        let events = self.events();
        let mut report = Report::default();
        check::deliveries(&events, ordered, &mut report);
        departures::check(&events, &mut report);
        report
    }
}
