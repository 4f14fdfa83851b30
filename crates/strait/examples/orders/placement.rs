//! Placement: sends an `OrderPlaced` for every order that the shop took.

use std::collections::VecDeque;

use strait::{Pending, Sender};

use crate::{
    Error,
    events::{Channel, Placed, message},
    expected::Expected,
    intake::Intake,
    progress::Progress,
};

/// How many outcomes may be open before the oldest is waited for.
const OPEN: usize = 1000;

/// Sends all orders, and returns what is to become of them once all are stored.
pub(crate) async fn place(intake: Intake, orders: Sender, progress: &Progress) -> Result<Expected, Error> {
    let mut expected = Expected::default();
    let mut open: VecDeque<Pending> = VecDeque::with_capacity(OPEN);
    for order in intake {
        let order = order?;
        expected.add(&order);
        let (number, customer) = (order.order_id, order.customer_id.clone());
        let message = message(Channel::Orders, number, &customer, &Placed::OrderPlaced(order))?;
        if open.len() == OPEN
            && let Some(oldest) = open.pop_front()
        {
            oldest.await.into_result()?;
        }
        open.push_back(orders.enqueue(message).await?);
        progress.placed.inc(1);
    }
    for outcome in open {
        outcome.await.into_result()?;
    }
    Ok(expected)
}
