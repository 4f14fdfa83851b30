use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use strait_core::{Budget, Consumer, ErrorKind, Guarantees, Received, Result, Token};
use tokio::time::Instant;

use super::{Fault, Faults, Site, error};

/// A [`Consumer`] whose calls go wrong as planned.
#[derive(Debug)]
pub struct FaultyConsumer {
    inner: Arc<dyn Consumer>,
    faults: Faults,
}

impl FaultyConsumer {
    /// Consumes by `inner`.
    pub fn new(inner: Arc<dyn Consumer>, faults: &Faults) -> Arc<Self> {
        Arc::new(Self { inner, faults: faults.clone() })
    }
}

#[async_trait]
impl Consumer for FaultyConsumer {
    fn guarantees(&self) -> Guarantees {
        self.inner.guarantees()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Received>> {
        let fault = self.faults.next(Site::Receive, 1);
        match fault {
            Some(Fault::Fail(kind)) => return Err(error(kind)),
            Some(Fault::Patience(pause)) => return Err(error(ErrorKind::Throttled).with_retry_after(pause)),
            Some(Fault::Lose | Fault::Ambiguous) => {
                drop(self.inner.receive(budget).await?); // given back, so that it comes again
                return Err(error(ErrorKind::Unavailable));
            }
            _ => {}
        }
        let batch = self.inner.receive(budget).await;
        self.faults.wait(fault.as_ref()).await;
        batch
    }

    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        let fault = self.faults.next(Site::Settle, tokens.len());
        match fault {
            Some(Fault::Fail(kind)) => return vec![Err(error(kind)); tokens.len()],
            Some(Fault::Duplicate) => drop(self.inner.settle(tokens).await),
            _ => {}
        }
        let begun = Instant::now();
        self.faults.wait(fault.as_ref()).await;
        let outcomes = self.inner.settle(tokens).await;
        if outcomes.iter().all(Result::is_ok) {
            self.faults.note_good(Site::Settle, begun);
        }
        outcomes
    }

    async fn postpone(&self, pauses: &[(Token, Duration)]) -> Vec<Result<()>> {
        let fault = self.faults.next(Site::Postpone, pauses.len());
        if let Some(Fault::Fail(kind)) = fault {
            return vec![Err(error(kind)); pauses.len()];
        }
        self.faults.wait(fault.as_ref()).await;
        self.inner.postpone(pauses).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
