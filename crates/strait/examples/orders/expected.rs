//! What is to become of the orders, told from the orders alone.

use std::collections::HashSet;

use crate::{events::Order, payment::FLAKY, shipping::TOO_MANY};

/// Totals of the orders placed, and how each of them must end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) orders: u64,
    pub(crate) customers: HashSet<String>,
    pub(crate) items: u64,
    pub(crate) cents: u64,
    pub(crate) payment_failed: u64,
    pub(crate) dead_lettered: u64,
    pub(crate) retried: u64,
}

impl Expected {
    pub(crate) fn add(&mut self, order: &Order) {
        self.orders += 1;
        self.customers.insert(order.customer_id.clone());
        self.items += order.items;
        self.cents += order.cents;
        self.payment_failed += u64::from(order.cents == 0);
        self.dead_lettered += u64::from(order.cents > 0 && order.items >= TOO_MANY);
        self.retried += u64::from(order.order_id.is_multiple_of(FLAKY));
    }

    pub(crate) fn paid(&self) -> u64 {
        self.orders - self.payment_failed
    }

    pub(crate) fn labels(&self) -> u64 {
        self.paid() - self.dead_lettered
    }
}
