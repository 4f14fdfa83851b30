use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use strait_core::{ErrorKind, Position, Result};
use strait_kit::{Became, Change, Ownership, Progress, Renew, Start, Suspect};
use tokio::time::Instant;

use super::{Fault, Faults, InHand, Site, error, lost_answer};

/// An [`Ownership`] that loses partitions, and whose reports, commits and hand-overs go wrong, as planned.
#[derive(Debug)]
pub struct FaultyOwnership {
    inner: Arc<dyn Ownership>,
    faults: Faults,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<Arc<str>, u64>,
    /// What was lost as planned, to be told.
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

    /// Makes a call that hands over, or leaves, as planned.
    async fn hand_over(&self, site: Site, call: impl Future<Output = Result<()>>) -> Result<()> {
        let fault = self.faults.next(site, 1);
        if let Some(Fault::Fail(kind)) = fault {
            return Err(error(kind));
        }
        self.faults.wait(fault.as_ref()).await;
        call.await
    }

    fn note(&self, change: &Change) {
        match change {
            Change::Gained { partition, epoch, .. } => {
                self.state().owned.insert(Arc::clone(partition), *epoch);
                self.faults.note(|in_hand| in_hand.gain(partition, *epoch));
            }
            Change::Revoked { partition, .. } => drop(self.state().owned.remove(partition)),
            Change::Lost { partition, epoch } => self.note_lost(partition, *epoch),
            _ => {}
        }
    }

    fn note_lost(&self, partition: &Arc<str>, epoch: u64) {
        self.note_gone(partition, epoch);
        self.faults.note(|in_hand| {
            in_hand.lost.insert(Arc::clone(partition));
        });
    }

    fn note_gone(&self, partition: &Arc<str>, epoch: u64) {
        let mut state = self.state();
        if state.owned.get(partition) == Some(&epoch) {
            state.owned.remove(partition);
        }
        self.faults.note(|in_hand| in_hand.end_partition(partition, epoch));
    }

    /// A call that handed a partition over ended so.
    fn note_handed_over(&self, partition: &str, epoch: u64, outcome: &Result<()>) {
        match outcome {
            Ok(()) => self.note_gone(&partition.into(), epoch),
            Err(error) if error.kind() == ErrorKind::Lost => self.note_lost(&partition.into(), epoch),
            Err(_) => {}
        }
    }
}

#[async_trait]
impl Ownership for FaultyOwnership {
    async fn next(&self) -> Result<Option<Change>> {
        if let Some(change) = self.state().waiting.pop_front() {
            return Ok(Some(change));
        }
        let fault = self.faults.next(Site::Own, 1);
        if let Some(Fault::Fail(kind)) = fault {
            return Err(error(kind));
        }
        self.faults.wait(fault.as_ref()).await; // before, so that a dropped call skips nothing
        let Some(change) = self.inner.next().await? else {
            self.faults.note(InHand::end_partitions); // it has left, and owns nothing
            return Ok(None);
        };
        self.note(&change);
        if fault == Some(Fault::Lose) {
            let first = self.state().owned.first_key_value().map(|(partition, epoch)| (Arc::clone(partition), *epoch));
            if let Some((partition, epoch)) = first {
                self.note_lost(&partition, epoch);
                self.state().waiting.push_back(Change::Lost { partition: Arc::clone(&partition), epoch });
                let _ = self.inner.release(&partition, epoch).await; // somebody else may have it by now
            }
        }
        Ok(Some(change))
    }

    async fn commit(&self, progress: &Progress) -> Result<()> {
        let begun = Instant::now();
        let committed = self.store(self.inner.commit(progress)).await;
        match &committed {
            Ok(()) => self.faults.note_good(Site::Commit, begun),
            Err(error) if error.kind() == ErrorKind::Lost => self.note_lost(&progress.partition, progress.epoch),
            Err(_) => {}
        }
        committed
    }

    async fn resume_at(&self, partition: &str, epoch: u64, start: &Start) -> Result<()> {
        self.store(self.inner.resume_at(partition, epoch, start)).await
    }

    async fn suspect(&self, partition: &str, epoch: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()> {
        self.store(self.inner.suspect(partition, epoch, settled, suspect)).await
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        let released = self.hand_over(Site::HandOver, self.inner.release(partition, epoch)).await;
        self.note_handed_over(partition, epoch, &released);
        released
    }

    async fn finish(&self, partition: &str, epoch: u64, became: Became) -> Result<()> {
        let finished = self.hand_over(Site::HandOver, self.inner.finish(partition, epoch, became)).await;
        self.note_handed_over(partition, epoch, &finished);
        finished
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        self.inner.returned(partition, epoch).await;
    }

    fn on_renewal(&self, renew: Renew) {
        self.inner.on_renewal(renew);
    }

    async fn close(&self) -> Result<()> {
        self.hand_over(Site::Leave, self.inner.close()).await
    }
}
