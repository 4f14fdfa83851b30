use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Position, Result};
use tokio::sync::Notify;

use super::{Became, Change, Ownership, Partition, Progress, Renew, Start, Suspect};
use crate::{log::unknown_children, order::never_back};

/// An [`Ownership`] of one: this process owns all partitions, from the beginning to the end.
///
/// Progress is kept in memory, and read back through [`progress`](Self::progress): whoever wants to go on from there
/// after a restart stores it. Nobody else may consume the same partitions as the same group.
#[derive(Debug)]
pub struct Static {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Change>,
    owned: BTreeMap<Arc<str>, Owned>,
    finished: BTreeSet<Arc<str>>,
    /// Children that wait for all their parents.
    waiting: Vec<Partition>,
    progress: BTreeMap<Arc<str>, Position>,
    /// Where those go on of which nothing came since.
    resume: BTreeMap<Arc<str>, Start>,
    closed: bool,
}

#[derive(Debug)]
struct Owned {
    epoch: u64,
    /// Where its first tenure started.
    start: Start,
}

impl Static {
    /// Owns these partitions, each from the place given.
    pub fn new(partitions: impl IntoIterator<Item = (Partition, Start)>) -> Self {
        let mut state = State::default();
        for (partition, start) in partitions {
            state.gain(partition.id, 1, start);
        }
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// How far each partition has come.
    pub fn progress(&self) -> BTreeMap<Arc<str>, Position> {
        self.state().progress.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding this")
    }
}

impl State {
    fn gain(&mut self, partition: Arc<str>, epoch: u64, start: Start) {
        let settled = self.progress.get(&partition).cloned();
        let after = || settled.clone().map(Start::After);
        let from = self.resume.get(&partition).cloned().or_else(after).unwrap_or_else(|| start.clone());
        self.owned.insert(Arc::clone(&partition), Owned { epoch, start });
        self.changes.push_back(Change::Gained {
            partition,
            epoch,
            start: from,
            settled,
            until: None,
            quarantine: None,
        });
    }

    fn check(&self, partition: &str, epoch: u64) -> Result<()> {
        if self.owned.get(partition).is_some_and(|owned| owned.epoch == epoch) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Lost, format!("partition {partition:?} is not owned in epoch {epoch}")))
    }
}

#[async_trait]
impl Ownership for Static {
    async fn next(&self) -> Result<Option<Change>> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if let Some(change) = state.changes.pop_front() {
                    return Ok(Some(change));
                }
                if state.closed && state.owned.is_empty() {
                    return Ok(None);
                }
            }
            changed.await;
        }
    }

    async fn commit(&self, Progress { partition, epoch, position }: &Progress) -> Result<()> {
        let mut state = self.state();
        state.check(partition, *epoch)?;
        never_back(partition, state.progress.get(partition), position)?;
        state.resume.remove(partition);
        state.progress.insert(Arc::clone(partition), position.clone());
        Ok(())
    }

    async fn resume_at(&self, partition: &str, epoch: u64, start: &Start) -> Result<()> {
        let mut state = self.state();
        state.check(partition, epoch)?;
        state.resume.insert(partition.into(), start.clone());
        Ok(())
    }

    /// No tenure is in quarantine here.
    async fn suspect(&self, _: &str, _: u64, _: Option<&Position>, _: &Suspect) -> Result<()> {
        Ok(())
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        let mut state = self.state();
        state.check(partition, epoch)?;
        state.owned.remove(partition);
        self.changed.notify_one();
        Ok(())
    }

    async fn finish(&self, partition: &str, epoch: u64, became: Became) -> Result<()> {
        let mut state = self.state();
        state.check(partition, epoch)?;
        let children = match became {
            Became::Nothing => Vec::new(),
            Became::Children(children) if !children.is_empty() => children,
            Became::Children(_) => return Err(unknown_children(partition)),
        };
        state.owned.remove(partition);
        state.finished.insert(partition.into());
        for child in children {
            if !state.waiting.iter().any(|other| other.id == child.id) {
                state.waiting.push(child);
            }
        }
        let State { waiting, finished, .. } = &mut *state;
        let ready: Vec<_> =
            waiting.extract_if(.., |child| child.parents.iter().all(|parent| finished.contains(parent))).collect();
        for child in ready {
            if !state.closed {
                state.gain(child.id, 1, Start::Earliest);
            }
        }
        self.changed.notify_one();
        Ok(())
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        let mut state = self.state();
        if state.check(partition, epoch).is_ok()
            && let Some((partition, Owned { start, .. })) = state.owned.remove_entry(partition)
            && !state.closed
        {
            state.gain(partition, epoch + 1, start);
        }
        self.changed.notify_one();
    }

    /// Tenures have no end here.
    fn on_renewal(&self, _: Renew) {}

    async fn close(&self) -> Result<()> {
        let mut state = self.state();
        if !state.closed {
            state.closed = true;
            let revoke = |(partition, owned): (&Arc<str>, &Owned)| Change::Revoked {
                partition: Arc::clone(partition),
                epoch: owned.epoch,
            };
            let revoked: Vec<_> = state.owned.iter().map(revoke).collect();
            state.changes.extend(revoked);
        }
        self.changed.notify_one();
        Ok(())
    }
}
