use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Limits, Message, Plan, Producer, Receipt, Result};
use tokio::time::Instant;

use super::{Fault, Faults, Site, error, lost_answer};

/// A [`Producer`] whose sends go wrong as planned, and which remembers what was asked of it.
#[derive(Debug)]
pub struct FaultyProducer {
    inner: Arc<dyn Producer>,
    faults: Faults,
    requests: Mutex<Vec<(Instant, Vec<Message>)>>,
    stored: Mutex<Vec<Message>>,
}

impl FaultyProducer {
    /// Sends by `inner`.
    pub fn new(inner: Arc<dyn Producer>, faults: Faults) -> Arc<Self> {
        Arc::new(Self { inner, faults, requests: Mutex::default(), stored: Mutex::default() })
    }

    /// Every request that was made, and when.
    pub fn requests(&self) -> Vec<(Instant, Vec<Message>)> {
        self.requests.lock().expect("nothing panics while holding this").clone()
    }

    /// Every message that was stored, as often as it was, in order.
    pub fn stored(&self) -> Vec<Message> {
        self.stored.lock().expect("nothing panics while holding this").clone()
    }

    async fn pass(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if batch.is_empty() {
            return Vec::new();
        }
        let outcomes = self.inner.send(batch).await;
        let stored = batch.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(message, _)| message);
        self.stored.lock().expect("nothing panics while holding this").extend(stored.cloned());
        outcomes
    }

    /// Sends all but the entries `failing`, and those of their keys behind them: the contract's P4.
    async fn pass_but(&self, batch: &[Message], failing: &[usize], kind: ErrorKind) -> Vec<Result<Receipt>> {
        let mut keys = HashSet::new();
        let mut keep = Vec::with_capacity(batch.len());
        for (index, message) in batch.iter().enumerate() {
            let fails = failing.contains(&index) || message.key.as_ref().is_some_and(|key| keys.contains(key));
            if fails {
                keys.extend(message.key.clone());
            }
            keep.push(!fails);
        }
        let kept: Vec<_> =
            batch.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(message, _)| message.clone()).collect();
        let mut outcomes = self.pass(&kept).await.into_iter();
        let missing = || Err(Error::new(ErrorKind::Other, "too few outcomes"));
        keep.into_iter()
            .map(|kept| if kept { outcomes.next().unwrap_or_else(missing) } else { Err(error(kind)) })
            .collect()
    }
}

#[async_trait]
impl Producer for FaultyProducer {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn destinations(&self) -> Vec<String> {
        self.inner.destinations()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        self.inner.plan(message)
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        let request = (Instant::now(), batch.to_vec());
        self.requests.lock().expect("nothing panics while holding this").push(request);
        let fault = self.faults.next(Site::Send, batch.len());
        match fault {
            Some(Fault::Fail(kind)) => vec![Err(error(kind)); batch.len()],
            Some(Fault::These(failing, kind)) => self.pass_but(batch, &failing, kind).await,
            Some(Fault::Ambiguous) => {
                let outcomes = self.pass(batch).await;
                outcomes.into_iter().map(|outcome| outcome.and(Err(lost_answer()))).collect()
            }
            Some(Fault::Short) => {
                let mut outcomes = self.pass(batch).await;
                outcomes.pop();
                outcomes
            }
            Some(Fault::Duplicate) => {
                let outcomes = self.pass(batch).await;
                if outcomes.iter().all(Result::is_ok) {
                    self.pass(batch).await;
                }
                outcomes
            }
            Some(Fault::Hang) => {
                self.faults.healed().await;
                self.pass(batch).await
            }
            fault => {
                let outcomes = self.pass(batch).await;
                self.faults.wait(fault.as_ref()).await;
                outcomes
            }
        }
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
