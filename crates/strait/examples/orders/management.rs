//! Order management: joins what the channels say into each order's status, and tells every change of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strait::{Batch, Failure, Message, Sender};
use tokio::{sync::Notify, task::block_in_place};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    events::{Channel, Order, Payment, Placed, Shipment, StatusChange, message, read},
    journal::{Ending, Journal, Seen},
    progress::Progress,
    store::Store,
};

/// Most changes told before they are taken from the outbox.
const TELL: u32 = 500;

/// What a message says about an order.
#[derive(Debug)]
pub(crate) enum Fact {
    Placed(Order),
    Paid { order_id: u64, success: bool },
    Labelled { order_id: u64, label: String },
    Rejected { order_id: u64 },
}

impl Fact {
    pub(crate) fn order_id(&self) -> u64 {
        match self {
            Self::Placed(order) => order.order_id,
            Self::Paid { order_id, .. } | Self::Labelled { order_id, .. } | Self::Rejected { order_id } => *order_id,
        }
    }
}

/// Reads a channel's messages.
pub(crate) type Reads = fn(&Message) -> Result<Fact, Failure>;

pub(crate) fn placed(message: &Message) -> Result<Fact, Failure> {
    let Placed::OrderPlaced(order) = read(message)?;
    Ok(Fact::Placed(order))
}

pub(crate) fn paid(message: &Message) -> Result<Fact, Failure> {
    Ok(match read(message)? {
        Payment::PaymentSucceeded { order_id, .. } => Fact::Paid { order_id, success: true },
        Payment::PaymentFailed { order_id, .. } => Fact::Paid { order_id, success: false },
    })
}

pub(crate) fn labelled(message: &Message) -> Result<Fact, Failure> {
    let Shipment::ShippingLabelGenerated { order_id, label } = read(message)?;
    Ok(Fact::Labelled { order_id, label })
}

pub(crate) fn rejected(message: &Message) -> Result<Fact, Failure> {
    let (Payment::PaymentSucceeded { order_id, .. } | Payment::PaymentFailed { order_id, .. }) = read(message)?;
    Ok(Fact::Rejected { order_id })
}

/// What the members of the group share.
#[derive(Clone, Debug)]
pub(crate) struct Management {
    store: Arc<Mutex<Store>>,
    journal: Journal,
    progress: Progress,
    changed: Arc<Notify>,
}

impl Management {
    pub(crate) fn new(store: Store, journal: Journal, progress: Progress) -> Self {
        Self { store: Arc::new(Mutex::new(store)), journal, progress, changed: Arc::default() }
    }

    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner) // a transaction that panics is rolled back
    }

    /// Takes note of a batch in one transaction. Waits for nothing, so that whoever dies does so before or after it.
    pub(crate) fn handle(&self, receiver: &'static str, mut batch: Batch, reads: Reads) -> Result<(), Failure> {
        let (mut facts, mut seen, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for (index, entry) in batch.iter().enumerate() {
            match reads(entry.message()) {
                Ok(fact) => {
                    seen.push((fact.order_id(), Seen::from(&entry)));
                    facts.push((entry.id(), fact));
                }
                Err(failure) => unreadable.push((index, failure)),
            }
        }
        for (index, failure) in unreadable {
            batch.fail(index, failure);
        }
        block_in_place(|| {
            let mut store = self.store();
            store.apply(receiver, &facts)?;
            // Inside the lock, so that the journal has the order of the transactions.
            for (number, seen) in &seen {
                self.journal.record(receiver, seen, *number, Ending::Done);
            }
            Ok::<_, Failure>(())
        })?;
        self.progress.managed.inc(facts.len() as u64);
        self.changed.notify_one();
        Ok(())
    }

    /// Tells the changes in the outbox, in the order in which they were made, until `stop` and none is left.
    pub(crate) async fn tell(self, status: Sender, stop: CancellationToken) -> Result<(), Error> {
        loop {
            let changes = block_in_place(|| self.store().outbox(TELL))?;
            if let Some(last) = changes.last().map(|change| change.number) {
                let mut told = Vec::with_capacity(changes.len());
                for change in changes {
                    let (order_id, number) = (change.order_id, change.number);
                    let payload = StatusChange::OrderStatusUpdated { order_id, status: change.status, change: number };
                    told.push(status.enqueue(message(Channel::Status, number, &change.customer_id, &payload)?).await?);
                }
                for outcome in told {
                    outcome.await.into_result()?;
                }
                block_in_place(|| self.store().told(last))?;
            } else if stop.is_cancelled() {
                return Ok(());
            } else {
                tokio::select! {
                    () = self.changed.notified() => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
}
