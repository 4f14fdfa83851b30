use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use async_trait::async_trait;
use strait_core::{Position, Result, planted};
use strait_kit::{Became, Change, Ownership, Progress, Renew, Start, Suspect};
use tokio::time::{self, Instant};

use super::{MemoryLog, group::Group, partition::index};
use crate::Life;

/// A member of a group, which shows signs of life for as long as it is asked for changes.
///
/// Given up by the others, it loses everything and joins anew. Dropped without being closed, it is gone at once, unless
/// its process was killed: then the others wait for its lease.
#[derive(Debug)]
pub(super) struct GroupMember {
    log: MemoryLog,
    group: String,
    life: Life,
    /// Which member it is now.
    number: AtomicU64,
    closing: AtomicBool,
    beat: tokio::sync::Mutex<Option<Instant>>,
}

impl GroupMember {
    pub(super) fn join(log: MemoryLog, group: String, life: Life) -> Self {
        let number = log.with_group(&group, |group| group.join(Instant::now()));
        let (number, closing, beat) = (AtomicU64::new(number), AtomicBool::new(false), tokio::sync::Mutex::default());
        Self { log, group, life, number, closing, beat }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Group, u64) -> T) -> T {
        self.log.with_group(&self.group, |group| act(group, self.number.load(Relaxed)))
    }

    /// What is to be told now, if anything is.
    fn news(&self, beat: &mut Option<Instant>) -> News {
        let now = Instant::now();
        let due = beat.is_none_or(|beat| beat <= now);
        self.with(|group, number| {
            if !group.is_member(number) {
                return if self.closing.load(Relaxed) { News::Left } else { News::GivenUp };
            }
            if due {
                *beat = Some(now + self.log.options().lease / 3);
                return match group.beat(number, now) {
                    Some(until) => News::Change(Change::Renewed { until: until.into_std() }),
                    None => News::GivenUp,
                };
            }
            match group.change(number) {
                Some(change) => News::Change(change),
                None if group.has_left(number) => {
                    group.remove(number);
                    News::Left
                }
                None => News::None,
            }
        })
    }
}

/// What a member is told.
enum News {
    Change(Change),
    /// It was given up by the others.
    GivenUp,
    /// It is closed, and owns nothing any more.
    Left,
    None,
}

#[async_trait]
impl Ownership for GroupMember {
    async fn next(&self) -> Result<Option<Change>> {
        let mut beat = self.beat.lock().await;
        loop {
            self.life.breathe().await;
            let changed = self.log.groups_changed();
            let mut changed = std::pin::pin!(changed);
            changed.as_mut().enable();
            match self.news(&mut beat) {
                News::Change(change) => return Ok(Some(change)),
                News::Left => return Ok(None),
                // Its claims ended by themselves, before the others gave it up.
                News::GivenUp => {
                    let number = self.with(|group, _| group.join(Instant::now()));
                    self.number.store(number, Relaxed);
                    *beat = None;
                    continue;
                }
                News::None => {}
            }
            let due = beat.unwrap_or_else(Instant::now);
            tokio::select! {
                () = changed => {}
                () = time::sleep_until(due) => {}
                () = self.life.over() => {}
            }
        }
    }

    async fn commit(&self, Progress { partition, epoch, position }: &Progress) -> Result<()> {
        self.life.breathe().await;
        let index = index(partition)?;
        self.with(|group, number| group.commit(number, index, *epoch, position))?;
        if planted!("progress-of-every-group") {
            let next = self.with(|group, _| group.next(index));
            self.log.store().groups.values_mut().for_each(|group| group.skip_to(index, next));
        }
        self.log.trim(index);
        Ok(())
    }

    /// Positions of this log are kept until every group has settled them: they are never forgotten.
    async fn resume_at(&self, _: &str, _: u64, _: &Start) -> Result<()> {
        Ok(())
    }

    /// A group of this log quarantines nothing.
    async fn suspect(&self, _: &str, _: u64, _: Option<&Position>, _: &Suspect) -> Result<()> {
        Ok(())
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        self.life.breathe().await;
        let index = index(partition)?;
        self.with(|group, number| group.release(number, index, epoch))
    }

    async fn finish(&self, partition: &str, epoch: u64, _: Became) -> Result<()> {
        self.life.breathe().await;
        let index = index(partition)?;
        self.with(|group, number| group.finish(number, index, epoch))
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        self.life.breathe().await;
        if let Ok(index) = index(partition) {
            self.with(|group, number| group.returned(number, index, epoch));
        }
    }

    /// Changes are enough: it lives as long as it is asked for them.
    fn on_renewal(&self, _: Renew) {}

    async fn close(&self) -> Result<()> {
        self.life.breathe().await;
        self.closing.store(true, Relaxed);
        self.with(Group::leave);
        Ok(())
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        if !self.life.is_over() {
            self.with(Group::remove);
        }
    }
}

/// Shares what is common to all members of one process.
pub(super) fn member(log: &MemoryLog, group: &str, life: &Life) -> Arc<dyn Ownership> {
    Arc::new(GroupMember::join(log.clone(), group.to_owned(), life.clone()))
}
