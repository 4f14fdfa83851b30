use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use strait_core::{Error, Position, planted};

use super::{
    Machine,
    calls::{Call, Output, Purpose},
    commits::{Tenure, Then},
    rows::{Name, Nonce, PartRow, Unreadable, decode, encode, part_key},
};
use crate::{Change, Expect, Put, Quarantine, Row, Start, Suspect, Version};

/// After how many owners in a row that died and settled nothing a partition is in quarantine: once may be anything.
const STUCK: u32 = 2;

/// What is known of a partition.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The row as it was last read, or written.
    pub(super) known: Option<(Version, PartRow)>,
    pub(super) state: State,
    looking: bool,
    /// A take whose outcome is not known, and what it expected.
    doubt: Option<(Expect, PartRow)>,
    /// Since when a row that was there is missing, or cannot be read.
    broken: Option<(Option<Version>, Instant)>,
    /// Parents that are being read.
    pub(super) parents: BTreeSet<Name>,
    /// Parents without a row, and since when that is known.
    pub(super) rowless: BTreeMap<Name, Instant>,
}

#[derive(Debug, Default)]
pub(super) enum State {
    /// Not ours.
    #[default]
    Free,
    /// Being taken: what its row is expected to be, and becomes.
    Taking(Expect, Box<PartRow>),
    /// Ours, or being given up.
    Held(Box<Tenure>),
}

impl Part {
    pub(super) fn tenure(&mut self) -> Option<&mut Tenure> {
        match &mut self.state {
            State::Held(tenure) => Some(tenure),
            _ => None,
        }
    }

    /// Whether `partition` is a child that this one, ours and at its end, is to leave behind.
    pub(super) fn expects(&self, partition: &Name) -> bool {
        match &self.state {
            State::Held(tenure) => tenure.expects(partition),
            _ => false,
        }
    }

    pub(super) fn is_child_of(&self, parent: &Name) -> bool {
        self.known.as_ref().is_some_and(|(_, row)| row.parents.contains(parent))
    }

    /// Whether its row names `me`, or may do so yet.
    pub(super) fn names(&self, me: &Name) -> bool {
        self.doubt.is_some() || self.known.as_ref().is_some_and(|(_, row)| row.owner.as_ref() == Some(me))
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self.state, State::Held(_))
    }
}

impl Machine {
    /// Goes through what is planned: what is to be taken, and what is to be given up.
    pub(super) fn follow_plan(&mut self) {
        let Some(plan) = self.advice.row() else { return };
        let me = &self.life.id;
        let place = plan.members.iter().position(|member| member == me);
        for (partition, owner) in &plan.parts {
            let ours = place.is_some() && owner.map(|owner| owner as usize) == place;
            let held = self.parts.get(partition).is_some_and(Part::is_held);
            if ours != held {
                self.restless.insert(Arc::clone(partition));
            }
        }
        let named = |part: &Part| matches!(part.state, State::Free) && part.names(me);
        self.restless
            .extend(self.parts.iter().filter(|(_, part)| named(part)).map(|(partition, _)| Arc::clone(partition)));
        for id in &plan.members {
            if id != me && !self.members.is_listed(id) {
                self.members.want(id);
            }
        }
    }

    pub(super) fn may_take(&self, partition: &str) -> bool {
        self.life.is_inside()
            && self.closing.is_none()
            && !self.finished.contains(partition)
            && self.advice.owner(partition) == Some(&self.life.id)
    }

    /// Does what is next for a partition.
    pub(super) fn attend(&mut self, partition: &Name) {
        let wanted = self.may_take(partition);
        let leaving = self.closing.is_some();
        let elsewhere = self.advice.owner(partition).is_some_and(|owner| *owner != self.life.id);
        if !wanted && !self.parts.contains_key(partition) {
            return;
        }
        let part = self.parts.entry(Arc::clone(partition)).or_default();
        let named = part.names(&self.life.id);
        match &mut part.state {
            State::Free if !part.looking && (wanted || named) => {
                part.looking = true;
                self.call(Call::Get(part_key(partition)), Purpose::Look(Arc::clone(partition)));
            }
            State::Free | State::Taking(..) => {}
            State::Held(tenure) => {
                if (elsewhere || leaving) && !tenure.revoked {
                    tenure.revoked = true;
                    let epoch = tenure.epoch;
                    if planted!("release-before-forgetting") {
                        tenure.then = Then::Release(Vec::new());
                    }
                    let partition = Arc::clone(partition);
                    self.out.push_back(Output::Change(Change::Revoked { partition, epoch }));
                }
                self.write(partition);
            }
        }
    }

