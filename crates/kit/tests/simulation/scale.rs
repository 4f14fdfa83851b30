//! Many partitions and many members, on a network without faults: how long it takes until shares are equal, and what the
//! group asks of its store.
//!
//! 1,000 partitions and 50 members, or with `STRAIT_SCALE=full` 10,000 and 500: then better in release.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;
use strait_core::Position;
use strait_kit::{
    Change, Partition, Progress,
    coordination::{Call, CoordinatorSettings, Event, Machine, Now, Output, Reply},
};

use crate::{history::Time, log::name, store::Store, world::SECOND};

/// Between the commits of a member: rarer than in life, since they are the most of all calls, and cost what they cost.
const COMMITS: Time = 20 * SECOND;

/// In which every member makes one audit.
const ROUND: Time = 110 * SECOND;

enum Happening {
    Wake(usize),
    Land(usize, u64, Call),
    Reply(usize, u64, Reply),
    /// A member commits all that it holds, each of which has come further.
    Commit(usize),
}

struct Member {
    machine: Machine,
    held: BTreeMap<Arc<str>, (u64, u64)>,
    wake: Option<Time>,
    leaving: bool,
    gone: bool,
}

struct Group {
    now: Time,
    begin: Instant,
    queue: BTreeMap<(Time, u64), Happening>,
    sequence: u64,
    rng: Rng,
    store: Store,
    members: Vec<Member>,
    partitions: Vec<Partition>,
    calls: BTreeMap<&'static str, u64>,
}

/// What a call is for.
fn purpose(call: &Call) -> &'static str {
    match call {
        Call::Put { key, .. } if key.starts_with("member/") => "heartbeats: puts",
        Call::Put { key, .. } if key == "plan" => "plan: puts",
        Call::Put { .. } => "commits, takes and releases: puts",
        Call::Get(key) if key == "plan" => "polls: gets of the plan",
        Call::Get(key) if key.starts_with("member/") => "verdicts: gets",
        Call::Get(_) => "audits and takes: gets",
        Call::Versions("member/") => "polls: lists of members",
        Call::Versions(_) => "audits: lists of partitions",
        Call::Delete(_) => "deletes",
        _ => "provider",
    }
}

impl Group {
    fn new(partitions: usize) -> Self {
        let partition = |index| Partition::new(name(index));
        Self {
            now: 0,
            begin: Instant::now(),
            queue: BTreeMap::new(),
            sequence: 0,
            rng: Rng::with_seed(5),
            store: Store::default(),
            members: Vec::new(),
            partitions: (0..partitions).map(partition).collect(),
            calls: BTreeMap::new(),
        }
    }

    fn time(&self) -> Now {
        let since = Duration::from_micros(self.now);
        Now { instant: self.begin + since, wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + since }
    }

