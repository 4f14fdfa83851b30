//! Payment: charges each order, and says how that went.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use strait::{Delivery, Failure, Sender};

use crate::{
    events::{Channel, Payment, Placed, customer, message, read},
    journal::{Ending, Journal, Seen},
    progress::Progress,
};

/// Orders whose number this divides fail the first time they are charged.
pub(crate) const FLAKY: u64 = 97;

/// Charges cards: another company's service, which all members of the group call.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    called: Mutex<HashSet<u64>>,
}

impl Gateway {
    fn charge(&self, order_id: u64) -> Result<(), Failure> {
        let mut called = self.called.lock().unwrap_or_else(PoisonError::into_inner);
        if order_id.is_multiple_of(FLAKY) && called.insert(order_id) {
            return Err(Failure::retry("the payment gateway did not answer"));
        }
        Ok(())
    }
}

/// What the members of the group share.
#[derive(Clone, Debug)]
pub(crate) struct Charging {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) payments: Sender,
    pub(crate) journal: Journal,
    pub(crate) progress: Progress,
}

impl Charging {
    pub(crate) async fn handle(self, delivery: Delivery) -> Result<(), Failure> {
        let Placed::OrderPlaced(order) = read(delivery.message())?;
        let (order_id, items, cents) = (order.order_id, order.items, order.cents);
        if let Err(failure) = self.gateway.charge(order_id) {
            self.journal.record("payment", &Seen::from(&delivery), order_id, Ending::Retry);
            return Err(failure);
        }
        let outcome = match cents {
            0 => Payment::PaymentFailed { order_id, reason: "nothing to charge".to_owned() },
            cents => Payment::PaymentSucceeded { order_id, items, cents },
        };
        let customer = customer(delivery.message())?;
        self.payments.send(message(Channel::Payments, order_id, customer, &outcome)?).await?;
        self.journal.record("payment", &Seen::from(&delivery), order_id, Ending::Done);
        self.progress.charged.inc(1);
        Ok(())
    }
}
