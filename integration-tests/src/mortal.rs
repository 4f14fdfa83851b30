//! A process that consumes and that a test can kill.

use strait_core::{Budget, Guarantees, Result};
use strait_kit::{LeaseTerms, Leased, Pause, Queue};
use tokio::sync::watch;

/// Ends a process: see [`Mortal`].
#[derive(Clone, Debug)]
pub(crate) struct Kill(watch::Sender<bool>);

impl Kill {
    /// Kills it.
    pub(crate) fn now(&self) {
        self.0.send_replace(true);
    }
}

/// A queue as a process sees it that may be killed: whatever it asks from then on hangs, and what is under way breaks off.
#[derive(Debug)]
pub(crate) struct Mortal<Q> {
    inner: Q,
    dead: watch::Receiver<bool>,
}

impl<Q> Mortal<Q> {
    /// A process that uses `inner`, and what ends it.
    pub(crate) fn new(inner: Q) -> (Self, Kill) {
        let (kill, dead) = watch::channel(false);
        (Self { inner, dead }, Kill(kill))
    }

    async fn live<T>(&self, call: impl Future<Output = T>) -> T {
        let mut dead = self.dead.clone();
        tokio::select! {
            biased;
            Ok(_) = dead.wait_for(|dead| *dead) => {}
            outcome = call => return outcome,
        }
        std::future::pending().await
    }
}

impl<Q: Queue> Queue for Mortal<Q> {
    type Handle = Q::Handle;

    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    fn lease_terms(&self) -> LeaseTerms {
        self.inner.lease_terms()
    }

    fn counts_deliveries(&self) -> bool {
        self.inner.counts_deliveries()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Leased<Q::Handle>>> {
        self.live(self.inner.receive(budget)).await
    }

    async fn delete(&self, handles: &[Q::Handle]) -> Vec<Result<()>> {
        self.live(self.inner.delete(handles)).await
    }

    async fn extend(&self, handles: &[Q::Handle]) -> Vec<Result<()>> {
        self.live(self.inner.extend(handles)).await
    }

    async fn release(&self, handles: &[Q::Handle]) -> Vec<Result<()>> {
        self.live(self.inner.release(handles)).await
    }

    async fn postpone(&self, pauses: &[Pause<Q::Handle>]) -> Vec<Result<()>> {
        self.live(self.inner.postpone(pauses)).await
    }

    async fn close(&self) -> Result<()> {
        self.live(self.inner.close()).await
    }
}
