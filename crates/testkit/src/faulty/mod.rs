//! The fault layer: wrappers that fail, delay, duplicate, answer ambiguously and lose claims, by a plan.

mod consumer;
mod in_hand;
mod log;
mod ownership;
mod producer;
mod queue;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use fastrand::Rng;
use strait_core::{Error, ErrorKind};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use in_hand::InHand;

pub use consumer::FaultyConsumer;
pub use log::FaultyLog;
pub use ownership::FaultyOwnership;
pub use producer::FaultyProducer;
pub use queue::{FaultyQueue, Numbered};

/// Where something may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Site {
    /// [`Producer::send`](strait_core::Producer::send).
    Send,
    /// `receive`, of a consumer or a queue.
    Receive,
    /// [`Consumer::settle`](strait_core::Consumer::settle).
    Settle,
    /// [`Queue::delete`](strait_kit::Queue::delete).
    Delete,
    /// [`Queue::extend`](strait_kit::Queue::extend).
    Extend,
    /// [`Queue::release`](strait_kit::Queue::release).
    Release,
    /// `postpone`, of a consumer or a queue.
    Postpone,
    /// [`Log::open`](strait_kit::Log::open).
    Open,
    /// [`Reader::next`](strait_kit::Reader::next).
    Read,
    /// [`Ownership::next`](strait_kit::Ownership::next).
    Own,
    /// [`Ownership::commit`](strait_kit::Ownership::commit).
    Commit,
    /// [`Ownership::release`](strait_kit::Ownership::release) and [`finish`](strait_kit::Ownership::finish).
    HandOver,
    /// [`Ownership::close`](strait_kit::Ownership::close).
    Leave,
}

/// What goes wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is not done, and fails so.
    Fail(ErrorKind),
    /// It is not done, and asks for so long a pause.
    Patience(Duration),
    /// It fails so for these entries, and for those of their keys behind them; they are not done. The rest is.
    These(Vec<usize>, ErrorKind),
    /// It is done, and the answer is lost.
    Ambiguous,
    /// It is done, and the answer has an entry too few.
    Short,
    /// It is done twice; of a receive, an old delivery comes along once more.
    Duplicate,
    /// It is done, and the answer takes so long.
    Delay(Duration),
    /// The claim of the first entry is taken away; or a partition is.
    Lose,
    /// It waits until the plan is healed, and is done then.
    Hang,
}

impl Fault {
    fn name(&self) -> &'static str {
        match self {
            Self::Fail(_) => "fail",
            Self::Patience(_) => "patience",
            Self::These(..) => "partial",
            Self::Ambiguous => "ambiguous",
            Self::Short => "short",
            Self::Duplicate => "duplicate",
            Self::Delay(_) => "delay",
            Self::Lose => "lose",
            Self::Hang => "hang",
        }
    }
}

/// A plan of what goes wrong: by script, or by chance from a seed. Clones are the same plan.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<Plan>>);

#[derive(Debug)]
struct Plan {
    state: Mutex<State>,
    healed: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    script: HashMap<Site, VecDeque<Option<Fault>>>,
    always: HashMap<Site, Fault>,
    /// How often something goes wrong by chance, in percent of calls.
    chance: u32,
    /// How often something may go wrong by chance at a place in a row, if that passes and takes nothing away.
    passing: Option<u32>,
    /// How often something went wrong by chance at a place in a row.
    in_a_row: HashMap<Site, u32>,
    rng: Rng,
    fired: BTreeMap<(Site, &'static str), usize>,
    released: Vec<u64>,
    in_hand: InHand,
    /// When the last call at a place began that went well.
    good: HashMap<Site, Instant>,
}

impl Faults {
    /// Nothing goes wrong.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Nothing goes wrong but what a script will say.
    pub fn scripted() -> Self {
        Self::by_chance(0, 0)
    }

    /// In `percent` of the calls at each place something goes wrong, whatever may there; of calls that are rare, in three
    /// times as many.
    pub fn by_chance(seed: u64, percent: u32) -> Self {
        Self::planned(seed, percent, None)
    }

