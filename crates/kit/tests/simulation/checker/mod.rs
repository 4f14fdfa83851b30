//! Judges a history, and knows nothing of the code: only what was appended, who was told to own what, what handlers did,
//! and what the store held.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{
    engine::SPAN,
    history::{History, Pid, Time, What},
    log::{name, number, record},
    world::{REST, SECOND},
};

#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) wrong: Vec<String>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// How long partitions of the dead were without an owner.
    pub(crate) takeovers: Vec<Time>,
}

#[derive(Debug, Default)]
struct Record {
    key: u32,
    time: Time,
    settled: bool,
    /// In which tenure it was settled last.
    epoch: u64,
    /// Before where the group starts.
    skipped: bool,
}

#[derive(Debug)]
struct Tenure {
    pid: Pid,
    epoch: u64,
    since: Time,
    settled: u64,
    /// What the tenure just before it had settled, and it starts again.
    replayed: BTreeSet<u64>,
    before: u64,
    allowed: usize,
    /// How many messages are to be worked on alone, each named in the row before, and the last of them.
    alone: usize,
    last: Option<u64>,
}

#[derive(Debug, Default)]
struct Partition {
    records: BTreeMap<u64, Record>,
    children: Option<Vec<usize>>,
    unlisted: bool,
    open: Vec<Tenure>,
    row: Option<Value>,
    /// Which epoch its row had when somebody else last changed it, and whether it is yet to be put right.
    tampered: Option<u64>,
    broken: bool,
    /// Its row was deleted by a member, since it can never matter again.
    swept: bool,
    /// When its progress was last stored, and when what was settled.
    stored: Time,
    settlements: Vec<Time>,
    /// Tenures that said to have drained, and the highest that each has settled.
    clean: BTreeMap<(Pid, u64), u64>,
    running: BTreeSet<(Pid, u64, u64)>,
    orphaned: Option<Time>,
    /// How much its next owner may replay of what the one before it has settled.
    allowed: usize,
    epoch: u64,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that happened")]
struct Checker {
    now: Time,
    verdict: Verdict,
    partitions: BTreeMap<usize, Partition>,
    /// The records of each key in order, how many of them are settled in order.
    keys: BTreeMap<u32, (Vec<(usize, u64)>, usize)>,
    until: BTreeMap<Pid, Time>,
    living: BTreeSet<Pid>,
    /// Who reads another log.
    strays: BTreeSet<Pid>,
    plan: Option<Value>,
    plan_broken: bool,
    calm: bool,
    /// Somebody else than a member changed some row.
    tampered: bool,
    quiet: Option<Time>,
    rested: bool,
}

/// Judges a whole history.
pub(crate) fn check(history: &History) -> Verdict {
    let mut checker = Checker::default();
    for (time, what) in &history.events {
        if checker.quiet.is_some_and(|quiet| *time > quiet + REST) && !checker.rested {
            checker.now = *time;
            checker.rest();
        }
        checker.now = *time;
        checker.take(what);
    }
    checker.end();
    checker.verdict
}

impl Checker {
    fn wrong(&mut self, what: String) {
        if self.verdict.wrong.len() < 20 {
            self.verdict.wrong.push(format!("{:>10.6} s: {what}", self.now as f64 / SECOND as f64));
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.verdict.counts.entry(what).or_default() += 1;
    }

    fn part(&mut self, partition: usize) -> &mut Partition {
        self.partitions.entry(partition).or_default()
    }

    fn take(&mut self, what: &What) {
        match what {
            What::Appended { partition, position, key } => {
                let record = Record { key: *key, time: self.now, ..Record::default() };
                self.part(*partition).records.insert(*position, record);
                self.keys.entry(*key).or_default().0.push((*partition, *position));
            }
            What::Closed { partition, children } => self.part(*partition).children = Some(children.clone()),
            What::Unlisted { partition } => self.part(*partition).unlisted = true,
            What::Began { pid } => {
                self.living.insert(*pid);
            }
            What::Strayed { pid } => {
                self.strays.insert(*pid);
            }
            What::Died { pid } | What::Left { pid } => {
                let (now, died) = (self.now, matches!(what, What::Died { .. }));
                self.living.remove(pid);
                for partition in self.partitions.values_mut() {
                    if partition.open.iter().any(|tenure| tenure.pid == *pid) && died {
                        partition.orphaned = Some(now);
                    }
                    partition.open.retain(|tenure| tenure.pid != *pid);
                    partition.running.retain(|(runs, ..)| runs != pid);
                }
            }
            What::Gained { pid, partition, epoch, until } => {
                self.until.insert(*pid, *until);
                self.gained(*pid, *partition, *epoch);
            }
            What::Renewed { pid, until } => {
                self.until.insert(*pid, *until);
                let held = self.partitions.iter().filter(|(_, partition)| partition.open.iter().any(|t| t.pid == *pid));
                for partition in held.map(|(partition, _)| *partition).collect::<Vec<_>>() {
                    self.overlap(partition);
                }
            }
            What::Released { pid, partition, epoch, clean } => self.over(*pid, *partition, *epoch, *clean),
            What::Lost { pid, partition, epoch } => {
                self.count("lost");
                self.has_cause(*pid, *partition, *epoch);
                self.over(*pid, *partition, *epoch, false);
            }
            What::Started { pid, partition, epoch, position } => self.started(*pid, *partition, *epoch, *position),
            What::Ended { pid, partition, epoch, position } => {
                self.part(*partition).running.remove(&(*pid, *epoch, *position));
            }
            What::Settled { pid, partition, epoch, position } => self.settled(*pid, *partition, *epoch, *position),
            What::Stored { key, value } => self.stored(key, value.as_ref()),
            What::Tampered { key } => {
                self.tampered = true;
                if let Some(partition) = key.strip_prefix("part/") {
                    let partition = self.part(number(partition));
                    let epoch = partition.row.as_ref().and_then(|row| row["epoch"].as_u64());
                    (partition.tampered, partition.broken) = (epoch.or(partition.tampered).or(Some(0)), true);
                }
                self.plan_broken |= key == "plan";
            }
            What::Endless => self.wrong("it does not come to an end".into()),
            What::Calm => self.calm = true,
            What::Quiet => self.quiet = Some(self.now),
        }
    }

    /// Says so if several believe to own a partition, unless somebody changed its row beneath the first.
    fn overlap(&mut self, partition: usize) {
        let now = self.now;
        let until = self.until.clone();
        let part = self.part(partition);
        let believing: Vec<(Pid, u64, Time)> = part
            .open
            .iter()
            .filter(|tenure| until.get(&tenure.pid).is_some_and(|until| *until > now))
            .map(|tenure| (tenure.pid, tenure.epoch, tenure.since))
            .collect();
        // Also one whose take was stored before the change, and that hears of it after.
        let beneath = part.tampered.is_some_and(|changed| believing.iter().any(|(_, epoch, _)| *epoch <= changed));
        if believing.len() > 1 {
            if beneath {
                self.count("overlaps after an operator's change");
            } else {
                self.wrong(format!("overlap: {} is believed to be owned by {believing:?}", name(partition)));
            }
        }
    }

    fn gained(&mut self, pid: Pid, partition: usize, epoch: u64) {
        self.count("gained");
        let now = self.now;
        let part = self.part(partition);
        let (allowed, before) = (part.allowed, std::mem::replace(&mut part.epoch, epoch));
        let replayed = BTreeSet::new();
        let row = part.row.as_ref().filter(|row| row["epoch"].as_u64() == Some(epoch) && part.tampered.is_none());
        let quarantined = |row: &Value| row["stuck"].as_u64() >= Some(2) || row["suspect"].is_object();
        let alone = if row.is_some_and(quarantined) { SPAN } else { 0 };
        let tenure = Tenure { pid, epoch, since: now, settled: 0, replayed, before, allowed, alone, last: None };
        let orphaned = part.orphaned.take();
        part.open.push(tenure);
        self.verdict.takeovers.extend(orphaned.map(|since| now - since));
        self.overlap(partition);
        self.unsteady("gained", partition);
    }

    fn unsteady(&mut self, what: &str, partition: usize) {
        // A finished row that an operator deletes is put back by the next audit of who knows it, or else read again.
        if self.rested && !self.tampered {
            self.wrong(format!("unsteady: {} was {what} though nothing happens any more", name(partition)));
        }
    }

    /// Who believes, and is named by the row, loses nothing: lost replies and refused successes are read back.
    fn has_cause(&mut self, pid: Pid, partition: usize, epoch: u64) {
        let believes = self.until.get(&pid).is_some_and(|until| *until > self.now + 1000);
        let row = self.part(partition).row.clone().unwrap_or_default();
        let named = row["owner"].as_str().is_some_and(|owner| owner.ends_with(&format!("-{pid}")));
        if believes && named && row["epoch"].as_u64() == Some(epoch) && !self.tampered {
            self.wrong(format!("{} is lost by process {pid}, which believes and is named by its row", name(partition)));
        }
    }

    fn over(&mut self, pid: Pid, partition: usize, epoch: u64, clean: bool) {
        let part = self.part(partition);
        let index = part.open.iter().position(|tenure| (tenure.pid, tenure.epoch) == (pid, epoch));
        if let Some(index) = index {
            let tenure = part.open.remove(index);
            if clean {
                part.clean.insert((pid, epoch), tenure.settled);
            }
            self.unsteady("given up", partition);
        }
    }

    fn started(&mut self, pid: Pid, partition: usize, epoch: u64, position: u64) {
        self.count("started");
        let until = self.until.get(&pid).copied().unwrap_or(0);
        if self.now >= until {
            self.wrong(format!("a handler of {} starts in process {pid} after its belief", name(partition)));
        }
        let part = self.part(partition);
        let overlaps = part.running.iter().any(|(other, ..)| *other != pid);
        part.running.insert((pid, epoch, position));
        let tampered = part.tampered.is_some();
        let beside =
            part.running.iter().filter(|(other, other_epoch, _)| (*other, *other_epoch) == (pid, epoch)).count();
        let named = part.row.as_ref().is_some_and(|row| record(&row["suspect"]["at"]) == Some(position));
        let Some(record) = part.records.get(&position) else {
            return self.wrong(format!("unexpected: {position} of {} was never appended", name(partition)));
        };
        let (key, again, skipped, last) = (record.key, record.settled, record.skipped, record.epoch);
        let tenure = part.open.iter_mut().find(|tenure| (tenure.pid, tenure.epoch) == (pid, epoch));
        let Some(tenure) = tenure else {
            return self.wrong(format!("process {pid} starts {position} of {} without owning it", name(partition)));
        };
        let fresh = tenure.last.replace(position) != Some(position);
        let alone = tenure.alone > 0 && !tampered;
        tenure.alone = tenure.alone.saturating_sub(usize::from(fresh));
        if again && last == tenure.before {
            tenure.replayed.insert(position);
        }
        let (replayed, allowed) = (tenure.replayed.len(), tenure.allowed);
        if replayed > allowed && !tampered {
            self.wrong(format!(
                "duplicates: epoch {epoch} of {} replays {replayed}, and {allowed} may be",
                name(partition)
            ));
        }
        if alone {
            self.count("started in quarantine");
        }
        if alone && (beside > 1 || !named) {
            self.wrong(format!("quarantine: {position} of {} starts unnamed, or beside another", name(partition)));
        }
        if again {
            self.count("redelivered");
        }
        if overlaps {
            self.count("handlers that ran beside one of an owner before");
        }
        // Everything of the key before it was settled.
        let (list, done) = self.keys.entry(key).or_default();
        let place = list.iter().position(|place| *place == (partition, position));
        if place.is_some_and(|place| place > *done) && !skipped {
            let before = list[*done];
            self.wrong(format!(
                "order: {position} of {} starts before {before:?} of its key is settled",
                name(partition)
            ));
        }
    }

    fn settled(&mut self, pid: Pid, partition: usize, epoch: u64, position: u64) {
        self.count("settled");
        let now = self.now;
        let part = self.part(partition);
        part.settlements.push(now);
        if let Some(tenure) = part.open.iter_mut().find(|tenure| (tenure.pid, tenure.epoch) == (pid, epoch)) {
            tenure.settled = tenure.settled.max(position);
        }
        let Some(record) = part.records.get_mut(&position) else { return };
        (record.settled, record.epoch) = (true, epoch);
        let key = record.key;
        self.advance(key);
    }

    /// Moves on over what is settled of a key.
    fn advance(&mut self, key: u32) {
        let Some((list, done)) = self.keys.get_mut(&key) else { return };
        while let Some((partition, position)) = list.get(*done) {
            let record = self.partitions.get(partition).and_then(|part| part.records.get(position));
            if !record.is_some_and(|record| record.settled || record.skipped) {
                break;
            }
            *done += 1;
        }
    }

    /// The group has had its time: all is covered, and balanced, from here on.
    fn rest(&mut self) {
        self.rested = true;
        self.covered(!self.tampered);
    }

    /// Whether everything has one owner. A row that an operator has spoilt is given the expiry by each who is to take it.
    fn covered(&mut self, strict: bool) {
        let now = self.now;
        let mut shares: BTreeMap<Pid, usize> = self.living.iter().map(|pid| (*pid, 0)).collect();
        let mut uncovered = Vec::new();
        for (partition, part) in &self.partitions {
            if part.children.is_some() {
                continue;
            }
            let owners: Vec<Pid> = part
                .open
                .iter()
                .filter(|tenure| self.until.get(&tenure.pid).is_some_and(|until| *until > now))
                .map(|tenure| tenure.pid)
                .collect();
            match owners[..] {
                [pid] => *shares.entry(pid).or_default() += 1,
                _ => uncovered.push((name(*partition), owners)),
            }
        }
        if !strict {
            return;
        }
        if !uncovered.is_empty() {
            self.wrong(format!("coverage: {uncovered:?} have not one owner"));
        }
        if let (Some(most), Some(least)) = (shares.values().max(), shares.values().min())
            && most - least > 1
        {
            self.wrong(format!("balance: the living own {shares:?}"));
        }
    }

    fn end(&mut self) {
        let end = self.now;
        self.covered(true);
        let mut lost = Vec::new();
        for (partition, part) in &self.partitions {
            let missing = |record: &Record| !record.settled && !record.skipped && record.time + 8 * SECOND < end;
            let missing: Vec<u64> =
                part.records.iter().filter(|(_, record)| missing(record)).map(|(position, _)| *position).collect();
            if !missing.is_empty() {
                let some = &missing[..missing.len().min(5)];
                lost.push(format!("{}: {} from {some:?}", name(*partition), missing.len()));
            }
        }
        if !lost.is_empty() {
            self.wrong(format!("lost: {lost:?} were never settled"));
        }
        if self.quiet.is_none() || !self.rested {
            self.wrong("the run ended before it came to rest".into());
        }
    }
}
