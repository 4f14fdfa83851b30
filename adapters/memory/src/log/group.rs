use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use strait_core::{Error, ErrorKind, Position, Result, planted};
use strait_kit::{Change, Start};
use tokio::time::Instant;

use super::{partition::name, rebalance::rebalance};

/// A consumer group of a memory log: who is a member, who owns what, and how far each partition has come.
///
/// No clock of its own and no waiting: members say what they do, and take the changes that are for them.
#[derive(Debug)]
pub(super) struct Group {
    members: BTreeMap<u64, Member>,
    partitions: Vec<Partition>,
    next_member: u64,
    lease: Duration,
    /// Whether there is something new for a member.
    news: bool,
}

#[derive(Debug)]
struct Member {
    /// Dead to the others from then on.
    until: Instant,
    changes: VecDeque<Change>,
    leaving: bool,
}

/// Where a group begins with a partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Begin {
    /// The number of the first record.
    pub(super) next: u64,
    /// What it was split or merged from, and waits for.
    pub(super) parents: Vec<usize>,
    /// Whether it is closed, and there is nothing to read.
    pub(super) finished: bool,
}

#[derive(Debug)]
struct Partition {
    parents: Vec<usize>,
    /// Whether it is closed and all of it is settled.
    finished: bool,
    owner: Option<u64>,
    /// Whether the owner was told to hand it over.
    revoked: bool,
    planned: Option<u64>,
    epoch: u64,
    /// The number of the first record that is not settled.
    next: u64,
}

impl Partition {
    fn new(Begin { next, parents, finished }: Begin) -> Self {
        Self { parents, finished, owner: None, revoked: false, planned: None, epoch: 0, next }
    }
}

impl Group {
    /// A group that begins so.
    pub(super) fn new(begins: Vec<Begin>, lease: Duration) -> Self {
        let partitions = begins.into_iter().map(Partition::new).collect();
        Self { members: BTreeMap::new(), partitions, next_member: 1, lease, news: false }
    }

    /// There is another partition.
    pub(super) fn add(&mut self, parents: &[usize]) {
        self.partitions.push(Partition::new(Begin { parents: parents.to_vec(), ..Begin::default() }));
        self.plan();
    }

    pub(super) fn next(&self, partition: usize) -> u64 {
        self.partitions.get(partition).map_or(0, |partition| partition.next)
    }

    /// It has settled a partition up to `next`. Never moves back.
    pub(super) fn skip_to(&mut self, partition: usize, next: u64) {
        let partition = &mut self.partitions[partition];
        partition.next = partition.next.max(next);
    }

    pub(super) fn owner(&self, partition: usize) -> Option<u64> {
        self.partitions.get(partition)?.owner
    }

    /// Until when a member believes to be alive that the others give up at `until`: a tenth of the lease less.
    fn belief(&self, until: Instant) -> Instant {
        until - self.lease / 10
    }

