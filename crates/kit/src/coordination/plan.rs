use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use strait_core::{Error, planted};

use super::{
    Machine,
    calls::{Call, Purpose},
    rebalance::rebalance,
    rows::{From, Name, Nonce, PLAN, PlanRow, Unreadable, decode, encode},
};
use crate::{Expect, Identity, Put, Row, Version};

/// The plan as it was last read, and what is to become of it.
///
/// It is advice: who takes a partition checks its row. Whoever joins or leaves writes it; for those who died, the living
/// of rank r do after r polls, so that it is mostly written once.
#[derive(Debug, Default)]
pub(super) struct Advice {
    read: Read,
    /// It is being written, or read back.
    busy: bool,
    /// For how many polls it has been in need of a change that anybody may make.
    patience: usize,
    /// Partitions that are to be planned: children, and what an audit found.
    pub(super) additions: BTreeSet<Name>,
    /// An audit has been through all rows since the plan was found missing.
    pub(super) surveyed: bool,
}

#[derive(Debug, Default)]
enum Read {
    #[default]
    Not,
    /// There is none, or none that can be used.
    Missing(Expect),
    Known(Version, PlanRow),
    /// It is left alone: a newer version of this library wrote it, or members that read another log.
    Others,
}

impl Advice {
    pub(super) fn row(&self) -> Option<&PlanRow> {
        match &self.read {
            Read::Known(_, row) => Some(row),
            _ => None,
        }
    }

    pub(super) fn owner(&self, partition: &str) -> Option<&Name> {
        self.row()?.owner(partition)
    }

    /// Whether a partition is planned.
    pub(super) fn has(&self, partition: &str) -> bool {
        self.row().is_some_and(|row| row.parts.contains_key(partition))
    }

    /// Whether a member is planned for.
    pub(super) fn names(&self, id: &str) -> bool {
        self.row().is_some_and(|row| row.members.iter().any(|member| &**member == id))
    }

    /// Where a partition starts that has no row yet.
    pub(super) fn start(&self, partition: &str) -> From {
        match self.row() {
            Some(row) if !row.late.iter().any(|late| &**late == partition) => row.start,
            _ => From::Earliest,
        }
    }