    /// The row of a partition that is planned for us was read.
    pub(super) fn looked(&mut self, partition: &Name, result: Result<Option<Row>, Error>) {
        let wanted = self.may_take(partition);
        let Some(part) = self.parts.get_mut(partition) else { return };
        part.looking = false;
        let row = match result {
            Ok(row) => row,
            Err(error) => return self.report(error), // the next poll looks again
        };
        if !matches!(part.state, State::Free) {
            return;
        }
        let is = row.as_ref().map_or(Expect::Absent, |row| Expect::Is(row.version.clone()));
        let doubt = part.doubt.take_if(|(expect, _)| *expect != is); // it can no longer land, or it has
        if !wanted {
            return self.give_back(partition, row);
        }
        let (expect, row) = if let Some(row) = row {
            match decode::<PartRow>(&row.value) {
                Ok(found) => {
                    part.broken = None;
                    part.known = Some((row.version.clone(), found.clone()));
                    (Expect::Is(row.version), found)
                }
                Err(Unreadable::Corrupt) => {
                    self.report(Unreadable::Corrupt.error(&part_key(partition)));
                    let Some(born) = self.reborn(partition, Some(&row.version)) else { return };
                    (Expect::Is(row.version), born)
                }
                Err(newer) => return self.report(newer.error(&part_key(partition))),
            }
        } else {
            let Some(born) = self.reborn(partition, None) else { return };
            (Expect::Absent, born)
        };
        match (doubt, expect) {
            (Some((_, doubt)), Expect::Is(version)) if doubt.nonce == row.nonce => self.hold(partition, row, version),
            (_, expect) => self.decide(partition, expect, &row),
        }
    }

    /// A take that landed after the plan had moved on: the row names us, and nobody else may take it while we live.
    fn give_back(&mut self, partition: &Name, row: Option<Row>) {
        let Some(part) = self.parts.get_mut(partition) else { return };
        let found = row.and_then(|row| Some((row.version, decode::<PartRow>(&row.value).ok()?)));
        part.known.clone_from(&found);
        let Some((version, found)) = found.filter(|(_, found)| found.owner.as_ref() == Some(&self.life.id)) else {
            return;
        };
        if planted!("unwanted-take-kept") {
            return;
        }
        let mut tenure = Tenure::new(found, version);
        tenure.then = Then::Release(Vec::new());
        part.state = State::Held(Box::new(tenure));
        self.write(partition);
    }

    /// A row for a partition that has none that can be used, once it may be written.
    ///
    /// If there was one, its owner has the expiry to put it back; then it is written as it was last seen.
    fn reborn(&mut self, partition: &Name, version: Option<&Version>) -> Option<PartRow> {
        let now = self.now;
        let part = self.parts.get_mut(partition)?;
        if part.known.is_some() || version.is_some() {
            let broken = (version.cloned(), now.instant);
            match &mut part.broken {
                Some(seen) if seen.0 == broken.0 => {
                    if now.instant < seen.1 + self.settings.expiry {
                        return None;
                    }
                }
                seen => {
                    *seen = Some(broken);
                    return None;
                }
            }
        }
        let seconds = now.first_epoch();
        // Asked after the row was missed: a list from before may name what has since been read to its end and swept.
        let missed = part.broken.get_or_insert((version.cloned(), now.instant)).1;
        let asked = self.provider.sent.is_some_and(|sent| sent >= missed);
        let listed = self.provider.parents.get(partition).filter(|_| asked);
        if listed.is_none() && (version.is_none() || part.known.is_none()) {
            if asked {
                // Neither a row nor a shard: whatever it held is gone, and its children need not wait.
                self.finished.insert(Arc::clone(partition));
                self.advise();
            } else {
                self.ask_provider();
            }
            return None;
        }
        if let Some((_, known)) = &part.known {
            return Some(PartRow { owner: None, epoch: known.epoch.max(seconds), ..known.clone() });
        }
        let parents = listed?;
        let nonce = Nonce { by: Arc::clone(&self.life.id), n: 0 };
        Some(PartRow::new(nonce, seconds, self.advice.start(partition), parents.clone()))
    }