    /// Whether there was something new for a member since it was last asked.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    pub(super) fn join(&mut self, now: Instant) -> u64 {
        let member = self.next_member;
        self.next_member += 1;
        self.members.insert(member, Member { until: now + self.lease, changes: VecDeque::new(), leaving: false });
        self.plan();
        member
    }

    /// Asks a member's partitions back.
    pub(super) fn leave(&mut self, member: u64) {
        if let Some(member) = self.members.get_mut(&member) {
            member.leaving = true;
            self.plan();
        }
    }

    /// A member is gone: its partitions go to the others.
    pub(super) fn remove(&mut self, member: u64) {
        if self.members.remove(&member).is_some() {
            for partition in &mut self.partitions {
                if partition.owner == Some(member) {
                    (partition.owner, partition.revoked) = (None, false);
                }
            }
            self.plan();
        }
    }

    /// A sign of life. Returns until when the member is alive, or nothing if it was given up before, or comes too late:
    /// what it owned has come to its end by its own clock, and it is a new member from then on.
    pub(super) fn beat(&mut self, member: u64, now: Instant) -> Option<Instant> {
        let is_dead = |(name, other): (&u64, &Member)| {
            let end = if *name == member { self.belief(other.until) } else { other.until };
            (end <= now).then_some(*name)
        };
        let dead: Vec<u64> = self.members.iter().filter_map(is_dead).collect();
        for dead in dead {
            self.remove(dead);
        }
        let until = now + self.lease;
        self.members.get_mut(&member)?.until = until;
        Some(self.belief(until))
    }

    /// The next change for a member.
    pub(super) fn change(&mut self, member: u64) -> Option<Change> {
        self.members.get_mut(&member)?.changes.pop_front()
    }

    pub(super) fn is_member(&self, member: u64) -> bool {
        self.members.contains_key(&member)
    }

    /// Whether a member that leaves owns nothing any more.
    pub(super) fn has_left(&self, member: u64) -> bool {
        self.members.get(&member).is_none_or(|member| member.leaving)
            && self.partitions.iter().all(|partition| partition.owner != Some(member))
    }

    fn plan(&mut self) {
        let ready: Vec<_> = (0..self.partitions.len()).filter(|index| self.is_ready(*index)).collect();
        let owners: Vec<_> = ready.iter().map(|index| self.partitions[*index].planned).collect();
        let members: Vec<_> =
            self.members.iter().filter(|(_, member)| !member.leaving).map(|(member, _)| *member).collect();
        for (index, planned) in ready.into_iter().zip(rebalance(&owners, &members)) {
            self.partitions[index].planned = planned;
        }
        for index in 0..self.partitions.len() {
            self.settle_owner(index);
        }
    }

    /// Whether a partition may be read: it has something, and all of its parents is settled.
    fn is_ready(&self, index: usize) -> bool {
        let partition = &self.partitions[index];
        let settled = |parent: &usize| self.partitions[*parent].finished || planted!("child-before-parent");
        !partition.finished
            && partition.parents.iter().all(settled)
            && !(planted!("first-thousand-partitions") && index >= 1000)
    }

    /// Gives a partition to whom it is planned for, or asks it back from its owner.
    fn settle_owner(&mut self, index: usize) {
        self.news = true;
        let partition = &mut self.partitions[index];
        if partition.owner.is_some() && (partition.owner == partition.planned || !planted!("newcomer-asks-nobody")) {
            if partition.owner != partition.planned
                && !partition.revoked
                && let Some(owner) = partition.owner.and_then(|owner| self.members.get_mut(&owner))
            {
                partition.revoked = true;
                owner.changes.push_back(Change::Revoked { partition: name(index), epoch: partition.epoch });
            }
            return;
        }
        let Some(owner) = partition.planned else { return };
        let lease = self.lease;
        let Some(member) = self.members.get_mut(&owner) else { return };
        partition.owner = Some(owner);
        partition.revoked = false;
        partition.epoch += 1;
        let start = match partition.next.checked_sub(1) {
            Some(last) => Start::After(Position::Number(last)),
            None => Start::Earliest,
        };
        // Counted from its last sign of life, as the others do.
        let until = (member.until - lease / 10).into_std();
        member.changes.push_back(Change::Gained {
            partition: name(index),
            epoch: partition.epoch,
            start,
            settled: None,
            until: Some(until),
            quarantine: None,
        });
    }

    fn check(&self, member: u64, index: usize, epoch: u64) -> Result<()> {
        let ours = self
            .partitions
            .get(index)
            .is_some_and(|partition| partition.owner == Some(member) && partition.epoch == epoch);
        if ours {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Lost, format!("memory: partition p{index} is not owned in epoch {epoch} any more")))
    }

    /// Stores progress: never backwards, and only for the owner.
    pub(super) fn commit(&mut self, member: u64, index: usize, epoch: u64, position: &Position) -> Result<()> {
        self.check(member, index, epoch)?;
        let Position::Number(number) = position else {
            return Err(Error::new(ErrorKind::Invalid, format!("memory: {position} is no position of a memory log")));
        };
        let partition = &mut self.partitions[index];
        if number + 1 < partition.next {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("memory: partition p{index} has come further than {number}"),
            ));
        }
        partition.next = number + 1;
        Ok(())
    }

    /// A member lost a partition that is still its own, and nothing of it goes on there: it gains it anew.
    pub(super) fn returned(&mut self, member: u64, index: usize, epoch: u64) {
        if self.check(member, index, epoch).is_ok() {
            (self.partitions[index].owner, self.partitions[index].revoked) = (None, false);
            self.settle_owner(index);
        }
    }

    pub(super) fn release(&mut self, member: u64, index: usize, epoch: u64) -> Result<()> {
        self.check(member, index, epoch)?;
        (self.partitions[index].owner, self.partitions[index].revoked) = (None, false);
        self.settle_owner(index);
        Ok(())
    }

    /// A closed partition is settled to its end: its children may be read.
    pub(super) fn finish(&mut self, member: u64, index: usize, epoch: u64) -> Result<()> {
        self.check(member, index, epoch)?;
        let partition = &mut self.partitions[index];
        (partition.owner, partition.revoked, partition.planned, partition.finished) = (None, false, None, true);
        self.plan();
        Ok(())
    }
}