    /// Adds what is to be planned, and drops what is.
    pub(super) fn add(&mut self, partitions: Vec<Name>) {
        let Self { additions, read, .. } = self;
        if let Read::Known(_, row) = read {
            additions.retain(|partition| !row.parts.contains_key(partition));
        }
        additions.extend(partitions);
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    pub(super) fn is_missing(&self) -> bool {
        matches!(self.read, Read::Missing(_))
    }

    fn is_at(&self, version: &Version) -> bool {
        matches!(&self.read, Read::Known(known, _) if known == version)
    }

    /// Once planned, whoever finds that one is finished drops it, and nobody adds it again.
    fn drop_planned(&mut self) {
        if let Read::Known(_, plan) = &self.read
            && !planted!("additions-for-ever")
        {
            self.additions.retain(|partition| !plan.parts.contains_key(partition));
        }
    }

    pub(super) fn polled(&mut self) {
        self.patience += 1;
    }

    /// What an incarnation knew that has lapsed.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Machine {
    /// The plan was read.
    pub(super) fn plan_read(&mut self, row: Option<Row>) {
        if row.as_ref().is_some_and(|row| self.advice.is_at(&row.version)) {
            self.advice.drop_planned();
            return; // as mostly: nothing to decode
        }
        let read = match row {
            None => Read::Missing(Expect::Absent),
            Some(row) => match decode::<PlanRow>(&row.value) {
                Ok(plan) if self.is_of_another_log(&plan) => {
                    self.refuse(&plan);
                    Read::Others
                }
                Ok(plan) => Read::Known(row.version, plan),
                Err(Unreadable::Corrupt) => {
                    self.report(Unreadable::Corrupt.error(PLAN));
                    Read::Missing(Expect::Is(row.version))
                }
                Err(newer) => {
                    self.report(newer.error(PLAN));
                    Read::Others
                }
            },
        };
        let changed = match (&self.advice.read, &read) {
            (Read::Known(before, _), Read::Known(after, _)) => before != after,
            (Read::Missing(before), Read::Missing(after)) => before != after,
            _ => true,
        };
        if changed {
            self.advice.patience = 0;
            self.advice.surveyed = false;
            self.advice.read = read;
            self.advice.drop_planned();
            self.go_on();
        }
    }

    /// Writes the plan, if it is this member's to do and it would change.
    pub(super) fn advise(&mut self) {
        if !self.life.is_inside() || self.advice.busy {
            return;
        }
        let (expect, plan) = match &self.advice.read {
            Read::Not | Read::Others => return,
            Read::Missing(expect) => {
                if self.closing.is_some() {
                    return;
                }
                let expect = expect.clone();
                if !self.advice.surveyed {
                    return self.survey();
                }
                (expect, self.first_plan())
            }
            Read::Known(version, plan) => {
                let expect = Expect::Is(version.clone());
                let Some(better) = self.better_plan(plan) else { return };
                let again: Vec<Name> = plan.parts.keys().filter(|p| self.finished.contains(*p)).cloned().collect();
                for partition in again {
                    self.verify(&partition);
                }
                (expect, better)
            }
        };
        self.writes += 1;
        let plan = PlanRow { nonce: Nonce { by: Arc::clone(&self.life.id), n: self.writes }, ..plan };
        self.advice.busy = true;
        let value = encode(&plan);
        self.call(Call::Put { key: PLAN.into(), expect, value }, Purpose::PlanPut);
    }

    /// What the plan is to become, if this member is to change it now.
    fn better_plan(&self, plan: &PlanRow) -> Option<PlanRow> {
        let me = &self.life.id;
        let leaving = self.closing.is_some();
        let former = |id: &Name| self.former.iter().any(|(former, _)| former == id);
        // Whose row was read and is not there has left, or ends at its next heartbeat: no reason to plan for it for an
        // expiry more, which is only needed before its partitions may be taken.
        let dead = |id: &Name| id != me && (self.members.is_dead(id) || self.members.is_absent(id) || former(id));
        let planned = plan.members.contains(me);
        let rank = plan.members.iter().filter(|id| **id < *me && !dead(id)).count();
        let mine = planned == leaving;
        let over = |partition: &Name| self.finished.contains(partition);
        let log = Identity::complete(plan.log.as_ref(), self.log.as_ref());
        let needy = plan.members.iter().any(dead)
            || log != plan.log
            || plan.parts.iter().any(|(partition, owner)| owner.is_none() || over(partition))
            || self.advice.additions.iter().any(|partition| !plan.parts.contains_key(partition) && !over(partition));
        let urgent = self.advice.additions.iter().any(|partition| self.is_born_here(partition));
        if !mine && !(needy && (self.advice.patience >= rank || urgent)) {
            return None;
        }
        let gone: BTreeSet<&Name> = plan.gone.iter().collect();
        let stays = |id: &Name| !dead(id) && (id != me || !leaving);
        let mut members: BTreeSet<Name> = plan.members.iter().filter(|id| stays(id)).cloned().collect();
        if !leaving {
            members.insert(Arc::clone(me));
        }
        members.extend(self.members.living().filter(|id| stays(id) && !gone.contains(id)).cloned());
        let members: Vec<Name> = members.into_iter().collect();
        let left = plan.members.iter().filter(|id| !stays(id));
        let gone =
            plan.gone.iter().chain(left).filter(|id| self.members.is_listed(id)).cloned().collect::<BTreeSet<_>>();
        let mut owners: BTreeMap<&Name, Option<Name>> = BTreeMap::new();
        for partition in plan.parts.keys().filter(|partition| !over(partition)) {
            // An heir keeps the share of whom it inherits from.
            let owner = plan.owner(partition).map(|id| if former(id) { me } else { id });
            owners.insert(partition, owner.cloned());
        }
        let mut late: BTreeSet<&Name> = plan.late.iter().filter(|partition| owners.contains_key(partition)).collect();
        for partition in self.advice.additions.iter().filter(|partition| !over(partition)) {
            if !owners.contains_key(partition) {
                owners.insert(partition, None);
                late.insert(partition);
            }
        }
        let start =
            if planted!("start-rewritten") { From::new(&self.settings.start, self.now.wall) } else { plan.start };
        let late = late.into_iter().cloned().collect();
        let parts = share(owners, &members);
        let (nonce, gone) = (plan.nonce.clone(), gone.into_iter().collect());
        let row = PlanRow { nonce, log, start, members, gone, parts, late };
        let same =
            row.log == plan.log && row.members == plan.members && row.parts == plan.parts && row.late == plan.late;
        (!same).then_some(row)
    }

    /// Whether a partition is a child of one that is ours and ends.
    fn is_born_here(&self, partition: &Name) -> bool {
        self.parts.values().any(|part| part.expects(partition))
    }

    /// The plan of a group that has none: of its birth, or after an operator deleted it. All rows have been read.
    fn first_plan(&self) -> PlanRow {
        let known: Vec<_> = self.parts.values().filter_map(|part| part.known.as_ref().map(|(_, row)| row)).collect();
        let birth = known.is_empty();
        let start = known.iter().map(|row| row.from).find(|from| matches!(from, From::At(_)));
        let start = match start {
            Some(start) => start,
            None if birth => From::new(&self.settings.start, self.now.wall),
            None => From::Earliest,
        };
        let listed = self.provider.parents.keys();
        let open = |partition: &&Name| !self.finished.contains(*partition);
        let stored = self.parts.iter().filter(|(_, part)| part.known.is_some()).map(|(partition, _)| partition);
        let all: BTreeSet<&Name> = listed.chain(stored).filter(open).collect();
        let child = |partition: &&&Name| {
            !birth && self.provider.parents.get(**partition).is_some_and(|parents| !parents.is_empty())
        };
        let late = all.iter().filter(child).map(|partition| Name::clone(partition)).collect();
        let mut members: BTreeSet<Name> = self.members.living().cloned().collect();
        members.insert(Arc::clone(&self.life.id));
        let members: Vec<Name> = members.into_iter().collect();
        let owner = |partition: &Name| {
            let (_, row) = self.parts.get(partition)?.known.as_ref()?;
            row.owner.clone()
        };
        let owners = all.into_iter().map(|partition| (partition, owner(partition))).collect();
        let nonce = Nonce { by: Arc::clone(&self.life.id), n: self.writes };
        let log = self.log.clone();
        PlanRow { nonce, log, start, parts: share(owners, &members), members, gone: Vec::new(), late }
    }

    /// Writing the plan has ended.
    pub(super) fn plan_put(&mut self, result: Result<Put, Error>) {
        self.advice.busy = false;
        match result {
            // What was written is read at once, and so is what somebody else wrote in the meantime.
            Ok(_) => self.poll_now(),
            Err(error) => self.report(error), // the next poll reads it, whatever became of it
        }
    }
}

fn share(owners: BTreeMap<&Name, Option<Name>>, members: &[Name]) -> BTreeMap<Name, Option<u32>> {
    let list: Vec<Option<Name>> = owners.values().cloned().collect();
    let index: BTreeMap<&Name, u32> = members.iter().zip(0..).collect();
    let plan = rebalance(&list, members);
    let planned = owners.into_keys().cloned().zip(plan);
    planned.map(|(partition, owner)| (partition, owner.and_then(|owner| index.get(&owner).copied()))).collect()
}
