use std::{sync::Arc, time::Instant};

use strait_core::{Error, ErrorKind, Position, planted};

use super::{
    Machine,
    calls::{Call, Output, Purpose},
    partitions::State,
    rows::{Name, Nonce, PartRow, Place, Resume, SuspectRow, Unreadable, decode, encode, part_key},
};
use crate::{Expect, Partition, Progress, Put, Row, Start, Suspect, Version, order::never_back};

/// A partition that is ours, from its take to its end, and the one write of its row that may be under way.
#[derive(Debug)]
pub(super) struct Tenure {
    /// Its number, as it was told. The row's grows when it has to be put back.
    pub(super) epoch: u64,
    /// The row as it was last known to be stored.
    pub(super) row: PartRow,
    expect: Expect,
    /// What the owners before may have died of.
    inherited: Option<SuspectRow>,
    /// Whether it was asked back.
    pub(super) revoked: bool,
    /// What is to be stored, oldest first, and who waits for it.
    commits: Vec<(u64, Mark)>,
    pub(super) then: Then,
    io: Io,
    /// The row is gone or corrupt, and is to be put back.
    restore: bool,
    failures: u32,
}

/// How far it has come, as its row is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    checkpoint: Option<Place>,
    suspect: Option<SuspectRow>,
    resume: Option<Resume>,
}

impl Mark {
    /// What is settled by it.
    fn position(&self) -> Option<Position> {
        self.checkpoint.as_ref().map(Position::from)
    }
}

/// What is to happen once all progress is stored.
#[derive(Debug)]
pub(super) enum Then {
    Keep,
    /// It is forgotten already, and the row is to say so; these wait for that.
    Release(Vec<u64>),
    Finish {
        tickets: Vec<u64>,
        children: Vec<Child>,
    },
}

#[derive(Debug)]
pub(super) struct Child {
    pub(super) partition: Partition,
    pub(super) asked: bool,
    pub(super) stored: bool,
}

#[derive(Debug)]
enum Io {
    Idle,
    Writing(PartRow),
    /// What was written last may be stored: its row is being read.
    Reading(Option<PartRow>),
    Resting(Instant),
}

impl Tenure {
    pub(super) fn new(row: PartRow, version: Version) -> Self {
        Self {
            epoch: row.epoch,
            inherited: row.suspect.clone(),
            row,
            expect: Expect::Is(version),
            revoked: false,
            commits: Vec::new(),
            then: Then::Keep,
            io: Io::Idle,
            restore: false,
            failures: 0,
        }
    }

    pub(super) fn expects(&self, partition: &Name) -> bool {
        match &self.then {
            Then::Finish { children, .. } => children.iter().any(|child| child.partition.id == *partition),
            _ => false,
        }
    }

    pub(super) fn is_at(&self, version: &Version) -> bool {
        matches!(&self.expect, Expect::Is(known) if known == version)
    }

    /// Whether the engine still takes it for held, and everyone who waits for something.
    pub(super) fn into_tickets(self) -> (bool, Vec<u64>) {
        let mut tickets: Vec<u64> = self.commits.into_iter().map(|(ticket, _)| ticket).collect();
        let told = !matches!(self.then, Then::Release(_));
        match self.then {
            Then::Keep => {}
            Then::Release(more) | Then::Finish { tickets: more, .. } => tickets.extend(more),
        }
        (told, tickets)
    }

    /// What its row says, or is to say by what was asked for last.
    fn newest(&self) -> Mark {
        let PartRow { checkpoint, suspect, resume, .. } = &self.row;
        let (checkpoint, suspect, resume) = (checkpoint.clone(), suspect.clone(), resume.clone());
        self.commits.last().map_or(Mark { checkpoint, suspect, resume }, |(_, newest)| newest.clone())
    }