    /// As [`by_chance`](Self::by_chance), but all of it passes: calls fail or take long, at most so often in a row. No
    /// claim is taken away, and no answer is lost that brings messages.
    pub fn passing(seed: u64, percent: u32, in_a_row: u32) -> Self {
        Self::planned(seed, percent, Some(in_a_row))
    }

    fn planned(seed: u64, percent: u32, passing: Option<u32>) -> Self {
        let state = State {
            script: HashMap::new(),
            always: HashMap::new(),
            chance: percent,
            passing,
            in_a_row: HashMap::new(),
            rng: Rng::with_seed(seed),
            fired: BTreeMap::new(),
            released: Vec::new(),
            in_hand: InHand::default(),
            good: HashMap::new(),
        };
        Self(Some(Arc::new(Plan { state: Mutex::new(state), healed: watch::Sender::new(false) })))
    }

    /// The next calls at `site` meet these, one after the other; `None` is a call that goes well.
    pub fn script(&self, site: Site, faults: impl IntoIterator<Item = Option<Fault>>) {
        self.plan().script.entry(site).or_default().extend(faults);
    }

    /// Every call at `site` that no script is for meets this.
    pub fn always(&self, site: Site, fault: Fault) {
        self.plan().always.insert(site, fault);
    }

    /// Nothing goes wrong any more, and what hangs goes on.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.script.clear();
        plan.always.clear();
        plan.chance = 0;
        drop(plan);
        if let Some(plan) = &self.0 {
            plan.healed.send_replace(true);
        }
    }

    /// How often what went wrong where.
    pub fn fired(&self) -> BTreeMap<(Site, &'static str), usize> {
        self.0.as_ref().map(|_| self.plan().fired.clone()).unwrap_or_default()
    }

    /// How often anything went wrong there.
    pub fn count(&self, site: Site) -> usize {
        self.fired().iter().filter(|((other, _), _)| *other == site).map(|(_, count)| count).sum()
    }

    /// What was released, by number of its lease, in the order in which it was.
    pub fn released(&self) -> Vec<u64> {
        self.plan().released.clone()
    }

    /// What a process that calls by this plan was given and has not given back: leases that it neither deleted nor
    /// released, unless they have ended, and partitions that it neither handed over nor lost. What it never heard of does
    /// not count.
    pub fn in_hand(&self) -> Vec<String> {
        self.0.as_ref().map(|_| self.plan().in_hand.names(Instant::now())).unwrap_or_default()
    }

    /// The partitions that such a process lost, or was told that it had.
    pub fn lost(&self) -> BTreeSet<Arc<str>> {
        self.0.as_ref().map(|_| self.plan().in_hand.lost.clone()).unwrap_or_default()
    }

    /// When the last call at `site` began that went well throughout, if there was one.
    pub fn last_good(&self, site: Site) -> Option<Instant> {
        self.0.as_ref().and_then(|_| self.plan().good.get(&site).copied())
    }

    /// A call at `site` that began then went well throughout.
    fn note_good(&self, site: Site, begun: Instant) {
        if self.0.is_some() {
            self.plan().good.insert(site, begun);
        }
    }

    /// Changes what is known to be in hand.
    fn note(&self, change: impl FnOnce(&mut InHand)) {
        if self.0.is_some() {
            change(&mut self.plan().in_hand);
        }
    }

