use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    time::{Duration, Instant},
};

use strait_core::{Error, ErrorKind, planted};

use super::{
    CoordinatorSettings,
    admission::Admission,
    audit::Audit,
    calls::{Call, Event, Now, Output, Purpose, Reply},
    life::Life,
    members::Members,
    partitions::Part,
    plan::Advice,
    rows::{MEMBERS, Name, PLAN, member_key},
};
use crate::{Identity, Row, Version};

/// The coordinator of one member, as a pure state machine: events and the time in, calls and changes of ownership out.
///
/// It calls nothing, waits for nothing and asks no clock, so that a simulation and a process run the same code. Feed it
/// every event through [`handle`](Self::handle), then take its [`output`](Self::output) until there is none, and feed it
/// [`Event::Tick`] at [`wake`](Self::wake).
pub struct Machine {
    pub(super) settings: CoordinatorSettings,
    pub(super) names: Box<dyn FnMut() -> Name + Send>,
    pub(super) now: Now,
    /// The time at the beginning, by both clocks.
    begin: Now,
    /// Which log it is.
    pub(super) log: Option<Identity>,
    pub(super) admission: Admission,
    pub(super) life: Life,
    pub(super) lives: u64,
    /// How many rows it has written.
    pub(super) writes: u64,
    pub(super) members: Members,
    pub(super) advice: Advice,
    pub(super) parts: BTreeMap<Name, Part>,
    /// Partitions that are to be attended to.
    pub(super) restless: BTreeSet<Name>,
    /// When partitions are to be attended to again.
    pub(super) timers: BTreeSet<(Instant, Name)>,
    /// Partitions that are known to be read to their ends, by everybody and for ever.
    pub(super) finished: BTreeSet<Name>,
    /// Of those, what the provider did not list any more at the last audit.
    pub(super) ripe: BTreeSet<Name>,
    pub(super) provider: Provider,
    /// Lapsed incarnations of this process, and the tenures of each whose handlers may still run.
    pub(super) former: VecDeque<(Name, BTreeSet<(Name, u64)>)>,
    flights: BTreeMap<u64, Flight>,
    next_call: u64,
    bounded: usize,
    pub(super) out: VecDeque<Output>,
    pub(super) poll: Poll,
    pub(super) audit: Audit,
    pub(super) closing: Option<Closing>,
    pub(super) left: bool,
}

/// What the provider of the log lists.
#[derive(Debug, Default)]
pub(super) struct Provider {
    pub(super) parents: BTreeMap<Name, Vec<Name>>,
    /// When the call was sent that showed this.
    pub(super) sent: Option<Instant>,
    pub(super) asking: bool,
}

#[derive(Debug)]
struct Flight {
    purpose: Purpose,
    life: u64,
    sent: Instant,
}

#[derive(Debug)]
pub(super) struct Poll {
    next: Instant,
    listing: bool,
    planning: bool,
    failed: bool,
}

impl Poll {
    /// One that is due at `next`.
    pub(super) fn at(next: Instant) -> Self {
        Self { next, listing: false, planning: false, failed: false }
    }
}