    /// What its row is to become next, if anything.
    fn next(&self, n: u64, me: &Name, planned: impl Fn(&Name) -> bool) -> Option<PartRow> {
        let mut row = PartRow { nonce: Nonce { by: Arc::clone(me), n }, ..self.row.clone() };
        if self.restore {
            row.owner = Some(Arc::clone(me));
            row.epoch += 1;
        }
        if let Some((_, mark)) = self.commits.last() {
            if mark.resume.is_some() && mark.resume != row.resume {
                row.stuck = 0; // whatever its owners died of, it had nothing in hand here
            }
            Mark { checkpoint: row.checkpoint, suspect: row.suspect, resume: row.resume } = mark.clone();
            return Some(row);
        }
        match &self.then {
            Then::Keep => self.restore.then_some(row),
            Then::Release(_) => {
                row.owner = None;
                // It did not kill this one.
                row.suspect = self.inherited.clone().filter(|_| row.checkpoint == row.taken);
                Some(row)
            }
            Then::Finish { children, .. } => {
                let ready = |child: &Child| child.stored && planned(&child.partition.id);
                if children.iter().all(ready) || planted!("finished-before-children") {
                    (row.owner, row.finished) = (None, true);
                    Some(row)
                } else {
                    self.restore.then_some(row)
                }
            }
        }
    }
}

impl Machine {
    pub(super) fn tenure(&mut self, partition: &str, epoch: u64) -> Option<&mut Tenure> {
        self.parts.get_mut(partition)?.tenure().filter(|tenure| tenure.epoch == epoch)
    }

    /// Stores progress, as soon as what is under way for this row has ended.
    pub(super) fn commit(&mut self, ticket: u64, progress: &Progress) {
        let Progress { partition, epoch, position } = progress;
        match self.mark(ticket, partition, *epoch, Some(position), None) {
            Err(error) if error.kind() == ErrorKind::Lost && planted!("commits-of-others") => {
                self.commit_blindly(ticket, progress);
            }
            outcome => self.marked(ticket, partition, outcome),
        }
    }

    /// Stores where it is resumed at, in the same way.
    pub(super) fn resume_at(&mut self, ticket: u64, partition: &Name, epoch: u64, start: &Start) {
        let outcome = self.mark_resume(ticket, partition, epoch, start);
        self.marked(ticket, partition, outcome);
    }

    fn mark_resume(&mut self, ticket: u64, partition: &Name, epoch: u64, start: &Start) -> Result<(), Error> {
        let tenure = self.marking(partition, epoch)?;
        let (newest, resume) = (tenure.newest(), Resume::new(start)?);
        if let Some(stored) = &newest.resume
            && resume.is_before(stored)?
        {
            tenure.commits.push((ticket, newest));
            return Ok(());
        }
        if let Start::After(position) = start {
            never_back(partition, newest.position().as_ref(), position)?;
        }
        tenure.inherited = None;
        tenure.commits.push((ticket, Mark { resume: Some(resume), suspect: None, ..newest }));
        Ok(())
    }

    /// The tenure that owns a partition, for something to be stored in its row.
    fn marking(&mut self, partition: &Name, epoch: u64) -> Result<&mut Tenure, Error> {
        let tenure = self.tenure(partition, epoch).filter(|tenure| !matches!(tenure.then, Then::Release(_)));
        tenure.ok_or_else(|| Self::lost(partition, epoch))
    }

    /// Stores what is worked on next, in the same way.
    pub(super) fn suspect(
        &mut self,
        ticket: u64,
        partition: &Name,
        epoch: u64,
        settled: Option<&Position>,
        suspect: &Suspect,
    ) {
        let outcome = self.mark(ticket, partition, epoch, settled, Some(suspect.into()));
        self.marked(ticket, partition, outcome);
    }

    fn mark(
        &mut self,
        ticket: u64,
        partition: &Name,
        epoch: u64,
        settled: Option<&Position>,
        suspect: Option<SuspectRow>,
    ) -> Result<(), Error> {
        let tenure = self.marking(partition, epoch)?;
        let newest = tenure.newest();
        let checkpoint = settled.map(Place::from).or_else(|| newest.checkpoint.clone());
        // Only progress is past what is suspected.
        let suspect = suspect.or_else(|| newest.suspect.clone().filter(|_| checkpoint == newest.checkpoint));
        if let Some(settled) = settled {
            never_back(partition, newest.position().as_ref(), settled)?;
        }
        // What came is behind the place where there was nothing more.
        let resume = newest.resume.filter(|_| checkpoint == newest.checkpoint);
        tenure.commits.push((ticket, Mark { checkpoint, suspect, resume }));
        Ok(())
    }

    fn marked(&mut self, ticket: u64, partition: &Name, outcome: Result<(), Error>) {
        match outcome {
            Ok(()) => self.write(partition),
            Err(error) => self.out.push_back(Output::Done { ticket, result: Err(error) }),
        }
    }

