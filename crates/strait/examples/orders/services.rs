//! Which service works on which receiver: what a process needs that places orders, and what others may do for it.

use std::{future, sync::Arc};

use strait::Bus;
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    crew::Crew,
    journal::Journal,
    management::{self, Management, Reads},
    payment::{Charging, Gateway},
    progress::Progress,
    shipping::Shipping,
    storefront::Storefront,
};

/// Most messages of a transaction.
const BATCH: usize = 256;

/// Starts order management, and who hears of it.
pub(crate) async fn manage(
    crew: &mut Crew,
    bus: &Bus,
    management: &Management,
    journal: &Journal,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let storefront = Arc::new(Storefront::new(journal.clone(), progress.clone()));
    crew.hire("storefront", |worker| {
        let storefront = Arc::clone(&storefront);
        worker.run_batch(BATCH, move |batch, _| {
            storefront.handle(batch);
            future::ready(Ok(()))
        })
    })
    .await?;

    let channels: [(_, Reads); 4] = [
        ("management-orders", management::placed),
        ("management-payments", management::paid),
        ("management-shipments", management::labelled),
        ("management-dead", management::rejected),
    ];
    for (receiver, reads) in channels {
        crew.hire(receiver, |worker| {
            let management = management.clone();
            worker.run_batch(BATCH, move |batch, _| future::ready(management.handle(receiver, batch, reads)))
        })
        .await?;
    }
    crew.add(management.clone().tell(bus.sender("status").await?, stop.clone()));
    Ok(())
}

/// Starts shipping and payment, the last one of the line first.
pub(crate) async fn sell(crew: &mut Crew, bus: &Bus, journal: &Journal, progress: &Progress) -> Result<(), Error> {
    let (shipments, payments) = (bus.sender("shipments").await?, bus.sender("payments").await?);
    let shipping = Shipping { shipments, journal: journal.clone(), progress: progress.clone() };
    crew.hire("shipping", |worker| {
        let shipping = shipping.clone();
        worker.run(move |delivery, _| shipping.clone().handle(delivery))
    })
    .await?;

    let payment = Charging {
        gateway: Arc::new(Gateway::default()),
        payments,
        journal: journal.clone(),
        progress: progress.clone(),
    };
    crew.hire("payment", |worker| {
        let payment = payment.clone();
        worker.run(move |delivery, _| payment.clone().handle(delivery))
    })
    .await
}
