//! Shipping: prints a label for what is paid, and refuses what does not fit into a parcel.

use strait::{Delivery, Failure, Sender};

use crate::{
    events::{Channel, Payment, Shipment, customer, message, read},
    journal::{Ending, Journal, Seen},
    progress::Progress,
};

/// From so many items on an order is not shipped.
pub(crate) const TOO_MANY: u64 = 40;

/// What the members of the group share.
#[derive(Clone, Debug)]
pub(crate) struct Shipping {
    pub(crate) shipments: Sender,
    pub(crate) journal: Journal,
    pub(crate) progress: Progress,
}

impl Shipping {
    pub(crate) async fn handle(self, delivery: Delivery) -> Result<(), Failure> {
        let (order_id, items) = match read(delivery.message())? {
            Payment::PaymentSucceeded { order_id, items, .. } => (order_id, Some(items)),
            Payment::PaymentFailed { order_id, .. } => (order_id, None),
        };
        if items.is_some_and(|items| items >= TOO_MANY) {
            self.journal.record("shipping", &Seen::from(&delivery), order_id, Ending::Rejected);
            return Err(Failure::reject("too many items for one parcel"));
        }
        if items.is_some() {
            let shipment = Shipment::ShippingLabelGenerated { order_id, label: format!("CD-{order_id:06}") };
            let customer = customer(delivery.message())?;
            self.shipments.send(message(Channel::Shipments, order_id, customer, &shipment)?).await?;
            self.progress.shipped.inc(1);
        }
        self.journal.record("shipping", &Seen::from(&delivery), order_id, Ending::Done);
        Ok(())
    }
}