    fn plan(&self) -> MutexGuard<'_, State> {
        let plan = self.0.as_ref().expect("a plan without faults is not asked for any");
        plan.state.lock().expect("nothing panics while holding this")
    }

    /// What goes wrong with the call that begins now, on `entries` entries.
    fn next(&self, site: Site, entries: usize) -> Option<Fault> {
        self.0.as_ref()?;
        let mut plan = self.plan();
        let fault = match plan.script.get_mut(&site).and_then(VecDeque::pop_front) {
            Some(scripted) => scripted,
            None => plan.always.get(&site).cloned().or_else(|| plan.in_passing(site, entries)),
        }?;
        *plan.fired.entry((site, fault.name())).or_default() += 1;
        Some(fault)
    }

    fn note_release(&self, numbers: impl IntoIterator<Item = u64>) {
        if self.0.is_some() {
            self.plan().released.extend(numbers);
        }
    }

    /// Waits until nothing goes wrong any more.
    async fn healed(&self) {
        if let Some(plan) = &self.0 {
            let _ = plan.healed.subscribe().wait_for(|healed| *healed).await.map(drop);
        }
    }

    /// Waits as a delay says, or until it is healed.
    async fn wait(&self, fault: Option<&Fault>) {
        match fault {
            Some(Fault::Delay(pause)) => time::sleep(*pause).await,
            Some(Fault::Hang) => self.healed().await,
            _ => {}
        }
    }
}

/// What a coordinator reports while it goes on: a missing permission, a row of a newer version, a row that is corrupt, a
/// store that is gone, one that cannot be used.
const REPORTS: [ErrorKind; 5] =
    [ErrorKind::Denied, ErrorKind::Unsupported, ErrorKind::Other, ErrorKind::NotFound, ErrorKind::Config];

impl State {
    /// What goes wrong by chance, unless too much did in a row.
    fn in_passing(&mut self, site: Site, entries: usize) -> Option<Fault> {
        let before = self.in_a_row.get(&site).copied().unwrap_or(0);
        let fault = self.by_chance(site, entries).filter(|_| self.passing.is_none_or(|most| before < most));
        self.in_a_row.insert(site, if fault.is_some() { before + 1 } else { 0 });
        fault
    }

    fn by_chance(&mut self, site: Site, entries: usize) -> Option<Fault> {
        // Some calls are rare, and are to go wrong too.
        let rare = matches!(
            site,
            Site::Extend | Site::Release | Site::Postpone | Site::Commit | Site::Open | Site::HandOver | Site::Leave
        );
        if self.rng.u32(..100) >= self.chance * if rare { 3 } else { 1 } {
            return None;
        }
        let unavailable = Fault::Fail(ErrorKind::Unavailable);
        let delay = Fault::Delay(Duration::from_millis(self.rng.u64(1..2000)));
        let some = (0..entries).filter(|_| self.rng.u8(..3) == 0).collect();
        let mut menu = match site {
            Site::Send => vec![
                Fault::Fail(ErrorKind::Throttled),
                unavailable,
                Fault::These(some, ErrorKind::Throttled),
                Fault::Ambiguous,
                Fault::Duplicate,
                delay,
            ],
            Site::Receive => vec![unavailable, Fault::Ambiguous, Fault::Duplicate, delay],
            Site::Delete => vec![unavailable, Fault::Ambiguous, Fault::Lose, delay],
            Site::Extend => vec![unavailable, Fault::Lose, delay],
            Site::Settle | Site::Release | Site::Open | Site::HandOver | Site::Leave => vec![unavailable, delay],
            Site::Read => vec![unavailable, Fault::Fail(ErrorKind::Throttled), delay],
            Site::Own => vec![unavailable, Fault::Fail(REPORTS[self.rng.usize(..REPORTS.len())]), delay, Fault::Lose],
            Site::Commit | Site::Postpone => vec![unavailable, Fault::Ambiguous, delay],
        };
        if self.passing.is_some() {
            let stays = |fault: &Fault| match fault {
                Fault::Lose => false,
                Fault::Ambiguous | Fault::Duplicate => site != Site::Receive,
                _ => true,
            };
            menu.retain(stays);
        }
        let choice = self.rng.usize(..menu.len());
        menu.into_iter().nth(choice)
    }
}

/// The error of a planned failure.
fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "a planned failure")
}

/// The error of a planned failure whose request may have been carried out.
fn lost_answer() -> Error {
    Error::new(ErrorKind::Unavailable, "a planned failure: the answer was lost").into_ambiguous()
}