    /// Takes a partition, given its row, if the rules allow it.
    fn decide(&mut self, partition: &Name, expect: Expect, row: &PartRow) {
        if row.finished {
            self.finished.insert(Arc::clone(partition));
            return self.advise();
        }
        let (mut crashed, mut lapsed) = (false, false);
        if let Some(owner) = row.owner.as_ref().filter(|_| !planted!("plan-obeyed-unchecked")) {
            let ours = *owner == self.life.id;
            if !ours && !self.is_over(owner, partition) {
                if !self.members.is_dead(owner) {
                    return self.members.want(&Arc::clone(owner));
                }
                crashed = true;
            }
            lapsed = !crashed;
        }
        if !planted!("children-before-parents") && self.waits_for_parents(partition, row) {
            return;
        }
        let same = row.checkpoint == row.taken && crashed;
        self.writes += 1;
        let taken = PartRow {
            nonce: Nonce { by: Arc::clone(&self.life.id), n: self.writes },
            owner: Some(Arc::clone(&self.life.id)),
            epoch: if planted!("epoch-kept") { row.epoch } else { row.epoch + 1 },
            checkpoint: if planted!("checkpoint-dropped-on-take") { None } else { row.checkpoint.clone() },
            // A take from an owner that released says nothing about what a message does to a process.
            stuck: if same {
                row.stuck.saturating_add(1)
            } else if row.checkpoint == row.taken {
                row.stuck
            } else {
                0
            },
            taken: row.checkpoint.clone(),
            suspect: row.suspect.clone().and_then(|suspect| if lapsed { suspect.spared() } else { Some(suspect) }),
            // All finished: whoever takes it next need not ask again.
            parents: Vec::new(),
            ..row.clone()
        };
        // A version that the simulated store takes for any: a put without a condition.
        let expect = if planted!("take-unconditional") { Expect::Is(Version::new("*")) } else { expect };
        let call = Call::Put { key: part_key(partition), expect: expect.clone(), value: encode(&taken) };
        if let Some(part) = self.parts.get_mut(partition) {
            part.state = State::Taking(expect, Box::new(taken));
        }
        self.call(call, Purpose::Take(Arc::clone(partition)));
    }

    /// A take has ended.
    pub(super) fn taken(&mut self, partition: &Name, result: Result<Put, Error>) {
        let Some(part) = self.parts.get_mut(partition) else { return };
        let State::Taking(expect, row) = std::mem::take(&mut part.state) else { return };
        match result {
            Ok(Put::Done(version)) => self.hold(partition, *row, version),
            Err(error) if !error.is_ambiguous() => self.report(error),
            Ok(Put::Refused) | Err(_) => {
                // It may be stored, now or later: what the row says now decides.
                part.doubt = Some((expect, *row));
                self.restless.insert(Arc::clone(partition));
            }
        }
    }

    /// The partition is ours.
    fn hold(&mut self, partition: &Name, row: PartRow, version: Version) {
        let until = self.life.until(&self.settings);
        let leaving = self.closing.is_some();
        let Some(part) = self.parts.get_mut(partition) else { return };
        (part.doubt, part.broken) = (None, None);
        let mut tenure = Tenure::new(row, version);
        let epoch = tenure.epoch;
        if leaving {
            tenure.then = Then::Release(Vec::new());
            part.state = State::Held(Box::new(tenure));
            return self.write(partition);
        }
        let suspect = tenure.row.suspect.as_ref().map(Suspect::from);
        let quarantine = (suspect.is_some() || tenure.row.stuck >= STUCK) && !planted!("quarantine-ignored");
        let quarantine = quarantine.then(|| Quarantine::new(suspect));
        let checkpoint = tenure.row.checkpoint.as_ref().map(Position::from);
        let (start, settled) = match (&tenure.row.resume, checkpoint) {
            (Some(resume), settled) => (resume.start(), settled),
            (None, Some(position)) => (Start::After(position), None),
            (None, None) => (tenure.row.from.start(), None),
        };
        let settled = settled.filter(|_| !planted!("resume-forgets-what-is-settled"));
        part.state = State::Held(Box::new(tenure));
        let partition = Arc::clone(partition);
        self.out.push_back(Output::Change(Change::Gained { partition, epoch, start, settled, until, quarantine }));
    }

    /// Everything that was held is lost. Returns the tenures whose handlers may still run.
    pub(super) fn lose_all(&mut self) -> BTreeSet<(Name, u64)> {
        let mut busy = BTreeSet::new();
        let partitions: Vec<Name> = self.parts.keys().cloned().collect();
        for partition in partitions {
            let Some(part) = self.parts.get_mut(&partition) else { continue };
            part.looking = false;
            part.parents.clear();
            part.doubt = None;
            match std::mem::take(&mut part.state) {
                State::Held(tenure) => {
                    if !matches!(tenure.then, Then::Release(_)) {
                        busy.insert((Arc::clone(&partition), tenure.epoch));
                    }
                    self.give_up(&partition, *tenure);
                }
                State::Free | State::Taking(..) => {}
            }
        }
        self.restless.clear();
        self.timers.clear();
        busy
    }

    /// Says that a tenure is over that did not end by itself.
    pub(super) fn give_up(&mut self, partition: &Name, tenure: Tenure) {
        let epoch = tenure.epoch;
        let (told, tickets) = tenure.into_tickets();
        if told && !planted!("no-cancel-on-loss") {
            self.out.push_back(Output::Change(Change::Lost { partition: Arc::clone(partition), epoch }));
        }
        for ticket in tickets {
            self.out.push_back(Output::Done { ticket, result: Err(Self::lost(partition, epoch)) });
        }
    }
}