    /// What the planted fault of a commit by a past owner does: it goes by what the row says now.
    fn commit_blindly(&mut self, ticket: u64, progress: &Progress) {
        let known = self.parts.get(&progress.partition).and_then(|part| part.known.clone());
        if let Some((_, row)) = known {
            self.writes += 1;
            let nonce = Nonce { by: Arc::clone(&self.life.id), n: self.writes };
            let row = PartRow { nonce, checkpoint: Some(Place::from(&progress.position)), ..row };
            let (key, expect) = (part_key(&progress.partition), Expect::Is(Version::new("*")));
            self.call(Call::Put { key, expect, value: encode(&row) }, Purpose::Sweep);
        }
        self.out.push_back(Output::Done { ticket, result: Ok(()) });
    }

    /// Forgets a partition, and only then lets its row say so.
    pub(super) fn release(&mut self, ticket: u64, partition: &Name, epoch: u64) {
        let Some(tenure) = self.tenure(partition, epoch) else {
            let result = Err(Self::lost(partition, epoch));
            return self.out.push_back(Output::Done { ticket, result });
        };
        match &mut tenure.then {
            Then::Release(tickets) => tickets.push(ticket),
            then => *then = Then::Release(vec![ticket]),
        }
        self.write(partition);
    }

    /// Writes what is to be written next, unless something is under way for this row.
    pub(super) fn write(&mut self, partition: &Name) {
        let now = self.now.instant;
        let advice = &self.advice;
        let planned = |child: &Name| advice.has(child) || self.finished.contains(child);
        let n = self.writes + 1;
        let Some(tenure) = self.parts.get_mut(partition).and_then(|part| part.tenure()) else { return };
        match tenure.io {
            Io::Idle => {}
            Io::Resting(until) if until <= now => tenure.io = Io::Idle,
            Io::Resting(_) | Io::Writing(_) | Io::Reading(_) => return,
        }
        if let Some(row) = tenure.next(n, &self.life.id, planned) {
            let value = encode(&row);
            let expect = tenure.expect.clone();
            tenure.io = Io::Writing(row);
            self.writes = n;
            self.call(Call::Put { key: part_key(partition), expect, value }, Purpose::Write(Arc::clone(partition)));
        } else {
            self.bear(partition);
        }
    }

    /// Attends to a partition after a pause.
    pub(super) fn rest(&mut self, partition: &Name) {
        let Some(tenure) = self.parts.get_mut(partition).and_then(|part| part.tenure()) else { return };
        tenure.failures += 1;
        let pause = self.settings.pause.saturating_mul(1 << tenure.failures.min(4));
        let until = self.now.instant + pause.min(self.settings.heartbeat);
        if matches!(tenure.io, Io::Idle) {
            tenure.io = Io::Resting(until);
        }
        self.timers.insert((until, Arc::clone(partition)));
    }

    /// A write of a row that is ours has ended.
    pub(super) fn written(&mut self, partition: &Name, result: Result<Put, Error>) {
        let Some(tenure) = self.parts.get_mut(partition).and_then(|part| part.tenure()) else { return };
        let Io::Writing(row) = std::mem::replace(&mut tenure.io, Io::Idle) else { return };
        match result {
            Ok(Put::Done(version)) => self.stored(partition, row, version),
            Ok(Put::Refused) if planted!("no-read-back") => self.lose(partition),
            Ok(Put::Refused) if planted!("refused-taken-for-stored") => {
                let Expect::Is(version) = tenure.expect.clone() else { return };
                self.stored(partition, row, version);
            }
            Err(error) if !error.is_ambiguous() => {
                if matches!(tenure.then, Then::Keep) {
                    for (ticket, _) in std::mem::take(&mut tenure.commits) {
                        self.out.push_back(Output::Done { ticket, result: Err(error.clone()) });
                    }
                }
                self.rest(partition);
                self.report(error);
            }
            Ok(Put::Refused) | Err(_) => {
                tenure.io = Io::Reading(Some(row));
                self.call(Call::Get(part_key(partition)), Purpose::ReadBack(Arc::clone(partition)));
            }
        }
    }

    /// Reads a row that is ours and is said not to be as it was.
    pub(super) fn check(&mut self, partition: &Name) -> bool {
        let Some(tenure) = self.parts.get_mut(partition).and_then(|part| part.tenure()) else { return false };
        if !matches!(tenure.io, Io::Idle) {
            return false; // what is under way finds out
        }
        tenure.io = Io::Reading(None);
        self.call(Call::Get(part_key(partition)), Purpose::ReadBack(Arc::clone(partition)));
        true
    }

