//! A process: the state machine of the coordinator, and a model of the engine above it.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use fastrand::Rng;
use strait_core::{ErrorKind, Result};
use strait_kit::{
    Became, Change, Identity, Progress, Start, Suspect,
    coordination::{CoordinatorSettings, Event, Machine, Now, Output},
};

use crate::{
    engine::{Doing, Engine, Entry, Tenure},
    history::{Pid, Time, What},
    log::{name, number, wall},
    world::{Happening, SECOND, World},
};

/// How far from its time a record may turn up.
const UNSURE: Time = 20 * SECOND;

/// How long a partition may drain.
const GRACE: Time = 6 * SECOND;

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) machine: Machine,
    pub(crate) engine: Engine,
    pub(crate) alive: bool,
    pub(crate) leaving: bool,
    pub(crate) frozen: Time,
    /// What its monotonic clock is ahead of the world's.
    pub(crate) skew: Duration,
    /// By how much it runs too fast, in parts of a million: at most eight hundredths.
    pub(crate) drift: u64,
    /// What its wall clock is ahead of the provider's, in seconds.
    pub(crate) wall: i64,
    pub(crate) wake: Option<Time>,
    /// Until when it believes to be alive.
    until: Time,
    tickets: u64,
    pub(crate) work_planned: bool,
}

impl World {
    /// A process starts.
    pub(crate) fn begin(&mut self) {
        let log = self.weather.log(&mut self.rng);
        self.begin_with(log);
    }

    /// A process starts that reads this log, or another one.
    pub(crate) fn begin_with(&mut self, log: Option<Identity>) {
        let stranger = log.as_ref().is_some_and(|log| *log != Identity::new("log").with_made("first"));
        let pid = self.processes.len();
        let mut names = Rng::with_seed(self.rng.u64(..));
        let settings: CoordinatorSettings = self.weather.settings();
        let skew = Duration::from_micros(self.rng.u64(0..1000 * SECOND));
        let offset = self.weather.wall_offset(&mut self.rng);
        let drift = self.rng.u64(0..80_000);
        let local = self.now * (1_000_000 + drift) / 1_000_000;
        let now = Now { instant: self.base() + skew + Duration::from_micros(local), wall: self.wall(offset) };
        let named = Box::new(move || format!("{:08x}-{pid}", names.u32(..)).into());
        let machine = Machine::new(settings, log, now, named).expect("the settings are sound");
        self.processes.push(Process {
            machine,
            engine: Engine::default(),
            alive: true,
            leaving: stranger,
            frozen: 0,
            skew,
            drift,
            wall: offset,
            wake: None,
            until: 0,
            tickets: 0,
            work_planned: false,
        });
        self.note(if stranger { What::Strayed { pid } } else { What::Began { pid } });
        self.at(SECOND, Happening::Commit(pid));
        self.tell(pid, Event::Tick);
    }

    fn wall(&self, offset: i64) -> SystemTime {
        let distance = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { wall(self.now) - distance } else { wall(self.now) + distance }
    }

