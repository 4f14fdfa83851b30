//! The world: one queue of what happens, in the order of time, and of chance where times are equal.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use fastrand::Rng;
use strait_kit::coordination::{Event, Reply};

use crate::{
    faults::{Fault, Weather},
    history::{History, Pid, Time, What},
    log::{KEYS, SimLog},
    members::Process,
    network::Trip,
    store::Store,
};

pub(crate) const SECOND: Time = 1_000_000;

const MILLION: u64 = 1_000_000;

/// How long after the quiet begins the group is to have come to rest.
pub(crate) const REST: Time = 25 * SECOND;

/// How long it is watched from then on.
const WATCHED: Time = 15 * SECOND;

/// More than any run needs: one that does not come to an end has a loop.
const MOST: u64 = 400_000;

#[derive(Debug)]
pub(crate) enum Happening {
    /// A process's timer.
    Wake(Pid),
    Land(Trip),
    Reply(Pid, u64, Reply),
    /// A process's engine looks for something to do.
    Work(Pid),
    /// A handler ends.
    Handled {
        pid: Pid,
        partition: usize,
        epoch: u64,
        entry: u64,
        position: u64,
    },
    /// A process commits.
    Commit(Pid),
    Append,
    Fault(Fault),
    /// Whoever was killed is started again.
    Begin,
    Retention,
    Quiet,
}

impl Happening {
    /// Whose it is: it waits while that process is frozen.
    fn pid(&self) -> Option<Pid> {
        match self {
            Self::Wake(pid)
            | Self::Reply(pid, ..)
            | Self::Work(pid)
            | Self::Commit(pid)
            | Self::Handled { pid, .. } => Some(*pid),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    pub(crate) rng: Rng,
    pub(crate) weather: Weather,
    pub(crate) store: Store,
    pub(crate) log: SimLog,
    pub(crate) processes: Vec<Process>,
    pub(crate) history: History,
    pub(crate) fired: BTreeMap<String, u64>,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    pub(crate) quiet: bool,
    /// Until when nobody, or one process, reaches the store.
    pub(crate) outage: (Time, Option<Pid>),
    /// Until when a process hears no reply, though what it asks for is done.
    pub(crate) deaf: (Time, Pid),
    base: Instant,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let weather = Weather::new(&mut rng);
        let log = SimLog::new(weather.partitions, seed % 4 == 3);
        let base = Instant::now() + Duration::from_secs(3600);
        Self {
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            rng,
            weather,
            store: Store::default(),
            log,
            processes: Vec::new(),
            history: History::default(),
            fired: BTreeMap::new(),
            calls: BTreeMap::new(),
            quiet: false,
            outage: (0, None),
            deaf: (0, 0),
            base,
        }
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        if self.weather.is_calm() {
            self.note(What::Calm);
        }
        for _ in 0..self.weather.processes {
            let after = self.rng.u64(0..2 * SECOND);
            self.at(after, Happening::Begin);
        }
        self.at(0, Happening::Append);
        self.at(SECOND, Happening::Retention);
        let end = self.weather.trouble;
        let mut time = 3 * SECOND;
        while time < end {
            let fault = self.weather.fault(&mut self.rng);
            self.at(time, Happening::Fault(fault));
            time += self.rng.u64(SECOND / 2..self.weather.pause * 2);
        }
        self.at(end, Happening::Quiet);
        let mut count = 0;
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time > end + REST + WATCHED {
                break;
            }
            count += 1;
            if count > MOST {
                self.note(What::Endless);
                break;
            }
            self.now = time;
            if let Some(pid) = happening.pid() {
                let process = &self.processes[pid];
                if !process.alive {
                    continue;
                }
                if process.frozen > time {
                    let thaw = process.frozen - time;
                    self.at(thaw, happening);
                    continue;
                }
            }
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(pid) => {
                if self.processes[pid].wake.is_some_and(|wake| wake <= self.now) {
                    self.processes[pid].wake = None;
                    self.tell(pid, Event::Tick);
                }
            }
            Happening::Land(trip) => self.land(trip),
            Happening::Reply(pid, call, reply) => self.tell(pid, Event::Reply { call, reply }),
            Happening::Work(pid) => {
                self.processes[pid].work_planned = false;
                self.work(pid);
            }
            Happening::Handled { pid, partition, epoch, entry, position } => {
                self.handled(pid, partition, epoch, entry, position);
            }
            Happening::Commit(pid) => {
                self.commit(pid);
                self.at(SECOND, Happening::Commit(pid));
            }
            Happening::Append => {
                let key = self.rng.u32(0..KEYS);
                let (partition, position) = self.log.append(key, self.now);
                self.note(What::Appended { partition, position, key });
                let pause = self.rng.u64(SECOND / 100..SECOND / 3);
                if self.now < self.weather.trouble + REST {
                    self.at(pause, Happening::Append);
                }
                for pid in 0..self.processes.len() {
                    let reads = self.processes[pid].engine.held.contains_key(&partition);
                    if reads && self.processes[pid].alive {
                        self.plan_work(pid, SECOND / 100);
                    }
                }
            }
            Happening::Fault(fault) => self.strike(fault),
            Happening::Begin => self.begin(),
            Happening::Retention => {
                self.unlist();
                self.at(SECOND, Happening::Retention);
            }
            Happening::Quiet => self.be_quiet(),
        }
    }

    pub(crate) fn at(&mut self, after: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), happening);
    }

    pub(crate) fn note(&mut self, what: What) {
        self.history.add(self.now, what);
    }

    pub(crate) fn fire(&mut self, fault: &str) {
        self.count(fault, 1);
    }

    pub(crate) fn count(&mut self, fault: &str, count: u64) {
        if count > 0 {
            *self.fired.entry(fault.to_owned()).or_default() += count;
        }
    }

    /// A time by a process's monotonic clock, which is off and runs a little too fast or slow, and back.
    pub(crate) fn instant(&self, pid: Pid) -> Instant {
        let Process { skew, drift, .. } = self.processes[pid];
        self.base + skew + Duration::from_micros(self.now * (MILLION + drift) / MILLION)
    }

    pub(crate) fn time(&self, pid: Pid, instant: Instant) -> Time {
        let Process { skew, drift, .. } = self.processes[pid];
        let since =
            u64::try_from(instant.saturating_duration_since(self.base + skew).as_micros()).expect("a run is short");
        since * MILLION / (MILLION + drift)
    }

    pub(crate) fn base(&self) -> Instant {
        self.base
    }
}