/// How far leaving has come.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// Polls since, so that a plan that cannot be written delays it only so long.
    pub(super) polls: u32,
    /// Whether what is held was asked back.
    pub(super) draining: bool,
    pub(super) farewell: bool,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("life", &self.life).field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl Machine {
    /// A member to be, for this `log`, where that has an identity. `names` makes the name of each incarnation: one that was
    /// never used before, by anybody.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the settings contradict each other.
    pub fn new(
        settings: CoordinatorSettings,
        log: Option<Identity>,
        now: Now,
        mut names: Box<dyn FnMut() -> Name + Send>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let life = Life::new(names(), None, now.instant);
        let audit = Audit::new(now.instant + settings.audit);
        Ok(Self {
            settings,
            names,
            now,
            begin: now,
            log,
            admission: Admission::Due(now.instant),
            life,
            lives: 0,
            writes: 0,
            members: Members::default(),
            advice: Advice::default(),
            parts: BTreeMap::new(),
            restless: BTreeSet::new(),
            timers: BTreeSet::new(),
            finished: BTreeSet::new(),
            ripe: BTreeSet::new(),
            provider: Provider::default(),
            former: VecDeque::new(),
            flights: BTreeMap::new(),
            next_call: 0,
            bounded: 0,
            out: VecDeque::new(),
            poll: Poll::at(now.instant),
            audit,
            closing: None,
            left: false,
        })
    }

    /// Takes in an event.
    pub fn handle(&mut self, now: Now, event: Event) {
        self.now = now;
        if self.life.is_over(&self.settings, now.instant) {
            self.lapse();
        }
        match event {
            Event::Tick => {}
            Event::Reply { call, reply } => self.replied(call, reply),
            Event::Commit { ticket, progress } => self.commit(ticket, &progress),
            Event::ResumeAt { ticket, partition, epoch, start } => self.resume_at(ticket, &partition, epoch, &start),
            Event::Suspect { ticket, partition, epoch, settled, suspect } => {
                self.suspect(ticket, &partition, epoch, settled.as_ref(), &suspect);
            }
            Event::Release { ticket, partition, epoch } => self.release(ticket, &partition, epoch),
            Event::Finish { ticket, partition, epoch, became } => self.finish(ticket, &partition, epoch, became),
            Event::Returned { partition, epoch } => self.returned(&partition, epoch),
            Event::Close => {
                if self.closing.is_none() {
                    self.closing = Some(Closing::default());
                    self.advise();
                }
            }
        }
        self.step();
    }

    /// The next thing that it asks for.
    pub fn output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When it next has something to do without being told anything. `None` once it has left.
    pub fn wake(&self) -> Option<Instant> {
        if self.left {
            return None;
        }
        let mut wake = if self.admission.is_granted() { self.life.wake(&self.settings) } else { self.admission.wake() };
        let mut earlier = |at: Option<Instant>| wake = [wake, at].into_iter().flatten().min();
        if self.life.is_inside() {
            earlier((!self.poll.listing && !self.poll.planning).then_some(self.poll.next));
            earlier(self.audit.wake().filter(|_| self.closing.is_none()));
            earlier(self.timers.first().map(|(at, _)| *at));
        }
        // While it joins, and while it has nothing else to do: its calls end by themselves.
        wake.or_else(|| self.now.instant.checked_add(self.settings.expiry))
    }

    /// Until when this member believes to be alive, if it is one.
    pub fn until(&self) -> Option<Instant> {
        self.life.until(&self.settings)
    }

    fn step(&mut self) {
        if self.left {
            return;
        }
        self.beat();
        if self.life.is_inside() {
            self.look_around();
            self.judge();
            self.inspect();
            let due = self.timers.range(..=(self.now.instant, Name::from("\u{10ffff}"))).cloned().collect::<Vec<_>>();
            for timer in due {
                self.timers.remove(&timer);
                self.restless.insert(timer.1);
            }
            while self.has_room()
                && let Some(partition) = self.restless.pop_first()
            {
                self.attend(&partition);
            }
        }
        self.leave();
    }

    /// Whether another call that concerns a partition may be made.
    pub(super) fn has_room(&self) -> bool {
        self.bounded < self.settings.calls
    }

    pub(super) fn call(&mut self, call: Call, purpose: Purpose) {
        let id = self.next_call;
        self.next_call += 1;
        self.bounded += usize::from(purpose.is_bounded());
        self.flights.insert(id, Flight { purpose, life: self.lives, sent: self.now.instant });
        self.out.push_back(Output::Call { id, call });
    }

    /// Whether the outcome of a call of this incarnation is still to come.
    pub(super) fn is_under_way(&self, wanted: impl Fn(&Purpose) -> bool) -> bool {
        self.flights.values().any(|flight| flight.life == self.lives && wanted(&flight.purpose))
    }

    fn replied(&mut self, call: u64, reply: Reply) {
        let Some(Flight { purpose, life, sent }) = self.flights.remove(&call) else { return };
        self.bounded -= usize::from(purpose.is_bounded());
        if life != self.lives {
            return; // of an incarnation that has lapsed: whatever it did is read again
        }
        match (purpose, reply) {
            (Purpose::Admission, Reply::Row(result)) => self.admitted(result),
            (Purpose::Beat(n), Reply::Put(result)) => self.beaten(n, result),
            (Purpose::BeatBack, Reply::Row(result)) => self.beat_back(result),
            (Purpose::Members, Reply::Versions(result)) => self.listed(result),
            (Purpose::Plan, Reply::Row(result)) => self.planned(result),
            (Purpose::Member(id), Reply::Row(result)) => self.judged(&id, sent, result),
            (Purpose::Look(partition), Reply::Row(result)) => self.looked(&partition, result),
            (Purpose::Take(partition), Reply::Put(result)) => self.taken(&partition, result),
            (Purpose::Write(partition), Reply::Put(result)) => self.written(&partition, result),
            (Purpose::ReadBack(partition), Reply::Row(result)) => self.read_back(&partition, result),
            (Purpose::Parent { child, parent }, Reply::Row(result)) => self.parent_read(&child, &parent, result),
            (Purpose::Child { parent, child }, Reply::Put(result)) => self.child_put(&parent, &child, result),
            (Purpose::PlanPut, Reply::Put(result)) => self.plan_put(result),
            (Purpose::Provider, Reply::Partitions(result)) => {
                self.provider.asking = false;
                match result {
                    Ok(partitions) => {
                        self.provider.parents = partitions.into_iter().map(|p| (p.id, p.parents)).collect();
                        self.provider.sent = Some(sent);
                        self.audit_provider(sent, true);
                    }
                    Err(error) => {
                        self.report(error);
                        self.audit_provider(sent, false);
                    }
                }
            }
            (Purpose::Rows, Reply::Versions(result)) => self.rows_listed(result),
            (Purpose::AuditRow(partition), Reply::Row(result)) => self.audited_row(&partition, result),
            (Purpose::Verify(partition), Reply::Row(result)) => self.verified(&partition, result),
            (Purpose::Farewell, _) => {
                self.left = true;
                self.out.push_back(Output::Left);
            }
            _ => {} // of a sweep, which the next audit repeats
        }
    }

    /// Reports what does not mend itself.
    pub(super) fn report(&mut self, error: Error) {
        if !error.is_transient() {
            self.out.push_back(Output::Report(error));
        }
    }

    pub(super) fn ask_provider(&mut self) {
        let lately = self.provider.sent.is_some_and(|sent| self.now.instant < sent + self.settings.poll);
        if !self.provider.asking && !lately {
            self.provider.asking = true;
            self.call(Call::Partitions, Purpose::Provider);
        }
    }

    // The others.

    /// The clock that others are judged by.
    fn clock(&self) -> Instant {
        if planted!("wall-clock-expiry") {
            let since = self.now.wall.duration_since(self.begin.wall).unwrap_or(Duration::ZERO);
            return self.begin.instant + since;
        }
        self.now.instant
    }

    fn look_around(&mut self) {
        if self.poll.next > self.now.instant || self.poll.listing || self.poll.planning {
            return;
        }
        self.poll = Poll { next: self.now.instant + self.settings.poll, listing: true, planning: true, failed: false };
        self.call(Call::Versions(MEMBERS), Purpose::Members);
        if self.advice.is_busy() {
            self.poll.planning = false; // a plan is being written, and read back if need be
        } else {
            self.call(Call::Get(PLAN.into()), Purpose::Plan);
        }
    }

    /// Polls without waiting for its time.
    pub(super) fn poll_now(&mut self) {
        self.poll.next = self.now.instant;
    }

    fn listed(&mut self, result: Result<Vec<(String, Version)>, Error>) {
        self.poll.listing = false;
        match result {
            Ok(rows) => {
                let named = |(key, version): (String, Version)| Some((key.strip_prefix(MEMBERS)?.into(), version));
                let clock = self.clock();
                self.members.listed(rows.into_iter().filter_map(named), clock);
            }
            Err(error) => {
                self.poll.failed = true;
                self.report(error);
            }
        }
        self.polled();
    }

    fn planned(&mut self, result: Result<Option<Row>, Error>) {
        self.poll.planning = false;
        match result {
            Ok(row) => self.plan_read(row),
            Err(error) => {
                self.poll.failed = true;
                self.report(error);
            }
        }
        self.polled();
    }

    /// Once both reads of a poll have ended.
    fn polled(&mut self) {
        if self.poll.listing || self.poll.planning {
            return;
        }
        if let Some(closing) = &mut self.closing {
            closing.polls += 1;
        }
        if self.poll.failed {
            return;
        }
        self.advice.polled();
        self.follow_plan();
        self.advise();
    }

    fn judge(&mut self) {
        let clock = self.clock();
        for id in self.members.due(self.settings.expiry, clock, &self.life.id) {
            let key = member_key(&id);
            self.call(Call::Get(key), Purpose::Member(id));
        }
    }

    fn judged(&mut self, id: &Name, sent: Instant, result: Result<Option<Row>, Error>) {
        let Ok(row) = result else { return self.members.unread(id) };
        let clock = self.clock();
        let sent = if planted!("wall-clock-expiry") { clock } else { sent };
        if self.members.got(id, row.map(|row| row.version), sent, self.settings.expiry, clock) {
            self.follow_plan();
            self.advise();
        }
    }

    /// An error for a request that came after its tenure was over.
    pub(super) fn lost(partition: &str, epoch: u64) -> Error {
        Error::new(ErrorKind::Lost, format!("partition {partition:?} is not owned in epoch {epoch} any more"))
    }
}
