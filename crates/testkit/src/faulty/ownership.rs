use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use strait_core::{Position, Result};
use strait_kit::{Change, Ownership, Partition, Progress, Renew, Suspect};

use super::{Fault, Faults, Site, error, lost_answer};

/// An [`Ownership`] that loses partitions, and whose commits go wrong, as planned.
#[derive(Debug)]
pub struct FaultyOwnership {
    inner: Arc<dyn Ownership>,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<Arc<str>, u64>,
    waiting: VecDeque<Change>,
}

impl FaultyOwnership {
    /// Owns what `inner` does.
    pub fn new(inner: Arc<dyn Ownership>, faults: Faults) -> Arc<Self> {
        Arc::new(Self { inner, faults, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding this")
    }

    /// Makes a call that stores progress, as planned.
    async fn store(&self, call: impl Future<Output = Result<()>>) -> Result<()> {
        match self.faults.next(Site::Commit, 1) {
            Some(Fault::Fail(kind)) => Err(error(kind)),
            Some(Fault::Ambiguous) => call.await.and(Err(lost_answer())),
            fault => {
                self.faults.wait(fault.as_ref()).await;
                call.await
            }
        }
    }

    fn note(&self, change: &Change) {
        let mut state = self.state();
        match change {
            Change::Gained { partition, epoch, .. } => drop(state.owned.insert(Arc::clone(partition), *epoch)),
            Change::Revoked { partition, .. } | Change::Lost { partition, .. } => drop(state.owned.remove(partition)),
            _ => {}
        }
    }
}

#[async_trait]
impl Ownership for FaultyOwnership {
    async fn next(&self) -> Result<Option<Change>> {
        if let Some(change) = self.state().waiting.pop_front() {
            return Ok(Some(change));
        }
        let Some(change) = self.inner.next().await? else { return Ok(None) };
        self.note(&change);
        if self.faults.next(Site::Own, 1) == Some(Fault::Lose) {
            let first = self.state().owned.pop_first();
            if let Some((partition, epoch)) = first {
                self.state().waiting.push_back(Change::Lost { partition: Arc::clone(&partition), epoch });
                let _ = self.inner.release(&partition, epoch).await; // somebody else may have it by now
            }
        }
        Ok(Some(change))
    }

    async fn commit(&self, progress: &Progress) -> Result<()> {
        self.store(self.inner.commit(progress)).await
    }

    async fn suspect(&self, partition: &str, epoch: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()> {
        self.store(self.inner.suspect(partition, epoch, settled, suspect)).await
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        self.state().owned.remove(partition);
        self.inner.release(partition, epoch).await
    }

    async fn finish(&self, partition: &str, epoch: u64, children: Vec<Partition>) -> Result<()> {
        self.inner.finish(partition, epoch, children).await
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        self.inner.returned(partition, epoch).await;
    }

    fn on_renewal(&self, renew: Renew) {
        self.inner.on_renewal(renew);
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