    /// The row is as it was to become.
    fn stored(&mut self, partition: &Name, row: PartRow, version: Version) {
        self.life.hint(self.now.instant);
        let Some(part) = self.parts.get_mut(partition) else { return };
        part.known = Some((version.clone(), row.clone()));
        let Some(tenure) = part.tenure() else { return };
        (tenure.failures, tenure.restore) = (0, false);
        tenure.expect = Expect::Is(version);
        let is = |Mark { checkpoint, suspect, resume }: &Mark| {
            (checkpoint, suspect, resume) == (&row.checkpoint, &row.suspect, &row.resume)
        };
        let count = tenure.commits.iter().rposition(|(_, mark)| is(mark));
        let done: Vec<u64> =
            tenure.commits.drain(..count.map_or(0, |last| last + 1)).map(|(ticket, _)| ticket).collect();
        let over = row.owner.is_none();
        let finished = row.finished;
        tenure.row = row;
        self.out.extend(done.into_iter().map(|ticket| Output::Done { ticket, result: Ok(()) }));
        if over {
            self.ended(partition, finished);
        } else {
            self.write(partition);
        }
    }

    /// A tenure has ended as it was to.
    fn ended(&mut self, partition: &Name, finished: bool) {
        let Some(part) = self.parts.get_mut(partition) else { return };
        let State::Held(tenure) = std::mem::take(&mut part.state) else { return };
        let (_, tickets) = tenure.into_tickets();
        self.out.extend(tickets.into_iter().map(|ticket| Output::Done { ticket, result: Ok(()) }));
        if finished {
            self.finished.insert(Arc::clone(partition));
            self.follow_plan();
            self.advise();
        } else if self.may_take(partition) {
            self.restless.insert(Arc::clone(partition));
        }
    }

    /// What the row is, after a write whose outcome is not known, or an audit that found it changed.
    pub(super) fn read_back(&mut self, partition: &Name, result: Result<Option<Row>, Error>) {
        let me = Arc::clone(&self.life.id);
        let Some(tenure) = self.parts.get_mut(partition).and_then(|part| part.tenure()) else { return };
        let Io::Reading(intent) = std::mem::replace(&mut tenure.io, Io::Idle) else { return };
        let row = match result {
            Ok(row) => row,
            Err(error) => {
                self.rest(partition);
                return self.report(error);
            }
        };
        let Some(row) = row else {
            tenure.expect = Expect::Absent;
            tenure.restore = true;
            return self.write(partition);
        };
        match decode::<PartRow>(&row.value) {
            Ok(found) if intent.is_some_and(|intent| intent.nonce == found.nonce) => {
                self.stored(partition, found, row.version);
            }
            Ok(_) if tenure.is_at(&row.version) => self.rest(partition), // undecided: it may still land
            // An earlier write of ours has landed late.
            Ok(found) if found.nonce.by == me && found.owner.is_none() => self.stored(partition, found, row.version),
            Ok(found)
                if found.owner.as_ref() == Some(&me) && (found.nonce.by == me || found.epoch == tenure.row.epoch) =>
            {
                self.stored(partition, found, row.version);
            }
            Ok(_) => self.lose(partition),
            Err(Unreadable::Corrupt) => {
                tenure.expect = Expect::Is(row.version);
                tenure.restore = true;
                self.write(partition);
            }
            Err(newer) => {
                self.lose(partition);
                self.report(newer.error(&part_key(partition)));
            }
        }
    }

    /// Somebody else has it.
    fn lose(&mut self, partition: &Name) {
        let Some(part) = self.parts.get_mut(partition) else { return };
        if let State::Held(tenure) = std::mem::take(&mut part.state) {
            self.give_up(partition, *tenure);
        }
    }

    /// The plan has changed: partitions whose children waited for it go on.
    pub(super) fn go_on(&mut self) {
        let waiting = self.parts.iter_mut().filter_map(|(partition, part)| {
            let waits = part.tenure().is_some_and(|tenure| matches!(tenure.then, Then::Finish { .. }));
            waits.then(|| Arc::clone(partition))
        });
        let waiting: Vec<Name> = waiting.collect();
        self.restless.extend(waiting);
    }
}
