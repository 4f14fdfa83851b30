use std::sync::Arc;

use strait_core::{Error, ErrorKind, Limits, Message, Producer, Receipt, Result};

use crate::{
    MemoryQueue,
    producer::{MemoryProducer, REQUEST_MESSAGES, Sink},
};

/// Sends a copy to each of these queues, as a topic does that queues subscribe to. A request is stored in all of them,
/// or in none.
pub fn fan_out(queues: Vec<MemoryQueue>) -> Arc<dyn Producer> {
    Arc::new(MemoryProducer::new(FanOut(queues)))
}

#[derive(Debug)]
struct FanOut(Vec<MemoryQueue>);

impl Sink for FanOut {
    fn limits(&self) -> Limits {
        let largest = self.0.iter().map(|queue| queue.options().message_bytes).min();
        Limits::new(REQUEST_MESSAGES, largest.unwrap_or(usize::MAX))
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().flat_map(Sink::names).collect()
    }

    fn put(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if let Some(full) = self.0.iter().find(|queue| !queue.fits(batch)) {
            let text = format!("memory: queue {:?} is full", full.options().name);
            return vec![Err(Error::new(ErrorKind::Throttled, text)); batch.len()];
        }
        let mut outcomes = vec![Ok(Receipt::new(0)); batch.len()];
        for queue in &self.0 {
            for (all, one) in outcomes.iter_mut().zip(queue.put(batch)) {
                // Somebody else may have filled it meanwhile: then a copy may be stored elsewhere already.
                *all = match (std::mem::replace(all, Ok(Receipt::new(0))), one) {
                    (Ok(_), Ok(receipt)) => Ok(receipt),
                    (Ok(_), Err(error)) => Err(error.into_ambiguous()),
                    (error, _) => error,
                };
            }
        }
        outcomes
    }
}