    /// Tells a process's coordinator something, and does what it asks for.
    pub(crate) fn tell(&mut self, pid: Pid, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = Now { instant: self.instant(pid), wall: self.wall(self.processes[pid].wall) };
            self.processes[pid].machine.handle(now, event);
            while let Some(output) = self.processes[pid].machine.output() {
                match output {
                    Output::Call { id, call } => self.send(pid, id, call),
                    Output::Change(change) => events.extend(self.change(pid, change)),
                    Output::Done { ticket, result } => self.done(pid, ticket, result),
                    Output::Report(_) => self.fire("reported"),
                    Output::Opened(outcome) => {
                        self.fire(if outcome.is_ok() { "opened" } else { "refused another log" });
                    }
                    _ => {
                        self.processes[pid].alive = false;
                        self.note(What::Left { pid });
                    }
                }
                if !self.processes[pid].alive {
                    return;
                }
            }
        }
        self.set_timer(pid);
    }

    fn set_timer(&mut self, pid: Pid) {
        let Some(wake) = self.processes[pid].machine.wake() else { return };
        let wake = (self.time(pid, wake) + 1).max(self.now + 1);
        if self.processes[pid].wake.is_none_or(|planned| wake < planned) {
            self.processes[pid].wake = Some(wake);
            self.at(wake - self.now, Happening::Wake(pid));
        }
    }

    fn change(&mut self, pid: Pid, change: Change) -> Option<Event> {
        match change {
            Change::Gained { partition, epoch, start, settled, until, quarantine } => {
                let partition = number(&partition);
                let until = self.time(pid, until.expect("members have an end"));
                self.processes[pid].until = until;
                let passed = settled.map_or(0, |settled| self.log.seek(partition, &Start::After(settled)));
                let next = self.log.seek(partition, &start).max(passed);
                self.count("resumed at a time", u64::from(passed > 0));
                let tenure = Tenure::new(epoch, next, quarantine.is_some());
                self.processes[pid].engine.held.insert(partition, tenure);
                self.note(What::Gained { pid, partition, epoch, until });
                self.plan_work(pid, 1);
            }
            Change::Renewed { until } => {
                let until = self.time(pid, until);
                self.processes[pid].until = until;
                self.note(What::Renewed { pid, until });
            }
            Change::Revoked { partition, epoch } => {
                let deadline = self.now + GRACE;
                let held = self.processes[pid].engine.held.get_mut(&number(&partition));
                if let Some(tenure) = held.filter(|tenure| tenure.epoch == epoch) {
                    tenure.deadline.get_or_insert(deadline);
                    self.plan_work(pid, 1);
                }
            }
            Change::Lost { partition, epoch } => {
                let partition_number = number(&partition);
                let held = &mut self.processes[pid].engine.held;
                if held.get(&partition_number).is_some_and(|tenure| tenure.epoch == epoch) {
                    return self.end(pid, partition_number).map(|epoch| Event::Returned { partition, epoch });
                }
            }
            _ => {}
        }
        None
    }

    /// A tenure is lost. Its handlers run on until they notice. Returns its epoch, if none run.
    fn end(&mut self, pid: Pid, partition: usize) -> Option<u64> {
        let tenure = self.processes[pid].engine.held.remove(&partition)?;
        self.note(What::Lost { pid, partition, epoch: tenure.epoch });
        let running = tenure.entries.iter().filter(|entry| entry.doing == Doing::Running);
        let running: std::collections::BTreeSet<u64> = running.map(|entry| entry.number).collect();
        if running.is_empty() {
            return Some(tenure.epoch);
        }
        self.processes[pid].engine.zombies.insert((partition, tenure.epoch), running);
        None
    }

    pub(crate) fn plan_work(&mut self, pid: Pid, after: Time) {
        if !self.processes[pid].work_planned {
            self.processes[pid].work_planned = true;
            self.at(after, Happening::Work(pid));
        }
    }

    /// Reads, starts, and hands over.
    pub(crate) fn work(&mut self, pid: Pid) {
        let partitions: Vec<usize> = self.processes[pid].engine.held.keys().copied().collect();
        for partition in partitions {
            // A claim ends by itself, and whoever first sees that says so.
            if self.now >= self.processes[pid].until {
                continue;
            }
            self.name(pid, partition);
            if !self.processes[pid].alive {
                return;
            }
            self.read(pid, partition);
            self.start(pid, partition);
            self.hand_over(pid, partition);
            if !self.processes[pid].alive {
                return;
            }
        }
        if self.processes[pid]
            .engine
            .held
            .values()
            .any(|tenure| tenure.deadline.is_some() || tenure.isolation.is_some() || !tenure.entries.is_empty())
        {
            self.plan_work(pid, SECOND / 20);
        }
    }

    /// Names what a partition in quarantine works on next.
    fn name(&mut self, pid: Pid, partition: usize) {
        let Self { log, processes, .. } = self;
        let process = &mut processes[pid];
        let Some(tenure) = process.engine.held.get_mut(&partition) else { return };
        if tenure.is_busy() || tenure.ledger.span() > 0 || tenure.deadline.is_some() {
            return;
        }
        let (epoch, settled) = (tenure.epoch, tenure.ledger.watermark().copied());
        let Some(isolation) = tenure.isolation.as_mut().filter(|isolation| !isolation.named) else { return };
        if isolation.left == 0 {
            tenure.isolation = None;
            return;
        }
        let Some((position, ..)) = log.shards[partition].records.get(tenure.next) else { return };
        process.tickets += 1;
        let ticket = process.tickets;
        isolation.naming = Some((ticket, settled));
        let suspect = Suspect { position: log.position(*position), attempts: 1 };
        let (partition, settled) = (name(partition), settled.map(|settled| log.position(settled)));
        self.tell(pid, Event::Suspect { ticket, partition, epoch, settled, suspect });
    }

    fn read(&mut self, pid: Pid, partition: usize) {
        let Self { log, processes, now, .. } = self;
        let Some(tenure) = processes[pid].engine.held.get_mut(&partition) else { return };
        let room = if tenure.deadline.is_none() { tenure.room() } else { 0 };
        for _ in 0..room {
            let Some((position, key, _)) = log.shards[partition].records.get(tenure.next) else { break };
            tenure.next += 1;
            let number = tenure.ledger.record(*position, 0);
            tenure.entries.push(Entry { number, position: *position, key: *key, doing: Doing::Waiting(*now) });
        }
    }

    fn start(&mut self, pid: Pid, partition: usize) {
        let Some(tenure) = self.processes[pid].engine.held.get(&partition) else { return };
        for number in tenure.ready(self.now) {
            let long = self.weather.handler(&mut self.rng, self.quiet);
            let Some(tenure) = self.processes[pid].engine.held.get_mut(&partition) else { return };
            let epoch = tenure.epoch;
            tenure.cut = tenure.cut.max(number + 1);
            let Some(entry) = tenure.entry(number) else { continue };
            entry.doing = Doing::Running;
            let position = entry.position;
            self.note(What::Started { pid, partition, epoch, position });
            self.at(long, Happening::Handled { pid, partition, epoch, entry: number, position });
        }
    }

    /// A handler has ended.
    pub(crate) fn handled(&mut self, pid: Pid, partition: usize, epoch: u64, entry: u64, position: u64) {
        self.note(What::Ended { pid, partition, epoch, position });
        let fails = self.rng.f64() < self.weather.failing;
        let process = &mut self.processes[pid];
        if let Some(zombies) = process.engine.zombies.get_mut(&(partition, epoch)) {
            self.fired.entry("handler outlived its claim".into()).and_modify(|count| *count += 1).or_insert(1);
            zombies.remove(&entry);
            if zombies.is_empty() {
                process.engine.zombies.remove(&(partition, epoch));
                self.tell(pid, Event::Returned { partition: name(partition), epoch });
            }
            return;
        }
        let until = process.until;
        let Some(tenure) = process.engine.held.get_mut(&partition).filter(|tenure| tenure.epoch == epoch) else {
            return;
        };
        if fails {
            let again = self.now + SECOND / 5;
            if let Some(entry) = tenure.entry(entry) {
                entry.doing = Doing::Waiting(again);
            }
            self.fire("handler failed");
        } else if self.now < until {
            tenure.settle(entry);
            self.note(What::Settled { pid, partition, epoch, position });
        } else if let Some(entry) = tenure.entry(entry) {
            entry.doing = Doing::Waiting(Time::MAX); // its claim has ended by itself
        }
        self.plan_work(pid, 1);
    }

    /// Commits what is settled, of all partitions.
    pub(crate) fn commit(&mut self, pid: Pid) {
        let partitions: Vec<usize> = self.processes[pid].engine.held.keys().copied().collect();
        for partition in partitions {
            self.commit_one(pid, partition);
            if !self.processes[pid].alive {
                return;
            }
        }
        self.plan_work(pid, 1);
    }

    fn commit_one(&mut self, pid: Pid, partition: usize) {
        let process = &mut self.processes[pid];
        let Some(tenure) = process.engine.held.get_mut(&partition) else { return };
        if tenure.is_busy() {
            return;
        }
        let Some(position) = tenure.progress() else { return self.resume_at(pid, partition) };
        process.tickets += 1;
        tenure.committing = Some((position, process.tickets));
        let (ticket, epoch, committed) = (process.tickets, tenure.epoch, tenure.committed);
        let progress = |position| Progress { partition: name(partition), epoch, position };
        let (position, late) = (self.log.position(position), committed.map(|late| self.log.position(late)));
        self.tell(pid, Event::Commit { ticket, progress: progress(position) });
        // What was stored before is told once more, by somebody who is late.
        if let Some(late) = late.filter(|_| self.rng.f64() < 0.05)
            && self.processes[pid].alive
        {
            self.fire("told late");
            self.tell(pid, Event::Commit { ticket: 0, progress: progress(late) });
        }
    }

    /// Stores now and then that there was nothing more of a partition.
    fn resume_at(&mut self, pid: Pid, partition: usize) {
        let Some(tenure) = self.processes[pid].engine.held.get(&partition) else { return };
        let is_idle = tenure.ledger.span() == 0 && tenure.next == self.log.shards[partition].records.len();
        if !is_idle || tenure.isolation.is_some() || self.rng.f64() > 0.05 {
            return;
        }
        let (partition, epoch) = (name(partition), tenure.epoch);
        self.fire("place to resume at");
        let start = Start::At(wall(self.now.saturating_sub(UNSURE)));
        self.tell(pid, Event::ResumeAt { ticket: 0, partition, epoch, start });
    }

    /// Releases what is drained, or out of time, and finishes what has come to its end.
    fn hand_over(&mut self, pid: Pid, partition: usize) {
        let closed = self.log.shards[partition].closed.is_some();
        let count = self.log.shards[partition].records.len();
        let Some(tenure) = self.processes[pid].engine.held.get(&partition) else { return };
        if tenure.is_busy() {
            return;
        }
        let (forced, drains) = (tenure.deadline.is_some_and(|at| at <= self.now), tenure.deadline.is_some());
        let over = closed && tenure.next == count && tenure.ledger.span() == 0;
        let drained = drains && tenure.is_drained();
        if !over && !drained && !forced {
            return;
        }
        let behind = tenure.progress().is_some();
        if behind && !forced {
            return self.commit_one(pid, partition);
        }
        let epoch = tenure.epoch;
        self.processes[pid].tickets += 1;
        let ticket = self.processes[pid].tickets;
        if let Some(tenure) = self.processes[pid].engine.held.get_mut(&partition) {
            tenure.ending = Some(ticket);
        }
        if over {
            let children: Vec<usize> = self.log.shards[partition].children.clone();
            let unknown = self.rng.f64() < 0.3;
            let children = children.into_iter().filter(|_| !unknown).map(|child| self.log.partition(child));
            let became = Became::Children(children.collect());
            self.fire(if unknown { "ended without children" } else { "partition finished" });
            self.tell(pid, Event::Finish { ticket, partition: name(partition), epoch, became });
        } else {
            let clean = drained && !behind;
            self.fire(if clean { "planned move" } else { "forced move" });
            self.note(What::Released { pid, partition, epoch, clean });
            // What still runs does so without a claim.
            if let Some(tenure) = self.processes[pid].engine.held.remove(&partition) {
                let running = tenure.entries.iter().filter(|entry| entry.doing == Doing::Running);
                let running: std::collections::BTreeSet<u64> = running.map(|entry| entry.number).collect();
                if !running.is_empty() {
                    self.processes[pid].engine.zombies.insert((partition, epoch), running);
                }
            }
            self.tell(pid, Event::Release { ticket, partition: name(partition), epoch });
        }
    }

    fn done(&mut self, pid: Pid, ticket: u64, result: Result<()>) {
        let held = &mut self.processes[pid].engine.held;
        let names = |tenure: &Tenure| tenure.isolation.as_ref()?.naming.filter(|(naming, _)| *naming == ticket);
        let waits = |tenure: &Tenure| {
            tenure.ending == Some(ticket)
                || tenure.committing.is_some_and(|(_, committing)| committing == ticket)
                || names(tenure).is_some()
        };
        let Some((partition, _)) = held.iter().find(|(_, tenure)| waits(tenure)) else { return };
        let partition = *partition;
        let Some(tenure) = held.get_mut(&partition) else { return };
        let epoch = tenure.epoch;
        if tenure.ending == Some(ticket) && result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
            tenure.ending = None; // what it became is not known: it is looked at again
            self.fire("children unknown");
            return self.plan_work(pid, SECOND / 5);
        }
        if tenure.ending == Some(ticket) {
            held.remove(&partition);
            self.note(What::Released { pid, partition, epoch, clean: result.is_ok() });
            return;
        }
        if let Some((_, settled)) = names(tenure) {
            let named = result.is_ok();
            if named && settled.is_some() {
                tenure.committed = settled;
            }
            if let Some(isolation) = &mut tenure.isolation {
                (isolation.naming, isolation.named) = (None, named);
                isolation.left -= usize::from(named);
            }
        }
        let committing = tenure.committing.take();
        match result {
            Ok(()) if committing.is_none() => self.fire("named"),
            Ok(()) => tenure.committed = committing.map(|(position, _)| position),
            Err(error) if error.kind() == ErrorKind::Lost => {
                self.end(pid, partition);
            }
            Err(_) => self.fire("commit failed"),
        }
        self.plan_work(pid, 1);
    }
}