    fn at(&mut self, after: Time, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), happening);
    }

    fn join(&mut self) {
        let (number, mut names) = (self.members.len(), Rng::with_seed(self.rng.u64(..)));
        let names = Box::new(move || format!("{:016x}-{:016x}", names.u64(..), names.u64(..)).into());
        let machine = Machine::new(CoordinatorSettings::default(), None, self.time(), names).expect("sound");
        self.members.push(Member { machine, held: BTreeMap::new(), wake: None, leaving: false, gone: false });
        let first = self.rng.u64(0..COMMITS);
        self.at(first, Happening::Commit(number));
        self.tell(number, Event::Tick);
    }

    fn tell(&mut self, number: usize, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.time();
            self.members[number].machine.handle(now, event);
            while let Some(output) = self.members[number].machine.output() {
                match output {
                    Output::Call { id, call } => {
                        *self.calls.entry(purpose(&call)).or_default() += 1;
                        let there = self.rng.u64(2000..12_000);
                        self.at(there, Happening::Land(number, id, call));
                    }
                    Output::Change(Change::Gained { partition, epoch, start, .. }) => {
                        let at = match start {
                            strait_kit::Start::After(Position::Number(at)) => at,
                            _ => 0,
                        };
                        self.members[number].held.insert(partition, (epoch, at));
                    }
                    Output::Change(Change::Revoked { partition, epoch }) => {
                        self.members[number].held.remove(&partition);
                        events.push(Event::Release { ticket: 0, partition, epoch });
                    }
                    Output::Change(Change::Lost { partition, .. }) => {
                        panic!("nothing fails here, and {partition} was lost");
                    }
                    Output::Report(error) => panic!("nothing fails here: {error}"),
                    Output::Left => self.members[number].gone = true,
                    _ => {}
                }
            }
        }
        let Some(wake) = self.members[number].machine.wake() else { return };
        let wake = wake.saturating_duration_since(self.begin).as_micros();
        let wake = u64::try_from(wake).expect("a run is short").max(self.now + 1);
        if self.members[number].wake.is_none_or(|planned| wake < planned) {
            self.members[number].wake = Some(wake);
            self.at(wake - self.now, Happening::Wake(number));
        }
    }

    fn land(&mut self, call: Call) -> Reply {
        match call {
            Call::Get(key) => Reply::Row(Ok(self.store.get(&key))),
            Call::Versions(prefix) => Reply::Versions(Ok(self.store.versions(prefix, self.now, 0))),
            Call::Put { key, expect, value } => Reply::Put(Ok(self.store.put(&key, &expect, value, self.now))),
            Call::Delete(key) => {
                self.store.delete(&key, self.now);
                Reply::Deleted(Ok(()))
            }
            _ => Reply::Partitions(Ok(self.partitions.clone())),
        }
    }

    fn commit(&mut self, number: usize) {
        let progress = |(partition, (epoch, at)): (&Arc<str>, &mut (u64, u64))| {
            *at += 1;
            Progress { partition: Arc::clone(partition), epoch: *epoch, position: Position::Number(*at) }
        };
        let progress: Vec<Progress> = self.members[number].held.iter_mut().map(progress).collect();
        for progress in progress {
            self.tell(number, Event::Commit { ticket: 0, progress });
        }
    }

    /// Runs for so long, or until `done`, which is asked every 10 ms. Returns when it was.
    fn run(&mut self, long: Time, done: impl Fn(&Self) -> bool) -> Option<Time> {
        let (begin, mut ask) = (self.now, self.now);
        while let Some(((time, _), happening)) = self.queue.pop_first() {
            if time >= ask {
                if done(self) {
                    let at = self.now - begin;
                    self.sequence += 1;
                    self.queue.insert((time, self.sequence), happening);
                    return Some(at);
                }
                ask = time + SECOND / 100;
            }
            self.now = time;
            match happening {
                Happening::Wake(number) => {
                    if !self.members[number].gone && self.members[number].wake.is_some_and(|wake| wake <= time) {
                        self.members[number].wake = None;
                        self.tell(number, Event::Tick);
                    }
                }
                Happening::Land(number, id, call) => {
                    let reply = self.land(call);
                    let back = self.rng.u64(2000..12_000);
                    self.at(back, Happening::Reply(number, id, reply));
                }
                Happening::Reply(number, call, reply) => self.tell(number, Event::Reply { call, reply }),
                Happening::Commit(number) => {
                    if !self.members[number].gone {
                        self.commit(number);
                        self.at(COMMITS, Happening::Commit(number));
                    }
                }
            }
            if time > begin + long {
                break;
            }
        }
        None
    }

    fn leave(&mut self, number: usize) {
        self.members[number].leaving = true;
        self.tell(number, Event::Close);
    }

    /// Whether every partition is held, shares differ by one at most, and nobody is still leaving.
    fn is_balanced(&self) -> bool {
        if self.members.iter().any(|member| member.leaving && !member.gone) {
            return false;
        }
        let shares = || self.members.iter().filter(|member| !member.gone).map(|member| member.held.len());
        let (least, most) = (shares().min().unwrap_or(0), shares().max().unwrap_or(0));
        shares().sum::<usize>() == self.partitions.len() && most - least <= 1
    }

    /// How long it takes from now until shares are equal, as they are not now.
    fn balance(&mut self, what: &str) -> Time {
        assert!(!self.is_balanced(), "{what}: there is something to do");
        let took =
            self.run(60 * SECOND, Self::is_balanced).unwrap_or_else(|| panic!("{what}: not balanced in a minute"));
        let polls = Duration::from_micros(took).as_secs_f64() / CoordinatorSettings::default().poll.as_secs_f64();
        eprintln!("{what}: balanced after {:.2?}, {polls:.1} polls", Duration::from_micros(took));
        took
    }
}

#[test]
fn many_members_share_many_partitions_within_three_intervals() {
    let full = std::env::var("STRAIT_SCALE").is_ok_and(|scale| scale == "full");
    let (partitions, members) = if full { (10_000, 500_usize) } else { (1000, 50) };
    let real = Instant::now();
    let mut group = Group::new(partitions);
    for _ in 0..members {
        group.join();
        group.run(SECOND / members as Time, |_| false);
    }
    let mut took = vec![group.balance(&format!("{members} members of {partitions} partitions join"))];
    (0..members / 10).for_each(|_| group.join());
    took.push(group.balance(&format!("{} more join at once", members / 10)));
    (0..members / 10).for_each(|number| group.leave(number));
    took.push(group.balance(&format!("{} leave at once", members / 10)));
    // The first audit of a member reads all rows, once in its life.
    for round in ["first", "second"] {
        group.calls.clear();
        group.run(ROUND, |_| false);
        assert!(group.is_balanced(), "and it stays so");
        eprintln!("calls of the group in the {round} {} s, and of a member in a minute:", ROUND / SECOND);
        for (purpose, calls) in &group.calls {
            eprintln!("{calls:>10} {:>10.1}  {purpose}", *calls as f64 / members as f64 * 60.0e6 / ROUND as f64);
        }
    }
    let plan = group.store.get("plan").expect("there is one").value.len();
    eprintln!("the plan has {plan} bytes");
    eprintln!("in {:.1?}", real.elapsed());
    let intervals = CoordinatorSettings::default().heartbeat * 3;
    for took in took {
        assert!(Duration::from_micros(took) <= intervals, "{took}");
    }
}
